"""Scratch for compiled code: kept from call to call, one for each thread, made larger when it is too small.

Compiled code gets pointers into it (`features.kernel.compiled.pointer`), which keep nothing alive; and memory
that is kept is not asked of the machine anew each time.
"""

import threading

import numpy as np
from numpy.typing import NDArray

from features.kernel.directory import ENTRY
from features.kernel.recent import APPLIED
from features.kernel.scratch import FULL_CELLS

PLANS = 8
"""Scratch for reading is kept of so many plans at once."""


class Room(threading.local):
    """Words of loaded cells, rows of the directory and their order; bytes of recent and of settled parts.

    `readings`: words for reading a row, and how many of them a recent event takes, by the digest of a plan.
    """

    def __init__(self) -> None:
        self.readings: dict[str, tuple[NDArray[np.int64], int]] = {}
        self.cells(1 << 15)
        self.parts(1 << 18)

    def cells(self, words: int) -> None:
        """Have room for so many words of cells, and for as many cells as these may be."""
        self.loaded = np.empty(words, dtype=np.int64)
        self.listed = np.empty(words // 8 // ENTRY * ENTRY, dtype=np.int64)
        self.ordering = np.empty(len(self.listed) // ENTRY, dtype=np.int64)

    def parts(self, size: int) -> None:
        """Have room for so many bytes of each part."""
        self.written = np.empty(size, dtype=np.uint8)
        self.settled = np.empty(size, dtype=np.uint8)

    def keep_reading(self, digest: str, scratch: tuple[NDArray[np.int64], int]) -> None:
        """Keep the scratch for reading states of a plan."""
        if len(self.readings) >= PLANS:
            self.readings.clear()
        self.readings[digest] = scratch

    def grow(self, full: int) -> None:
        """Have twice as much of what did not suffice."""
        if full == FULL_CELLS:
            self.cells(2 * len(self.loaded))
        else:
            self.parts(2 * len(self.written))


ROOM = Room()


def quarters(buf: NDArray[np.uint8], starts: NDArray[np.int64], at: int) -> NDArray[np.int64]:
    """The number of two bytes at this place of each recent part; 0 where there is none."""
    numbers = np.zeros(len(starts) - 1, dtype=np.int64)
    known = np.flatnonzero(np.diff(starts))
    places = starts[known] + at
    numbers[known] = buf[places].astype(np.int64) | buf[places + 1].astype(np.int64) << 8
    return numbers


def positions_for(buf: NDArray[np.uint8], starts: NDArray[np.int64], coming: int) -> NDArray[np.int64]:
    """Scratch for the positions of any of these states, to which at most so many events come."""
    parts = int(quarters(buf, starts, APPLIED).max(initial=0))
    return np.empty(2 * (parts + coming) + 2, dtype=np.int64)
