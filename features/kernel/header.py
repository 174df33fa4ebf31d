"""The head of a state's bytes, and the ids of recent events behind it.

Bytes: magic (4), length of all (4), check of what follows (8), digest of the plan (8), newest (8),
coarsening degree (1), flags (1), partitions applied (2), ids (4), cells (4), their weight (4), length of
memory (4); for each partition its number (4) and position (8); for each id the time since the one before
and the hash (8); the cells in order of bank and key; the memory of triggers.
"""

from features.kernel.compiled import Bytes, Words, compiled, int64
from features.kernel.varint import get, get_half, get_word, put, put_half, put_word

MAGIC = 0x0000324B
LENGTH, CHECK, DIGEST, NEWEST, DEGREE, FLAGS, APPLIED, MARKS, CELLS, WEIGHT, MEMORY = (
    4, 8, 16, 24, 32, 33, 34, 36, 40, 44, 48,
)  # fmt: skip
HEADER = 52
POSITION_BYTES = 12
"""Bytes of a partition and its position."""

MOST_MARKS = 1024
"""Ids of recent events that a state remembers: a repeat older than the newest so many is not recognised."""

COARSENED, THINNED, FORGOT_MARKS = 1, 2, 4
"""Flags: tiles wider than declared; a family or sample keeps only some keys; some recent ids were let go."""


@compiled
def add_mark(marks: Words, n: int, time: int, mark: int) -> int:
    """Remember an id (time, hash) in order; how many there are. Past `MOST_MARKS` the oldest is let go."""
    at = n
    while at and (marks[2 * at - 2] > time or (marks[2 * at - 2] == time and marks[2 * at - 1] > mark)):
        at -= 1
    if n == MOST_MARKS:
        if at == 0:
            return n
        for word in range(2 * at - 2):
            marks[word] = marks[word + 2]
        marks[2 * at - 2], marks[2 * at - 1] = time, mark
        return n
    for word in range(2 * n - 1, 2 * at - 1, -1):
        marks[word + 2] = marks[word]
    marks[2 * at], marks[2 * at + 1] = time, mark
    return n + 1


@compiled
def load_marks(buf: Bytes, at: int, n: int, marks: Words) -> int:
    """Read the ids of recent events; where to go on."""
    time = int64(0)
    for number in range(n):
        step, at = get(buf, at)
        time += step
        marks[2 * number] = time
        marks[2 * number + 1] = get_word(buf, at)
        at += 8
    return at


@compiled
def store_marks(buf: Bytes, at: int, marks: Words, n: int, oldest: int) -> tuple[int, int]:
    """Write the ids that are not older than `oldest`: (how many, where to go on)."""
    time = int64(0)
    kept = 0
    for number in range(n):
        if marks[2 * number] >= oldest:
            at = put(buf, at, marks[2 * number] - time)
            at = put_word(buf, at, marks[2 * number + 1])
            time = marks[2 * number]
            kept += 1
    return kept, at


@compiled
def store_header(
    buf: Bytes,
    at: int,
    newest: int,
    degree: int,
    flags: int,
    applied: int,
    marks: int,
    cells: int,
    weight: int,
) -> None:
    """Write the head but for length, check, digest and memory, which `features.state` writes last."""
    put_half(buf, at, MAGIC)
    put_word(buf, at + NEWEST, newest)
    buf[at + DEGREE] = degree
    buf[at + FLAGS] = flags
    buf[at + APPLIED], buf[at + APPLIED + 1] = applied & 255, applied >> 8
    put_half(buf, at + MARKS, marks)
    put_half(buf, at + CELLS, cells)
    put_half(buf, at + WEIGHT, weight)
    put_half(buf, at + MEMORY, 0)


@compiled
def applied_of(buf: Bytes, at: int) -> int:
    """How many partitions have been applied."""
    return int64(buf[at + APPLIED]) | int64(buf[at + APPLIED + 1]) << 8


@compiled
def cells_at(buf: Bytes, at: int) -> int:
    """Where the cells begin of the state at `at`."""
    place = at + HEADER + POSITION_BYTES * applied_of(buf, at)
    for _ in range(get_half(buf, at + MARKS)):
        _, place = get(buf, place)
        place += 8
    return place
