"""What compiled code works with: the tables of a plan, and the memory in which one state is taken apart.

Everything is a pointer, so passing it on costs nothing; whoever makes these keeps the arrays.
"""

from typing import NamedTuple

from features.kernel.compiled import Bytes, Floats, Words


class Tables(NamedTuple):
    """A plan's tables of `features.kernel.layout`, and how many banks it has."""

    banks: Words
    spans: Words
    steps: Words
    types: Words
    n_banks: int


class Read(NamedTuple):
    """What reading features needs: their tables, and the row with its defaults."""

    features: Words
    scales: Floats
    defaults: Floats
    sums: Words
    row: Floats


class Scratch(NamedTuple):
    """A settled part, taken apart: where its cells lie (see `features.kernel.directory`) and those loaded.

    `room` words of `words`, `cells_room` of `cells` and as many rows of `order` may be used; `now` holds the
    numbers that change.
    """

    words: Words
    room: int
    cells: Words
    cells_room: int
    lists: Words
    order: Words
    now: Words


class Parts(NamedTuple):
    """The two parts of a state, or room for them: bytes, where each begins and where it ends."""

    recent: Bytes
    recent_start: int
    recent_end: int
    settled: Bytes
    settled_start: int
    settled_end: int


# Places of `now`: cells listed, words used, what the cells weigh at most and what those not loaded weigh,
# coarsening degree, flags, newest, where the cells end, which room did not suffice (0: all did), and the
# instant (ms) that conditions are judged at.
LISTED, TOP, WEIGHT, STORED_WEIGHT, DEGREE, FLAGS, NEWEST, CELLS_END, FULL, MARKS, INSTANT, NOW = range(12)

FULL_CELLS, FULL_OUT, FULL_HITS = 1, 2, 3
