"""Of the recent events only what conditions ask for: a bank's cells are brought up to an event when they are
read, and what a few events cannot have made true is not read at all.

Most events ask of a handful of banks, and most customers have too few events for most thresholds.
"""

from typing import NamedTuple

from features.kernel.applying import apply_step, concerns
from features.kernel.compiled import Bytes, Words, int64, within
from features.kernel.directory import find
from features.kernel.layout import KEY, MISSING, ROW_KIND, ROW_TIME, ROW_WORDS
from features.kernel.scratch import FULL, INSTANT, LISTED, NEWEST, Read, Scratch, Tables
from features.kernel.trigger_layout import (
    AT_ROW,
    CLAUSE_COLUMNS,
    CLAUSE_NEEDS,
    CLAUSE_SCREEN,
    SCREEN_BACK,
    SCREEN_BANK,
    SCREEN_COLUMNS,
    SCREEN_KEY,
    SCREEN_SORT,
    SO_LONG_AGO,
    STAMP,
    Asked,
    Remembers,
    Watching,
)

ANY = 1 << 62


class Open(NamedTuple):
    """A settled part taken apart, for reading: `buf` are its bytes, `coming` how many events may yet come.

    With `lazy` the recent events, rows of `stride` words from row `first` on, are in no cell before it is
    asked for; `listed` cells were settled, of events up to `settled` (ms).
    """

    tables: Tables
    read: Read
    scratch: Scratch
    buf: Bytes
    coming: int
    rows: Words
    stride: int
    first: int
    lazy: bool
    listed: int
    settled: int


@within
def opened_for(
    tables: Tables, read: Read, scratch: Scratch, buf: Bytes, coming: int,
    rows: Words, stride: int, first: int, lazy: bool, remembers: Remembers,
) -> Open:  # fmt: skip
    """What has just been taken apart, for reading after each of the rows."""
    if lazy:
        for bank in range(tables.n_banks):
            remembers.caught[bank] = remembers.counted_to[bank] = first
            remembers.counted[bank] = 0
            remembers.latest[bank] = -1
    now = scratch.now
    return Open(
        tables, read, scratch, buf, coming, rows, stride, first, lazy, now[LISTED], now[NEWEST]
    )  # fmt: skip


@within
def catch_up(watching: Watching, opened: Open, remembers: Remembers, bank: int) -> None:
    """Add to the cells of a bank what the events up to this one add; `now[FULL]` when there was no room."""
    if not opened.lazy:
        return
    kind, step, rows = watching.steps_of[2 * bank], watching.steps_of[2 * bank + 1], opened.rows
    upto = remembers.counts[AT_ROW] + 1
    for number in range(remembers.caught[bank], upto):
        row = number * opened.stride
        if rows[row + ROW_KIND] == kind and concerns(opened.tables.steps, rows, row, step):
            apply_step(opened.tables, opened.scratch, opened.buf, rows, row, step, opened.coming)
            if opened.scratch.now[FULL]:
                return
    remembers.caught[bank] = upto


@within
def count_up(watching: Watching, opened: Open, remembers: Remembers, bank: int) -> None:
    """Count which of the events up to this one concern a bank, and see when the newest of them was."""
    kind, step, rows = watching.steps_of[2 * bank], watching.steps_of[2 * bank + 1], opened.rows
    upto = remembers.counts[AT_ROW] + 1
    for number in range(remembers.counted_to[bank], upto):
        row = number * opened.stride
        if rows[row + ROW_KIND] == kind and concerns(opened.tables.steps, rows, row, step):
            remembers.counted[bank] += 1
            remembers.latest[bank] = max(remembers.latest[bank], rows[row + ROW_TIME])
    remembers.counted_to[bank] = upto


@within
def most_of(
    watching: Watching, asked: Asked, ask: int, kind: int, opened: Open, remembers: Remembers, screen: int
) -> int:  # fmt: skip
    """What a screen comes to just after the event; `ANY` when only reading would tell.

    Which events count at the edge of a window depends on how tiles lie: at most half a window too far back,
    and here a whole one.
    """
    if remembers.highest_stamps[screen] == remembers.counts[STAMP]:
        return remembers.highest[screen]
    if not opened.lazy:
        remembers.highest[screen], remembers.highest_stamps[screen] = int64(ANY), remembers.counts[STAMP]
        return int64(ANY)
    row, screens = screen * SCREEN_COLUMNS, watching.screens
    bank, by, back = screens[row + SCREEN_BANK], screens[row + SCREEN_KEY], screens[row + SCREEN_BACK]
    if remembers.counted_to[bank] <= remembers.counts[AT_ROW]:
        count_up(watching, opened, remembers, bank)
    instant, most = opened.scratch.now[INSTANT], int64(ANY)
    if screens[row + SCREEN_SORT] == SO_LONG_AGO:
        if remembers.counted[bank]:
            most = instant - remembers.latest[bank]
    else:
        key = int64(0)
        if by >= 0:
            which = watching.keys_of[kind * watching.n_keys + by]
            key = int64(MISSING) if which < 0 else asked.keys[ask * asked.keys_width + which]
        found = int64(-1)
        if key != MISSING and (back < 0 or opened.settled >= instant - back):
            found = find(opened.scratch.cells, opened.scratch.lists, bank, key)
        if key != MISSING and not 0 <= found < opened.listed:
            most = remembers.counted[bank]
            if most and (by >= 0 or back >= 0):
                most = count_back(
                    watching, opened, remembers, bank, instant - back if back >= 0 else -1, by >= 0, key
                )
    remembers.highest[screen], remembers.highest_stamps[screen] = most, remembers.counts[STAMP]
    return most


@within
def count_back(
    watching: Watching, opened: Open, remembers: Remembers, bank: int, oldest: int, keyed: bool, key: int
) -> int:
    """How many events from `oldest` (ms) on concern a bank, of those up to this one, at one key or all."""
    kind, step = watching.steps_of[2 * bank], watching.steps_of[2 * bank + 1]
    rows, steps, many = opened.rows, opened.tables.steps, int64(0)
    for number in range(opened.first, remembers.counts[AT_ROW] + 1):
        row = number * opened.stride
        if (
            rows[row + ROW_KIND] == kind
            and rows[row + ROW_TIME] >= oldest
            and (not keyed or rows[row + ROW_WORDS + steps[step + KEY]] == key)
            and concerns(steps, rows, row, step)
        ):
            many += 1
    return many


@within
def plainly_untrue(
    watching: Watching, asked: Asked, ask: int, kind: int, opened: Open, remembers: Remembers, clause: int
) -> bool:  # fmt: skip
    """Whether a clause cannot be true: too few events came in time, or one too lately."""
    row = clause * CLAUSE_COLUMNS
    screen = watching.clauses[row + CLAUSE_SCREEN]
    if screen < 0:
        return False
    most = most_of(watching, asked, ask, kind, opened, remembers, screen)
    return most < watching.clauses[row + CLAUSE_NEEDS]
