"""What the recent events of a state add to its cells: added in scratch to each cell that is read."""

from typing import NamedTuple

from features.kernel import recent
from features.kernel.applying import add_event
from features.kernel.buckets import joined
from features.kernel.compiled import Bytes, Words, compiled, int64
from features.kernel.layout import (
    BANK,
    CONDITION,
    KEY,
    MISSING,
    ROW_KIND,
    ROW_MARK,
    ROW_TIME,
    ROW_WORDS,
    STEP_COLUMNS,
    STEPS_AT,
    STEPS_END,
    TYPE_COLUMNS,
    VALUE,
)
from features.kernel.scratch import Tables

# Columns of an addition.
ADDED_KEY, ADDED_TIME, ADDED_MARK, ADDED_VALUE, ADDED_NEXT = range(5)
ADDITION = 5


class Additions(NamedTuple):
    """What recent events add: for each bank the first addition (-1: none), the newest event's time, and
    additions of key, time, hash of the id, value and next of the bank, in log order. A time below 0: used."""

    first: Words
    additions: Words
    newest: int


@compiled
def list_additions(tables: Tables, buf: Bytes, rows: Words, stride: int, first: Words, found: Words) -> None:
    """List what the recent events of a state add, bank by bank."""
    types, steps = tables.types, tables.steps
    for bank in range(tables.n_banks):
        first[bank] = -1
    n = int64(0)
    # From the last on, so that each bank's list begins with the first.
    for number in range(recent.load_events(types, buf, 0, rows, stride) - 1, -1, -1):
        row = number * stride
        kind, words = rows[row + ROW_KIND], row + ROW_WORDS
        for step in range(
            types[kind * TYPE_COLUMNS + STEPS_AT] * STEP_COLUMNS,
            types[kind * TYPE_COLUMNS + STEPS_END] * STEP_COLUMNS,
            STEP_COLUMNS,
        ):
            if steps[step + CONDITION] >= 0 and rows[words + steps[step + CONDITION]] != 1:
                continue
            value, key = int64(0), int64(0)
            if steps[step + VALUE] >= 0:
                value = rows[words + steps[step + VALUE]]
            if steps[step + KEY] >= 0:
                key = rows[words + steps[step + KEY]]
            if value == MISSING or key == MISSING:
                continue
            bank = steps[step + BANK]
            at = n * ADDITION
            found[at + ADDED_KEY], found[at + ADDED_TIME] = key, rows[row + ROW_TIME]
            found[at + ADDED_MARK], found[at + ADDED_VALUE] = rows[row + ROW_MARK], value
            found[at + ADDED_NEXT] = first[bank]
            first[bank] = n
            n += 1


@compiled
def add_recent(
    tables: Tables, added: Additions, words: Words, cell: int, bank: int, key: int, degree: int
) -> None:
    """Add to a cell what recent events add to its key, and mark it as used."""
    number = added.first[bank]
    while number >= 0:
        at = number * ADDITION
        if added.additions[at + ADDED_KEY] == key:
            add_event(
                tables.banks, tables.spans, words, cell, degree, added.newest,
                added.additions[at + ADDED_TIME], added.additions[at + ADDED_MARK],
                added.additions[at + ADDED_VALUE],
            )  # fmt: skip
            added.additions[at + ADDED_TIME] = -1
        number = added.additions[at + ADDED_NEXT]


@compiled
def join_additions(added: Additions, bank: int, times: int) -> None:
    """Put what recent events add to a histogram that was joined so often under the keys that it keeps."""
    number = added.first[bank]
    while number >= 0:
        at = number * ADDITION
        added.additions[at + ADDED_KEY] = joined(added.additions[at + ADDED_KEY], times)
        number = added.additions[at + ADDED_NEXT]
