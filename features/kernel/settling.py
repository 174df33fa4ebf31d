"""Writing a settled part: cells that were touched, or that time has changed, anew; others as they stand."""

from features.kernel import settled
from features.kernel.applying import load_entry
from features.kernel.bounds import settle_entry
from features.kernel.cell import longest_cell, store_cell, weigh_cell
from features.kernel.compiled import Bytes, compiled, int64
from features.kernel.directory import (
    AWAY,
    CHAIN,
    DUE,
    END,
    ENTRY,
    GONE,
    INDEX,
    RANGE_AT,
    RANGE_END,
    SLOT,
    START,
    THIN,
    in_order,
)
from features.kernel.layout import DUE_BITS
from features.kernel.sample import kept_at
from features.kernel.scratch import (
    DEGREE,
    FLAGS,
    FULL,
    FULL_OUT,
    NEWEST,
    STORED_WEIGHT,
    TOP,
    Scratch,
    Tables,
)
from features.kernel.varint import get_word, put, put_word


@compiled
def copy_bytes(out: Bytes, at: int, buf: Bytes, start: int, end: int) -> int:
    """Copy buf[start:end] to out[at:]; where to go on."""
    while start + 8 <= end:
        put_word(out, at, get_word(buf, start))
        at += 8
        start += 8
    while start < end:
        out[at] = buf[start]
        at += 1
        start += 1
    return at


@compiled
def write_settled(
    tables: Tables, scratch: Scratch, buf: Bytes, out: Bytes, begin: int, room: int
) -> tuple[int, int]:
    """Write what was taken apart as the settled part at out[begin:room]: (where it ends, its check).

    `now[FULL]` is set when there was no room.
    """
    cells, index, now, order = scratch.cells, scratch.lists, scratch.now, scratch.order
    at, stored = begin + settled.HEADER, int64(0)
    if at > room:
        now[FULL] = FULL_OUT
        return begin, 0
    for bank in range(tables.n_banks):
        thin = index[bank * INDEX + THIN]
        if thin:
            if at + 64 > room:
                now[FULL] = FULL_OUT
                return begin, 0
            at = put_word(out, put(out, at, bank), 0)
            at = put(out, put(out, put(out, at, 2), 0), thin)
            stored += 1
        if (
            index[bank * INDEX + RANGE_END] == index[bank * INDEX + RANGE_AT]
            and index[bank * INDEX + CHAIN] < 0
        ):
            continue
        for n in range(in_order(cells, index, bank, order)):
            entry = order[n]
            if cells[entry * ENTRY + SLOT] == GONE:
                continue
            top = now[TOP]
            if cells[entry * ENTRY + SLOT] == AWAY:
                due = cells[entry * ENTRY + DUE]
                if (due == 0 or now[NEWEST] >> DUE_BITS < due) and kept_at(cells[entry * ENTRY + 1], thin):
                    start, end = cells[entry * ENTRY + START], cells[entry * ENTRY + END]
                    if at + end - start > room:
                        now[FULL] = FULL_OUT
                        return begin, 0
                    at = copy_bytes(out, at, buf, start, end)
                    stored += 1
                    continue
                load_entry(tables, scratch, buf, entry, 0)
                if now[FULL]:
                    return begin, 0
            cell = cells[entry * ENTRY + SLOT]
            if settle_entry(tables, scratch, entry):
                now[STORED_WEIGHT] += weigh_cell(tables.banks, scratch.words, cell)
                if at + longest_cell(scratch.words, cell, tables.banks) > room:
                    now[FULL] = FULL_OUT
                    return begin, 0
                at = store_cell(tables.banks, tables.spans, scratch.words, cell, now[DEGREE], out, at)
                stored += 1
            if cell == top:
                now[TOP] = top  # loaded for this alone: its scratch is free again
    check = settled.store_head(
        out, begin, at, now[NEWEST], stored, now[STORED_WEIGHT], now[DEGREE], now[FLAGS]
    )
    return at, check
