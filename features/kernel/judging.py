"""What becomes of an event: whether it is new, a repeat, too late, or was read already."""

from typing import NamedTuple

from features.kernel.compiled import Bytes, Words, compiled, int64
from features.kernel.layout import (
    EVENT_COLUMNS,
    KIND,
    MARK,
    PARTITION,
    POSITION,
    PROBE,
    ROW_KIND,
    ROW_MARK,
    ROW_PROBE,
    ROW_TIME,
    ROW_WORDS,
    TIME,
    TYPE_COLUMNS,
    WIDTH,
    WORDS_AT,
)
from features.kernel.marks import add_mark, time_of_mark
from features.kernel.recent import (
    MARK_BYTES,
    MARKS,
    MOST_MARKS,
    advance_applied,
    load_events,
    marks_at,
    position_of,
)
from features.kernel.settled import FORGOT_MARKS
from features.kernel.varint import get_half, get_word

FOLDED, REPEAT, LATE, BEHIND = range(4)


class Arrivals(NamedTuple):
    """The events of a batch as `features.batch` lays them out, and where to say what becomes of each.

    `lateness` is ms; `remembers`: repeats and late ones are told apart; after every `most` events of a
    customer they are added to its cells.
    """

    events: Words
    flat: Words
    fates: Bytes
    lateness: int
    remembers: int
    most: int


class Judged(NamedTuple):
    """Scratch of one customer: positions, ids of settled events, which events are taken, and recent events as
    rows of `stride` words.

    """

    applied: Words
    marks: Words
    taken: Words
    rows: Words
    stride: int


@compiled
def add_row(arrivals: Arrivals, types: Words, judged: Judged, number: int, event: int) -> None:
    """Copy an event of the batch to a row."""
    row, place = number * judged.stride, event * EVENT_COLUMNS
    kind = arrivals.events[place + KIND]
    judged.rows[row + ROW_KIND], judged.rows[row + ROW_TIME] = kind, arrivals.events[place + TIME]
    judged.rows[row + ROW_MARK] = arrivals.events[place + MARK]
    judged.rows[row + ROW_PROBE] = arrivals.events[place + PROBE]
    words = arrivals.events[place + WORDS_AT]
    for word in range(types[kind * TYPE_COLUMNS + WIDTH]):
        judged.rows[row + ROW_WORDS + word] = arrivals.flat[words + word]


@compiled
def recently_seen(
    types: Words, judged: Judged, buf: Bytes, start: int, held: int, mark: int, oldest: int
) -> bool:
    """Whether one of the `held` recent events of the state at `start` has this id and is not older."""
    at = marks_at(buf, start)
    for number in range(held):
        if get_word(buf, at + MARK_BYTES * number) == mark:
            load_events(types, buf, start, judged.rows, judged.stride)
            for row in range(0, held * judged.stride, judged.stride):
                if judged.rows[row + ROW_MARK] == mark and judged.rows[row + ROW_TIME] >= oldest:
                    return True
            return False
    return False


@compiled
def settle_marks(
    arrivals: Arrivals, judged: Judged, first: int, last: int, newest: int, n_marks: int
) -> tuple[int, int]:
    """Remember the ids of rows first to last among the settled ones: (how many there are, flags)."""
    flags = int64(0)
    if arrivals.remembers:
        for row in range(first * judged.stride, last * judged.stride, judged.stride):
            if n_marks == MOST_MARKS and judged.marks[0] >= newest - arrivals.lateness:
                flags |= FORGOT_MARKS
            n_marks = add_mark(
                judged.marks, n_marks, judged.rows[row + ROW_TIME], judged.rows[row + ROW_MARK]
            )
    return n_marks, flags


@compiled
def judge(
    arrivals: Arrivals, types: Words, judged: Judged, buf: Bytes, start: int, known_before: bool, held: int,
    newest: int, n_applied: int, first: int, last: int, in_rows: bool, n_marks: int,
) -> tuple[int, int, int, int, int]:  # fmt: skip
    """Say of events first to last what becomes of each: (taken, newest, partitions applied, ids settled,
    flags).

    `held` events are recent in the state at `start` of `buf`, if it is known at all. With `in_rows` they are
    in rows already, and those taken go there too. `n_marks` ids of settled events are in scratch, and those
    of recent events go there as these are settled; below 0 none are, and nothing will be settled.
    """
    events = arrivals.events
    taken, flags, fresh = int64(0), int64(0), int64(0)
    if n_marks >= 0 and held >= arrivals.most:
        n_marks, flags = settle_marks(arrivals, judged, 0, held, newest, n_marks)
        fresh = held
    for event in range(first, last):
        place = event * EVENT_COLUMNS
        time, mark = events[place + TIME], events[place + MARK]
        partition, position = events[place + PARTITION], events[place + POSITION]
        if position <= position_of(judged.applied, n_applied, partition):
            arrivals.fates[event] = BEHIND
            continue
        n_applied = advance_applied(judged.applied, n_applied, partition, position)
        if arrivals.remembers:
            oldest = newest - arrivals.lateness
            if time < oldest:
                arrivals.fates[event] = LATE
                continue
            known = False
            if in_rows:
                for row in range(fresh * judged.stride, (held + taken) * judged.stride, judged.stride):
                    if judged.rows[row + ROW_MARK] == mark and judged.rows[row + ROW_TIME] >= oldest:
                        known = True
            else:
                for number in range(taken):
                    other = judged.taken[number] * EVENT_COLUMNS
                    if events[other + MARK] == mark and events[other + TIME] >= oldest:
                        known = True
                known = known or (held > 0 and recently_seen(types, judged, buf, start, held, mark, oldest))
            if n_marks >= 0:
                for number in range(n_marks - 1, -1, -1):
                    if judged.marks[2 * number + 1] == mark and judged.marks[2 * number] >= oldest:
                        known = True
                        break
            elif known_before and not known and get_half(buf, start + MARKS):
                known = time_of_mark(buf, start, mark) >= max(oldest, 0)
            if known:
                arrivals.fates[event] = REPEAT
                continue
        arrivals.fates[event] = FOLDED
        newest = max(newest, time)
        judged.taken[taken] = event
        if in_rows:
            add_row(arrivals, types, judged, held + taken, event)
        taken += 1
        if n_marks >= 0 and held + taken - fresh == arrivals.most:
            n_marks, forgot = settle_marks(arrivals, judged, fresh, held + taken, newest, n_marks)
            flags |= forgot
            fresh = held + taken
    return taken, newest, n_applied, n_marks, flags
