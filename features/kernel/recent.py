"""The recent part of a state's bytes: its head, what repeats are known by, the newest events as they came.

An event costs its own bytes until there are `MOST_RECENT` of them; then they are added to the cells of the
settled part (`features.kernel.settled`) in one go. How many have come decides when, so the same log gives the
same bytes however it is cut. Until then the settled part is neither read nor written.

Bytes: magic (4), length of this part (4), check of what follows (8), digest of the plan (8), newest (8),
check of the settled part (8) and its length (4), length of memory (4), partitions applied (2), events (2),
degree and flags of the settled part (1, 1), two unused, ids of settled events (4) and their bytes (4); for
each partition its number (4) and position (8); the hashes of the events' ids (8 each); those of settled
events in order of time (8 each), and of each the time since the one before; the events; the memory of
triggers. An event is its type, its time, its conditions as bits, its numbers (0: missing) and its hashes (8
each).
"""

from features.kernel.compiled import Bytes, Words, compiled, int64
from features.kernel.layout import (
    CONDITIONS,
    MISSING,
    NUMBERS,
    ROW_KIND,
    ROW_MARK,
    ROW_PROBE,
    ROW_TIME,
    ROW_WORDS,
    TYPE_COLUMNS,
    WIDTH,
)
from features.kernel.varint import checksum, get, get_half, get_word, put, put_half, put_word

MAGIC = 0x0000334B
(
    LENGTH, CHECK, DIGEST, NEWEST, SETTLED_CHECK, SETTLED, MEMORY, APPLIED, EVENTS, DEGREE, FLAGS, MARKS,
    MARKS_BYTES,
) = 4, 8, 16, 24, 32, 40, 44, 48, 50, 52, 53, 56, 60  # fmt: skip
HEADER = 64
POSITION_BYTES = 12
"""Bytes of a partition and its position."""
MARK_BYTES = 8

MOST_MARKS = 1024
"""Ids of settled events that a state remembers: a repeat older than the newest so many is not recognised."""


@compiled
def get_quarter(buf: Bytes, at: int) -> int:
    """Read 2 bytes, unsigned."""
    return int64(buf[at]) | int64(buf[at + 1]) << 8


@compiled
def put_quarter(buf: Bytes, at: int, value: int) -> None:
    """Write 2 bytes."""
    buf[at], buf[at + 1] = value & 255, value >> 8


@compiled
def marks_at(buf: Bytes, start: int) -> int:
    """Where the hashes of the recent events' ids begin, of the state at `start`."""
    return start + HEADER + POSITION_BYTES * get_quarter(buf, start + APPLIED)


@compiled
def events_at(buf: Bytes, start: int) -> int:
    """Where the recent events begin of the state at `start`."""
    hashes = MARK_BYTES * get_quarter(buf, start + EVENTS)
    return marks_at(buf, start) + hashes + get_half(buf, start + MARKS_BYTES)


@compiled
def events_end(buf: Bytes, start: int) -> int:
    """Where they end, and the memory of triggers begins."""
    return start + get_half(buf, start + LENGTH) - get_half(buf, start + MEMORY)


@compiled
def longest_event(types: Words, kind: int) -> int:
    """Bytes that an event of this type cannot exceed."""
    return 24 + 10 * types[kind * TYPE_COLUMNS + WIDTH]


@compiled
def put_event(types: Words, buf: Bytes, at: int, kind: int, time: int, words: Words, first: int) -> int:
    """Write an event whose words begin at words[first]; where to go on."""
    at = put(buf, put(buf, at, kind), time)
    conditions = types[kind * TYPE_COLUMNS + CONDITIONS]
    bits, word = int64(0), int64(0)
    while word < conditions:
        bits |= (words[first + word] & 1) << (word & 7)
        word += 1
        if word & 7 == 0 or word == conditions:
            buf[at] = bits
            at += 1
            bits = int64(0)
    for _ in range(types[kind * TYPE_COLUMNS + NUMBERS]):
        value = words[first + word]
        at = put(buf, at, 0 if value == MISSING else ((value << 1) ^ (value >> 63)) + 1)
        word += 1
    while word < types[kind * TYPE_COLUMNS + WIDTH]:
        at = put_word(buf, at, words[first + word])
        word += 1
    return at


