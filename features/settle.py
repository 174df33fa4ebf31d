"""Adding a state's recent events to its cells: the same bytes for the same events, however they came."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.kernel.folding import fixed_size, fold_states
from features.kernel.layout import LIMIT_MOST, LIMIT_WIDEST
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
    recent, ends, behind, behind_ends = fold_states(
        *(tables.banks, tables.spans, no_words, no_numbers, tables.steps, tables.types),
        *(no_numbers, no_words, no_numbers, no_words, limits),
        *(_part(blob[:middle]), np.array([0, middle], dtype=np.int64)),
        *(_part(blob[middle:]), np.array([0, len(blob) - middle], dtype=np.int64)),
        np.zeros(2, dtype=np.int64),
        *(no_words, no_words, np.zeros(0, dtype=np.uint8), np.zeros((0, 0), dtype=np.float64)),
        np.empty(fixed_size(len(tables.banks), 0, held, int(limits[LIMIT_WIDEST])), dtype=np.int64),
        no_numbers,
    )
    return _bytes(recent, ends) + _bytes(behind, behind_ends)


def _part(part: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(bytearray(part), dtype=np.uint8)


def _bytes(part: Any, ends: Any) -> bytes:
    return bytes(part[: ends[1]].tobytes())
