"""What triggers remember of one customer: its bytes at the end of a state's recent part, and its form in
scratch.

It follows the order of the log and is no part of the fold's monoid. Bytes, all numbers LEB128 unless said
otherwise: how many entries; of each the distance of its number from the one before, flags (1 byte), if it has
fired the last time (ms), how often, mark (8) and key (signed) of the cause, if it holds events how many and
of each time and key; how many waits, and of each trigger, end, begin + 1 (0: armed), mark (8) and key; then
the details of waits, which compiled code only carries along. A trigger's entry is under its number; what is
remembered of events that answer, under numbers behind those.
"""

from features.kernel.compiled import Bytes, Floats, Words, compiled, int64
from features.kernel.reading import DAY
from features.kernel.trigger_layout import (
    FIRST_HELD,
    HAS_FIRED,
    HELD,
    KEY_OF,
    LAST,
    MARK_OF,
    MOST_HELD,
    N_TOUCHED,
    N_WAITS,
    PATIENCE,
    REMEMBERED,
    REMEMBERED_FLAGS,
    TIMES,
    TRIGGER_COLUMNS,
    WAIT_BEGAN,
    WAIT_COLUMNS,
    WAIT_END,
    WAIT_KEY,
    WAIT_MARK,
    WAIT_TRIGGER,
    Remembers,
)
from features.kernel.varint import get, get_signed, get_word, put, put_signed, put_word

_HOLDS = 8

LONGEST_ENTRY = 64 + 20 * MOST_HELD
LONGEST_WAIT = 56

NEVER = (1 << 63) - 1


@compiled
def touch(remembers: Remembers, number: int) -> int:
    """Where the entry of this number begins, from now on one that is kept."""
    if remembers.place[number] == 0:
        remembers.place[number] = 1
        remembers.touched[remembers.counts[N_TOUCHED]] = number
        remembers.counts[N_TOUCHED] += 1
    return number * REMEMBERED


@compiled
def load_memory(remembers: Remembers, buf: Bytes, at: int, end: int) -> int:
    """Read what is remembered from buf[at:end]; where the details begin."""
    remembers.counts[N_TOUCHED] = remembers.counts[N_WAITS] = 0
    if at == end:
        return at
    count, at = get(buf, at)
    number = int64(0)
    entries = remembers.entries
    for _ in range(count):
        step, at = get(buf, at)
        number += step
        entry = touch(remembers, number)
        flags = int64(buf[at])
        at += 1
        entries[entry + REMEMBERED_FLAGS] = flags & (_HOLDS - 1)
        if flags & HAS_FIRED:
            entries[entry + LAST], at = get(buf, at)
            entries[entry + TIMES], at = get(buf, at)
            entries[entry + MARK_OF] = get_word(buf, at)
            entries[entry + KEY_OF], at = get_signed(buf, at + 8)
        if flags & _HOLDS:
            entries[entry + HELD], at = get(buf, at)
            for place in range(entry + FIRST_HELD, entry + FIRST_HELD + 2 * entries[entry + HELD], 2):
                entries[place], at = get(buf, at)
                entries[place + 1], at = get_signed(buf, at)
    count, at = get(buf, at)
    for wait in range(0, count * WAIT_COLUMNS, WAIT_COLUMNS):
        remembers.waits[wait + WAIT_TRIGGER], at = get(buf, at)
        remembers.waits[wait + WAIT_END], at = get(buf, at)
        began, at = get(buf, at)
        remembers.waits[wait + WAIT_BEGAN] = began - 1
        remembers.waits[wait + WAIT_MARK] = get_word(buf, at)
        remembers.waits[wait + WAIT_KEY], at = get_signed(buf, at + 8)
        remembers.waiting[remembers.waits[wait + WAIT_TRIGGER]] += 1
    remembers.counts[N_WAITS] = count
    return at


@compiled
def forget(remembers: Remembers) -> None:
    """Empty the scratch for the next customer."""
    for n in range(remembers.counts[N_TOUCHED]):
        number = remembers.touched[n]
        remembers.place[number] = 0
        remembers.entries[number * REMEMBERED + REMEMBERED_FLAGS] = 0
        remembers.entries[number * REMEMBERED + HELD] = 0
    for wait in range(0, remembers.counts[N_WAITS] * WAIT_COLUMNS, WAIT_COLUMNS):
        remembers.waiting[remembers.waits[wait + WAIT_TRIGGER]] = 0
    remembers.counts[N_TOUCHED] = remembers.counts[N_WAITS] = 0


@compiled
def longest_memory(remembers: Remembers) -> int:
    """Bytes that what is remembered cannot exceed, without details."""
    return 20 + LONGEST_ENTRY * remembers.counts[N_TOUCHED] + LONGEST_WAIT * remembers.counts[N_WAITS]


