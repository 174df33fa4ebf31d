"""Two states of one customer into one, compiled: the monoid's sum of their settled parts."""

import numpy as np
from numpy.typing import NDArray

from features.kernel import recent, settled
from features.kernel.applying import add_cell, held_tiles, open_settled, room_of
from features.kernel.bounds import keep_bounds
from features.kernel.cell import begin_cell, load_cell, size_of
from features.kernel.compiled import Bytes, Words, compiled, int64, pointer
from features.kernel.directory import ENTRY, INDEX, PAYLOAD, SLOT, THIN, clear, enter, find, list_cells
from features.kernel.layout import BANK_COLUMNS, CELL_WEIGHT, LIMIT_BOUND, LIMIT_DIGEST, LIMIT_LATENESS
from features.kernel.marks import add_mark, load_marks, store_marks
from features.kernel.recent import MOST_MARKS
from features.kernel.scratch import (
    DEGREE,
    FLAGS,
    FULL,
    FULL_CELLS,
    FULL_OUT,
    LISTED,
    NEWEST,
    NOW,
    STORED_WEIGHT,
    TOP,
    WEIGHT,
    Scratch,
    Tables,
)
from features.kernel.settled import CELLS, FORGOT_MARKS
from features.kernel.settling import copy_bytes, write_settled
from features.kernel.varint import get_half, get_word, put_half, put_word


def merge_size(banks: int) -> int:
    """Words of scratch that `merge_states` is given for so many banks."""
    return NOW + 2 * INDEX * banks + 4 * MOST_MARKS + 4


@compiled
def merge_states(
    banks: Words, spans: Words, steps: Words, types: Words, limits: Words, buf: Bytes, others: Bytes,
    fixed: NDArray[np.int64], loaded: Words, listed: Words, its_listed: Words, ordering: Words, out: Bytes,
) -> int:  # fmt: skip
    """Merge two whole states that have no recent events into `out`: how many bytes they are now; below 0,
    which room did not suffice.

    `limits` are those of `features.kernel.layout`. The memory of triggers is that of the first. `fixed` (of
    `merge_size` words) and the others are scratch.
    """
    n_banks = banks.size // BANK_COLUMNS
    its_index = NOW + INDEX * n_banks
    marks_from = its_index + INDEX * n_banks
    tables = Tables(pointer(banks), pointer(spans), pointer(steps), pointer(types), n_banks)
    scratch = Scratch(
        pointer(loaded), loaded.size, pointer(listed), listed.size, pointer(fixed[NOW:]), pointer(ordering),
        pointer(fixed),
    )  # fmt: skip
    end = merge_into(
        tables, scratch, pointer(fixed[its_index:]), pointer(its_listed), pointer(fixed[marks_from:]),
        pointer(fixed[marks_from + 2 * MOST_MARKS + 2 :]),
        limits[LIMIT_LATENESS], limits[LIMIT_BOUND], limits[LIMIT_DIGEST],
        pointer(buf), buf.size, pointer(others), others.size, pointer(out), out.size,
    )  # fmt: skip
    return -fixed[FULL] if fixed[FULL] else end


