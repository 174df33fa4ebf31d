"""Keeping a state within its bounds: families thinned by hash, tiles coarsened, then everything thinned.

A histogram is thinned by joining its buckets, two by two: what it tells is less sharp, and nothing is lost.

Only what settling leaves counts, and it is asked after every so many events of the log, so that the answer
does not hang on how the log was cut.
"""

from features.kernel.applying import load_entry
from features.kernel.buckets import MOST_JOINED
from features.kernel.cell import settle_cell, weigh_cell
from features.kernel.compiled import Bytes, compiled, int64
from features.kernel.directory import (
    AWAY,
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
)
from features.kernel.joining import join_bank
from features.kernel.layout import (
    BANK_COLUMNS,
    CELL_THIN,
    COARSEST,
    HISTOGRAM,
    KEYS,
    MATCH,
    MOST_LEVELS,
    SAMPLE,
)
from features.kernel.sample import kept_at
from features.kernel.scratch import DEGREE, FLAGS, FULL, LISTED, NEWEST, WEIGHT, Scratch, Tables
from features.kernel.settled import COARSENED, THINNED

_MOST_THIN = 48


@compiled
def crowded_bank(tables: Tables, scratch: Scratch, bank: int) -> bool:
    """Whether a family has more keys than it may."""
    keys = tables.banks[bank * BANK_COLUMNS + KEYS]
    return keys > 0 and scratch.lists[bank * INDEX + LIVE] > keys


@compiled
def keep_bounds(
    tables: Tables, scratch: Scratch, buf: Bytes, bound: int, coming: int, everything: bool
) -> None:
    """Bring the state within `bound` bytes of cells and each family within its keys.

    Cells are loaded for so many events to come. `everything` settles every cell even if nothing seems too
    much. `now[FULL]` is set when there was no room.
    """
    now, cells, index = scratch.now, scratch.cells, scratch.lists
    everything = everything or now[WEIGHT] > bound
    over = False
    for bank in range(tables.n_banks):
        over = over or crowded_bank(tables, scratch, bank)
    if not (everything or over):
        return
    for entry in range(now[LISTED]):
        if cells[entry * ENTRY + SLOT] == AWAY and (
            everything or crowded_bank(tables, scratch, cells[entry * ENTRY])
        ):
            load_entry(tables, scratch, buf, entry, coming)
            if now[FULL]:
                return
    if everything:
        # Of two states that are merged one may have been joined further than the other.
        for bank in range(tables.n_banks):
            if tables.banks[bank * BANK_COLUMNS + MATCH] == HISTOGRAM:
                join_bank(tables, scratch, bank, coming)
                if now[FULL]:
                    return
        settle_all(tables, scratch)
    else:
        for bank in range(tables.n_banks):
            if crowded_bank(tables, scratch, bank):
                settle_bank(tables, scratch, bank)
    for bank in range(tables.n_banks):
        while crowded_bank(tables, scratch, bank):
            index[bank * INDEX + THIN] += 1
            now[FLAGS] |= THINNED
            if tables.banks[bank * BANK_COLUMNS + MATCH] == HISTOGRAM:
                join_bank(tables, scratch, bank, coming)
                if now[FULL]:
                    return
            settle_bank(tables, scratch, bank)
    if everything and now[WEIGHT] > bound:
        left = COARSEST + MOST_LEVELS + _MOST_THIN
        while now[WEIGHT] > bound - (bound >> 2) and left:
            left -= 1
            if now[DEGREE] < COARSEST + MOST_LEVELS - 1:
                now[DEGREE] += 1
                now[FLAGS] |= COARSENED
            else:
                now[FLAGS] |= THINNED
                thin_all(tables, scratch, coming)
                if now[FULL]:
                    return
            settle_all(tables, scratch)


@compiled
def thin_all(tables: Tables, scratch: Scratch, coming: int) -> None:
    """Let every family, every sample and every histogram keep half as many."""
    for bank in range(tables.n_banks):
        histogram = tables.banks[bank * BANK_COLUMNS + MATCH] == HISTOGRAM
        if histogram and scratch.lists[bank * INDEX + THIN] == MOST_JOINED:
            continue
        if tables.banks[bank * BANK_COLUMNS + KEYS]:
            scratch.lists[bank * INDEX + THIN] += 1
        if histogram:
            join_bank(tables, scratch, bank, coming)
    for entry in range(scratch.now[LISTED]):
        cell = scratch.cells[entry * ENTRY + SLOT]
        if cell >= 0 and tables.banks[scratch.cells[entry * ENTRY] * BANK_COLUMNS + SAMPLE]:
            scratch.words[cell + CELL_THIN] += 1


@compiled
def settle_entry(tables: Tables, scratch: Scratch, entry: int) -> bool:
    """Settle a loaded cell, or let go of it: whether it stays."""
    cells, now = scratch.cells, scratch.now
    bank, cell = cells[entry * ENTRY], cells[entry * ENTRY + SLOT]
    left = settle_cell(tables.banks, tables.spans, scratch.words, cell, now[DEGREE], now[NEWEST])
    if left and kept_at(cells[entry * ENTRY + 1], scratch.lists[bank * INDEX + THIN]):
        return True
    cells[entry * ENTRY + SLOT] = GONE
    scratch.lists[bank * INDEX + LIVE] -= 1
    return False


@compiled
def settle_bank(tables: Tables, scratch: Scratch, bank: int) -> None:
    """Settle a family's loaded cells, letting go of empty and thinned ones."""
    cells, index, now = scratch.cells, scratch.lists, scratch.now
    for old in range(2):
        entry = index[bank * INDEX + RANGE_AT] if old else index[bank * INDEX + CHAIN]
        while (entry < index[bank * INDEX + RANGE_END]) if old else (entry >= 0):
            cell = cells[entry * ENTRY + SLOT]
            if cell >= 0:
                now[WEIGHT] -= weigh_cell(tables.banks, scratch.words, cell)
                if settle_entry(tables, scratch, entry):
                    now[WEIGHT] += weigh_cell(tables.banks, scratch.words, cell)
            entry = entry + 1 if old else cells[entry * ENTRY + NEXT]


@compiled
def settle_all(tables: Tables, scratch: Scratch) -> None:
    """Settle every cell, all loaded, and weigh what is left."""
    weight = int64(0)
    for entry in range(scratch.now[LISTED]):
        cell = scratch.cells[entry * ENTRY + SLOT]
        if cell >= 0 and settle_entry(tables, scratch, entry):
            weight += weigh_cell(tables.banks, scratch.words, cell)
    scratch.now[WEIGHT] = weight
