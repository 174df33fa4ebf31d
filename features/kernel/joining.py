"""Joining the buckets of a histogram: cells of neighbours become one cell."""

from features.kernel.applying import add_cell, room_of
from features.kernel.buckets import joined
from features.kernel.cell import begin_cell, size_of, weigh_cell
from features.kernel.compiled import compiled
from features.kernel.directory import (
    CHAIN,
    ENTRY,
    GONE,
    INDEX,
    LIVE,
    NEXT,
    RANGE_AT,
    RANGE_END,
    SLOT,
    THIN,
    find,
)
from features.kernel.layout import CELL_KEY, CELL_N
from features.kernel.scratch import DEGREE, FULL, FULL_CELLS, NEWEST, TOP, WEIGHT, Scratch, Tables

_KEY = 1


@compiled
def join_bank(tables: Tables, scratch: Scratch, bank: int, coming: int) -> None:
    """Put every cell of a histogram, all loaded, under the key that it is kept under now.

    Cells have room for so many events to come; `now[FULL]` is set when there was no room.
    """
    cells, index, now = scratch.cells, scratch.lists, scratch.now
    # What was there is in the order of keys, and stays so; `find` finds the first of those of one key.
    before = -1
    for entry in range(index[bank * INDEX + RANGE_AT], index[bank * INDEX + RANGE_END]):
        put_under(scratch, bank, entry)
        if before >= 0 and cells[before * ENTRY + _KEY] == cells[entry * ENTRY + _KEY]:
            unite(tables, scratch, bank, before, entry, coming)
            if now[FULL]:
                return
        else:
            before = entry
    entry = index[bank * INDEX + CHAIN]
    while entry >= 0:
        put_under(scratch, bank, entry)
        found = find(cells, index, bank, cells[entry * ENTRY + _KEY])
        if found != entry:
            unite(tables, scratch, bank, found, entry, coming)
            if now[FULL]:
                return
        entry = cells[entry * ENTRY + NEXT]


@compiled
def put_under(scratch: Scratch, bank: int, entry: int) -> None:
    """Give a cell the key that it is kept under now."""
    cells = scratch.cells
    key = joined(cells[entry * ENTRY + _KEY], scratch.lists[bank * INDEX + THIN])
    cells[entry * ENTRY + _KEY] = key
    if cells[entry * ENTRY + SLOT] >= 0:
        scratch.words[cells[entry * ENTRY + SLOT] + CELL_KEY] = key


@compiled
def unite(tables: Tables, scratch: Scratch, bank: int, into: int, entry: int, coming: int) -> None:
    """Add the cell of one row of the directory to that of another, and let the first go."""
    banks, words, cells, now = tables.banks, scratch.words, scratch.cells, scratch.now
    one, other = cells[into * ENTRY + SLOT], cells[entry * ENTRY + SLOT]
    if other < 0:
        return
    cells[entry * ENTRY + SLOT] = GONE
    if one < 0:
        cells[into * ENTRY + SLOT] = other
        return
    room = room_of(banks, bank, words[one + CELL_N] + words[other + CELL_N], coming)
    both = now[TOP]
    if both + size_of(banks, bank, room) > scratch.room:
        now[FULL] = FULL_CELLS
        return
    begin_cell(banks, words, both, bank, cells[into * ENTRY + _KEY], room)
    add_cell(banks, tables.spans, words, both, one, now[DEGREE], now[NEWEST])
    add_cell(banks, tables.spans, words, both, other, now[DEGREE], now[NEWEST])
    now[WEIGHT] += weigh_cell(banks, words, both)
    now[WEIGHT] -= weigh_cell(banks, words, one) + weigh_cell(banks, words, other)
    now[TOP] += size_of(banks, bank, room)
    cells[into * ENTRY + SLOT] = both
    scratch.lists[bank * INDEX + LIVE] -= 1
