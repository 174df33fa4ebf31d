"""The bytes of a state, read in plain Python: what its format is, for people, tests and tools.

Slow on purpose and written apart from the compiled code, which it checks. Numbers are LEB128; the parts are
those of `features.kernel.recent` and `features.kernel.settled`, the cells those of `features.kernel.cell`.
Recent events are settled first.
"""

import struct
from typing import NamedTuple

from features.fold import settled
from features.kernel import layout
from features.plan import Plan
from features.state import State


class Tile(NamedTuple):
    """What is kept of a piece of time: its start (ms) and level, and count, sum, least, greatest if kept."""

    start: int
    level: int
    numbers: tuple[int, ...]


class Cell(NamedTuple):
    """What is kept for one key (a hash, 0 for none) of one aggregate; times in ms, None where not kept.

    `sample` are (hash, last seen) of a count of different values, `halves` for each half-life the intervals
    as (number, count and sum if kept).
    """

    aggregate: str
    key: int
    tiles: tuple[Tile, ...]
    sample: tuple[tuple[int, int], ...]
    thin: int
    ever: tuple[int, ...]
    first: int | None
    last: int | None
    latest: int | None
    halves: tuple[tuple[tuple[int, ...], ...], ...]


class _Reader:
    def __init__(self, raw: bytes, at: int) -> None:
        self.raw, self.at = raw, at

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.raw[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def signed(self) -> int:
        coded = self.number()
        return coded >> 1 ^ -(coded & 1)

    def word(self) -> int:
        self.at += 8
        return int(struct.unpack_from("<q", self.raw, self.at - 8)[0])


def marks_of(plan: Plan, state: State) -> list[tuple[int, int]]:
    """(time, hash) of the ids of recent events, by which repeats are known."""
    return _head(plan, state)[0]


def cells_of(plan: Plan, state: State) -> list[Cell]:
    """Every cell of the state, in the order of its bytes."""
    _, reader, count = _head(plan, state)
    return [_cell(plan, reader) for _ in range(count)]


def settled_cells(plan: Plan, state: State) -> list[Cell]:
    """Every cell as it stands, without what recent events will add to it or make it let go."""
    (cells,) = struct.unpack_from("<I", state.settled, 16) if state.settled else (0,)
    reader = _Reader(state.settled, 28)
    return [_cell(plan, reader) for _ in range(cells)]


def _head(plan: Plan, state: State) -> tuple[list[tuple[int, int]], _Reader, int]:
    state = settled(plan, state)
    (applied,) = struct.unpack_from("<H", state.recent, 48)
    (marks,) = struct.unpack_from("<I", state.recent, 56)
    first = 64 + 12 * applied
    reader, time, found = _Reader(state.recent, first + 8 * marks), 0, []
    for mark in struct.unpack_from(f"<{marks}q", state.recent, first):
        time += reader.number()
        found.append((time, mark))
    (cells,) = struct.unpack_from("<I", state.settled, 16) if state.settled else (0,)
    return found, _Reader(state.settled, 28), cells


def _cell(plan: Plan, reader: _Reader) -> Cell:
    number = reader.number()
    bank, spans = plan.banks[number], plan.tables.spans
    row = plan.tables.banks[number * layout.BANK_COLUMNS :]
    counts, sums, extremes = row[layout.COUNTS], row[layout.SUMS], row[layout.EXTREMES]

    def numbers() -> tuple[int, ...]:
        found = [reader.number()] if counts else []
        found += [reader.signed()] if sums else []
        if extremes:
            least = reader.signed()
            found += [least, least + reader.number()]
        return tuple(found)

    key = reader.word() if bank.keyed else 0
    reader.number()
    reader.number()
    if bank.keyed and key == 0:
        return Cell(bank.aggregate.name, 0, (), (), reader.number(), (), None, None, None, ())
    tiles, sample, thin = [], [], 0
    if row[layout.SAMPLE]:
        entries, thin = reader.number(), reader.number()
        sample = [(reader.word(), reader.number()) for _ in range(entries)]
    elif row[layout.LEVELS]:
        place = 0
        for _ in range(reader.number()):
            place += reader.number()
            start = place >> 3 << int(spans[row[layout.LEVEL_AT] + 1])
            tiles.append(Tile(start, place & 7, numbers()))
    ever = numbers() if row[layout.EVER] else ()
    first = reader.number() if row[layout.FIRST] else None
    last = reader.number() if row[layout.LAST] else None
    latest = None
    if row[layout.LATEST]:
        latest = reader.number()
        reader.word()
        reader.signed()
    halves = []
    for _ in range(row[layout.HALVES]):
        interval, intervals = 0, []
        for _ in range(reader.number()):
            interval += reader.number()
            found = [reader.number()] if counts else []
            found += [(reader.signed() << 32) + reader.number()] if sums else []
            intervals.append((interval, *found))
        halves.append(tuple(intervals))
    return Cell(
        bank.aggregate.name, key, tuple(tiles), tuple(sample), thin, ever, first, last, latest, tuple(halves)
    )