@compiled
def merge_into(
    tables: Tables, scratch: Scratch, its_index: Words, its_cells: Words, marks: Words, its_marks: Words,
    lateness: int, bound: int, digest: int,
    buf: Bytes, end: int, others: Bytes, its_end: int, out: Bytes, room: int,
) -> int:  # fmt: skip
    """Write the sum of two states to `out`: where it ends. `now[FULL]` is set when there was no room."""
    now, banks, words = scratch.now, tables.banks, scratch.words
    now[FULL] = 0
    middle, its_middle = get_half(buf, recent.LENGTH), get_half(others, recent.LENGTH)
    memory = get_half(buf, recent.MEMORY)
    count, its_count = recent.get_quarter(buf, recent.APPLIED), recent.get_quarter(others, recent.APPLIED)
    newest = max(get_word(buf, recent.NEWEST), get_word(others, recent.NEWEST))
    open_settled(tables, scratch, buf, middle, end)
    head = recent.HEADER + recent.POSITION_BYTES * (count + its_count) + 18 * 2 * MOST_MARKS + memory
    if head > room:
        now[FULL] = FULL_OUT
    if now[FULL]:
        return 0
    n_marks = load_marks(buf, 0, marks)
    now[NEWEST] = newest
    for number in range(load_marks(others, 0, its_marks)):
        if n_marks == MOST_MARKS and min(marks[0], its_marks[2 * number]) >= newest - lateness:
            now[FLAGS] |= FORGOT_MARKS
        n_marks = add_mark(marks, n_marks, its_marks[2 * number], its_marks[2 * number + 1])
    if its_end > its_middle:
        now[DEGREE] = max(now[DEGREE], int64(others[its_middle + settled.DEGREE]))
        now[FLAGS] |= int64(others[its_middle + settled.FLAGS])
        clear(its_index, tables.n_banks)
        listed = get_half(others, its_middle + CELLS)
        if ENTRY * (now[LISTED] + listed + 1) > scratch.cells_room:
            now[FULL] = FULL_CELLS
            return 0
        listed, _ = list_cells(banks, others, its_middle + settled.HEADER, listed, its_cells, its_index)
        for bank in range(tables.n_banks):
            scratch.lists[bank * INDEX + THIN] = max(
                scratch.lists[bank * INDEX + THIN], its_index[bank * INDEX + THIN]
            )
        for n in range(listed):
            bank, key = its_cells[n * ENTRY], its_cells[n * ENTRY + 1]
            payload = its_cells[n * ENTRY + PAYLOAD]
            its = held_tiles(banks, others, bank, payload)
            found = find(scratch.cells, scratch.lists, bank, key)
            held = int64(0)
            if found >= 0:
                held = held_tiles(banks, buf, bank, scratch.cells[found * ENTRY + PAYLOAD])
            space = room_of(banks, bank, held + its, 0)
            cell = now[TOP]
            other = cell + size_of(banks, bank, space)
            if other + size_of(banks, bank, its + 1) > scratch.room:
                now[FULL] = FULL_CELLS
                return 0
            if found < 0:
                begin_cell(banks, words, cell, bank, key, space)
                enter(scratch.cells, scratch.lists, now[LISTED], bank, key, cell)
                now[LISTED] += 1
            else:
                load_cell(banks, words, cell, bank, key, space, buf, scratch.cells[found * ENTRY + PAYLOAD])
                now[STORED_WEIGHT] -= words[cell + CELL_WEIGHT]
                scratch.cells[found * ENTRY + SLOT] = cell
            now[TOP] = other
            load_cell(banks, words, other, bank, key, its + 1, others, payload)
            now[WEIGHT] += words[other + CELL_WEIGHT]
            add_cell(banks, tables.spans, words, cell, other, now[DEGREE], newest)
        keep_bounds(tables, scratch, buf, bound, 0, True)
        if now[FULL]:
            return 0
    at = merge_positions(buf, count, others, its_count, out, recent.HEADER)
    applied = (at - recent.HEADER) // recent.POSITION_BYTES
    marks_from = at
    n_marks, at = store_marks(out, at, marks, n_marks, newest - lateness)
    marks_bytes = at - marks_from
    at = copy_bytes(out, at, buf, middle - memory, middle)
    recent.store_head(out, 0, digest, newest, applied, 0, n_marks, marks_bytes, memory, at)
    begin, check = at, int64(0)
    if end > middle or its_end > its_middle:
        at, check = write_settled(tables, scratch, buf, out, at, room)
        if now[FULL]:
            return 0
    recent.sign_head(out, 0, check, at - begin, now[DEGREE], now[FLAGS])
    return at


@compiled
def merge_positions(buf: Bytes, count: int, others: Bytes, its_count: int, out: Bytes, at: int) -> int:
    """Write the further position of each partition of two states, partitions in order; where to go on."""
    mine, its = recent.HEADER, recent.HEADER
    mine_end = mine + recent.POSITION_BYTES * count
    its_end = its + recent.POSITION_BYTES * its_count
    while mine < mine_end or its < its_end:
        one = get_half(buf, mine) if mine < mine_end else int64(1 << 32)
        other = get_half(others, its) if its < its_end else int64(1 << 32)
        position = int64(-1)
        if one <= other:
            position = get_word(buf, mine + 4)
            mine += recent.POSITION_BYTES
        if other <= one:
            position = max(position, get_word(others, its + 4))
            its += recent.POSITION_BYTES
        at = put_word(out, put_half(out, at, min(one, other)), position)
    return at
