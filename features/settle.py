"""Adding a state's recent events to its cells: the same bytes for the same events, however they came."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.kernel.folding import fixed_size, fold_states
from features.kernel.layout import LIMIT_MOST, LIMIT_WIDEST
from features.kernel.recent import EVENTS

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
    held = int.from_bytes(blob[EVENTS : EVENTS + 2], "little")
    if held == 0:
        return blob
    limits = tables.limits.copy()
    limits[LIMIT_MOST] = held
    no_words, no_numbers = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float64)
    made, ends = fold_states(
        *(tables.banks, tables.spans, no_words, no_numbers, tables.steps, tables.types),
        *(no_numbers, no_words, no_numbers, no_words, limits),
        np.frombuffer(blob, dtype=np.uint8),
        np.array([0, len(blob)], dtype=np.int64),
        np.zeros(2, dtype=np.int64),
        *(no_words, no_words, np.zeros(0, dtype=np.uint8), np.zeros((0, 0), dtype=np.float64)),
        np.empty(fixed_size(len(tables.banks), 0, held, int(limits[LIMIT_WIDEST])), dtype=np.int64),
        no_numbers,
    )
    return np.asarray(made)[: int(np.asarray(ends)[1])].tobytes()