@compiled
def store_memory(remembers: Remembers, buf: Bytes, at: int) -> int:
    """Write what is remembered, without details; where to go on. Nothing at all is no bytes."""
    touched, entries, waits = remembers.touched, remembers.entries, remembers.waits
    count = int64(0)
    for n in range(remembers.counts[N_TOUCHED]):
        number = touched[n]
        entry = number * REMEMBERED
        if entries[entry + REMEMBERED_FLAGS] or entries[entry + HELD]:
            place = count  # nearly in order already
            while place and touched[place - 1] > number:
                touched[place] = touched[place - 1]
                place -= 1
            touched[place] = number
            count += 1
        else:
            remembers.place[number] = 0
    remembers.counts[N_TOUCHED] = count
    if count == 0 and remembers.counts[N_WAITS] == 0:
        return at
    at = put(buf, at, count)
    before = int64(0)
    for n in range(count):
        entry = touched[n] * REMEMBERED
        at = put(buf, at, touched[n] - before)
        before = touched[n]
        flags, held = entries[entry + REMEMBERED_FLAGS], entries[entry + HELD]
        buf[at] = flags | (_HOLDS if held else 0)
        at += 1
        if flags & HAS_FIRED:
            at = put(buf, put(buf, at, entries[entry + LAST]), entries[entry + TIMES])
            at = put_signed(buf, put_word(buf, at, entries[entry + MARK_OF]), entries[entry + KEY_OF])
        if held:
            at = put(buf, at, held)
            for place in range(entry + FIRST_HELD, entry + FIRST_HELD + 2 * held, 2):
                at = put_signed(buf, put(buf, at, entries[place]), entries[place + 1])
    at = put(buf, at, remembers.counts[N_WAITS])
    for wait in range(0, remembers.counts[N_WAITS] * WAIT_COLUMNS, WAIT_COLUMNS):
        at = put(buf, put(buf, at, waits[wait + WAIT_TRIGGER]), waits[wait + WAIT_END])
        at = put_word(buf, put(buf, at, waits[wait + WAIT_BEGAN] + 1), waits[wait + WAIT_MARK])
        at = put_signed(buf, at, waits[wait + WAIT_KEY])
    return at


@compiled
def waits_at(buf: Bytes) -> int:
    """Where the waits begin in what is remembered: behind all entries."""
    count, at = get(buf, 0)
    for _ in range(count):
        _, at = get(buf, at)
        flags = int64(buf[at])
        at += 1
        if flags & HAS_FIRED:
            _, at = get(buf, at)
            _, at = get(buf, at)
            _, at = get(buf, at + 8)
        if flags & _HOLDS:
            held, at = get(buf, at)
            for _ in range(2 * held):
                _, at = get(buf, at)
    return at


@compiled
def details_at(buf: Bytes) -> int:
    """Where the details of waits begin in what is remembered."""
    count, at = get(buf, waits_at(buf))
    for _ in range(count):
        for _ in range(3):
            _, at = get(buf, at)
        _, at = get(buf, at + 8)
    return at


@compiled
def read_fired(buf: Bytes, place: int, at: int, fired: Words, size: int, row: Floats) -> None:
    """Write how often and how many days before `at` (ms) triggers fired into their columns of a row."""
    count, place = get(buf, place)
    number = int64(0)
    for _ in range(count):
        step, place = get(buf, place)
        number += step
        flags = int64(buf[place])
        place += 1
        if flags & HAS_FIRED:
            last, place = get(buf, place)
            times, place = get(buf, place)
            _, place = get_signed(buf, place + 8)
            if 2 * number + 1 < size:
                row[fired[2 * number]], row[fired[2 * number + 1]] = times, (at - last) / DAY
        if flags & _HOLDS:
            held, place = get(buf, place)
            for _ in range(held):
                _, place = get(buf, place)
                _, place = get_signed(buf, place)


@compiled
def hold(remembers: Remembers, entry: int, time: int, key: int, oldest: int) -> None:
    """Remember an event, in order of (time, key); those older than `oldest` are let go, then the oldest."""
    entries, first = remembers.entries, entry + FIRST_HELD
    held, gone = entries[entry + HELD], int64(0)
    while gone < held and entries[first + 2 * gone] < oldest:
        gone += 1
    if gone:
        for place in range(first, first + 2 * (held - gone)):
            entries[place] = entries[place + 2 * gone]
        held -= gone
    if time >= oldest:
        at = held
        while at and (
            entries[first + 2 * at - 2] > time
            or (entries[first + 2 * at - 2] == time and entries[first + 2 * at - 1] > key)
        ):
            at -= 1
        if held == MOST_HELD:
            # The oldest of all is let go, be it this one.
            for place in range(first, first + 2 * (at - 1)):
                entries[place] = entries[place + 2]
            at -= 1
        else:
            for place in range(first + 2 * held - 1, first + 2 * at - 1, -1):
                entries[place + 2] = entries[place]
            held += 1
        if at >= 0:
            entries[first + 2 * at], entries[first + 2 * at + 1] = time, key
    entries[entry + HELD] = held


@compiled
def earliest_due(remembers: Remembers, triggers: Words) -> int:
    """The earliest watermark (ms) at which a wait is over; `NEVER` when nothing waits."""
    earliest = int64(NEVER)
    for wait in range(0, remembers.counts[N_WAITS] * WAIT_COLUMNS, WAIT_COLUMNS):
        patience = triggers[remembers.waits[wait + WAIT_TRIGGER] * TRIGGER_COLUMNS + PATIENCE]
        earliest = min(earliest, remembers.waits[wait + WAIT_END] + patience)
    return earliest
