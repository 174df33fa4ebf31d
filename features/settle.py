"""Adding a state's recent events to its cells: the same bytes for the same events, however they came."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.kernel.folding import fixed_size, fold_states
from features.kernel.layout import LIMIT_MOST, LIMIT_WIDEST
from features.kernel.trigger_layout import nothing_watched
from features.room import ROOM, positions_for
from features.state import held_of, middle_of

_Words = NDArray[np.int64]


class Settling(NamedTuple):
    """The tables of a plan by which its states are settled; another plan needs them to read such a state."""

    banks: _Words
    spans: _Words
    steps: _Words
    types: _Words
    limits: _Words


def settle(tables: Settling, blob: bytes) -> bytes:
    """The state with every event in its cells; `blob` is taken as checked."""
    held, middle = held_of(blob), middle_of(blob)
    if held == 0:
        return blob
    limits = tables.limits.copy()
    limits[LIMIT_MOST] = held
    no_words, no_numbers = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float64)
    recent, behind = _part(blob[:middle]), _part(blob[middle:])
    starts = np.array([0, middle], dtype=np.int64)
    ends, behind_ends = np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64)
    fixed = np.empty(fixed_size(len(tables.banks), 0, held, int(limits[LIMIT_WIDEST])), dtype=np.int64)
    while full := fold_states(
        tables.banks, tables.spans, no_words, no_numbers, tables.steps, tables.types,
        no_numbers, limits,
        recent, starts, behind, np.array([0, len(behind)], dtype=np.int64), np.zeros(2, dtype=np.int64),
        no_words, no_words, np.zeros(0, dtype=np.uint8), *nothing_watched(), no_words,
        np.zeros(1, dtype=np.int64),
        fixed, no_numbers.copy(), ROOM.loaded, ROOM.listed, ROOM.ordering, positions_for(recent, starts, 0),
        ROOM.written, ends, ROOM.settled, behind_ends,
    ):  # fmt: skip
        ROOM.grow(full)
    return ROOM.written[: ends[1]].tobytes() + ROOM.settled[: behind_ends[1]].tobytes()


def _part(part: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(bytearray(part), dtype=np.uint8)