@compiled
def load_events(types: Words, buf: Bytes, start: int, rows: Words, stride: int) -> int:
    """Read the recent events of the state at `start` into rows of scratch; how many there are."""
    n = get_quarter(buf, start + EVENTS)
    mark, at = marks_at(buf, start), events_at(buf, start)
    for number in range(n):
        row = number * stride
        kind, at = get(buf, at)
        rows[row + ROW_KIND], rows[row + ROW_PROBE] = kind, -1
        rows[row + ROW_TIME], at = get(buf, at)
        rows[row + ROW_MARK] = get_word(buf, mark + MARK_BYTES * number)
        conditions = types[kind * TYPE_COLUMNS + CONDITIONS]
        word = row + ROW_WORDS
        for condition in range(conditions):
            rows[word] = (int64(buf[at]) >> (condition & 7)) & 1
            word += 1
            if condition & 7 == 7 or condition == conditions - 1:
                at += 1
        for _ in range(types[kind * TYPE_COLUMNS + NUMBERS]):
            coded, at = get(buf, at)
            if coded == 0:
                rows[word] = MISSING
            else:
                coded -= 1
                rows[word] = ((coded >> 1) & 0x7FFFFFFFFFFFFFFF) ^ -(coded & 1)
            word += 1
        while word < row + ROW_WORDS + types[kind * TYPE_COLUMNS + WIDTH]:
            rows[word] = get_word(buf, at)
            at += 8
            word += 1
    return n


@compiled
def store_head(
    buf: Bytes, at: int, digest: int, newest: int, applied: int, events: int, marks: int, marks_bytes: int,
    memory: int, length: int,
) -> None:  # fmt: skip
    """Write the head of a part of so many bytes, but for its check and what it says of the settled part."""
    put_half(buf, at, MAGIC)
    put_half(buf, at + LENGTH, length)
    put_word(buf, at + DIGEST, digest)
    put_word(buf, at + NEWEST, newest)
    put_half(buf, at + MEMORY, memory)
    put_quarter(buf, at + APPLIED, applied)
    put_quarter(buf, at + EVENTS, events)
    put_quarter(buf, at + FLAGS + 1, 0)
    put_half(buf, at + MARKS, marks)
    put_half(buf, at + MARKS_BYTES, marks_bytes)


@compiled
def sign_head(buf: Bytes, at: int, check: int, size: int, degree: int, flags: int) -> None:
    """Say what is settled (its check, bytes, degree and flags), then write the check of the whole part."""
    put_word(buf, at + SETTLED_CHECK, check)
    put_half(buf, at + SETTLED, size)
    buf[at + DEGREE], buf[at + FLAGS] = degree, flags
    put_word(buf, at + CHECK, checksum(buf, at + DIGEST, at + get_half(buf, at + LENGTH)))


@compiled
def position_of(applied: Words, n: int, partition: int) -> int:
    """The last position applied of a partition; -1 when none."""
    for at in range(n):
        if applied[2 * at] == partition:
            return applied[2 * at + 1]
    return -1


@compiled
def advance_applied(applied: Words, n: int, partition: int, position: int) -> int:
    """Note a position, partitions in order; how many partitions there are now. Needs room for one more."""
    at = 0
    while at < n and applied[2 * at] < partition:
        at += 1
    if at < n and applied[2 * at] == partition:
        applied[2 * at + 1] = max(applied[2 * at + 1], position)
        return n
    for word in range(2 * n - 1, 2 * at - 1, -1):
        applied[word + 2] = applied[word]
    applied[2 * at], applied[2 * at + 1] = partition, position
    return n + 1


@compiled
def load_applied(buf: Bytes, start: int, applied: Words) -> int:
    """Read the positions of the state at `start`; how many there are."""
    n = get_quarter(buf, start + APPLIED)
    for number in range(n):
        at = start + HEADER + POSITION_BYTES * number
        applied[2 * number] = get_half(buf, at)
        applied[2 * number + 1] = get_word(buf, at + 4)
    return n


@compiled
def store_applied(buf: Bytes, at: int, applied: Words, n: int) -> int:
    """Write the positions; where to go on."""
    for number in range(n):
        at = put_word(buf, put_half(buf, at, applied[2 * number]), applied[2 * number + 1])
    return at
