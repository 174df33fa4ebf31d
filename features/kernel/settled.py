"""The settled part of a state's bytes: the ids of events that have been added to it, and its cells.

Bytes: check of what follows (8), newest (8), ids (4), cells (4), weight of the cells (4), coarsening degree
(1), flags (1), two unused; the hashes of the ids (8 each) in order of time, then the time since the one
before of each; the cells in order of bank and key.
"""

from features.kernel.compiled import Bytes, Words, compiled, int64
from features.kernel.varint import checksum, get, get_half, get_word, put, put_half, put_word

CHECK, NEWEST, MARKS, CELLS, WEIGHT, DEGREE, FLAGS = 0, 8, 16, 20, 24, 28, 29
HEADER = 32

MOST_MARKS = 1024
"""Ids of settled events that a state remembers: a repeat older than the newest so many is not recognised."""

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
def load_marks(buf: Bytes, start: int, marks: Words) -> int:
    """Read the ids of the settled part at `start`; how many there are."""
    n = get_half(buf, start + MARKS)
    at, time = start + HEADER + 8 * n, int64(0)
    for number in range(n):
        step, at = get(buf, at)
        time += step
        marks[2 * number] = time
        marks[2 * number + 1] = get_word(buf, start + HEADER + 8 * number)
    return n


@compiled
def time_of_mark(buf: Bytes, start: int, mark: int) -> int:
    """When the event of this id happened, the latest if there are several; -1 when it is not remembered."""
    n = get_half(buf, start + MARKS)
    last = n - 1
    while last >= 0 and get_word(buf, start + HEADER + 8 * last) != mark:
        last -= 1
    if last < 0:
        return -1
    at, time = start + HEADER + 8 * n, int64(0)
    for _ in range(last + 1):
        step, at = get(buf, at)
        time += step
    return time


@compiled
def store_marks(buf: Bytes, at: int, marks: Words, n: int, oldest: int) -> tuple[int, int]:
    """Write the ids that are not older than `oldest`: (how many, where to go on)."""
    first = int64(0)
    while first < n and marks[2 * first] < oldest:
        first += 1
    for number in range(first, n):
        at = put_word(buf, at, marks[2 * number + 1])
    time = int64(0)
    for number in range(first, n):
        at = put(buf, at, marks[2 * number] - time)
        time = marks[2 * number]
    return n - first, at


@compiled
def cells_at(buf: Bytes, start: int) -> int:
    """Where the cells begin of the settled part at `start`."""
    n = get_half(buf, start + MARKS)
    at = start + HEADER + 8 * n
    for _ in range(n):
        while buf[at] >= 128:
            at += 1
        at += 1
    return at


@compiled
def store_head(
    buf: Bytes, at: int, end: int, newest: int, marks: int, cells: int, weight: int, degree: int, flags: int
) -> int:
    """Write the head of a settled part that ends at `end`; its check."""
    put_word(buf, at + NEWEST, newest)
    put_half(buf, at + MARKS, marks)
    put_half(buf, at + CELLS, cells)
    put_half(buf, at + WEIGHT, weight)
    buf[at + DEGREE], buf[at + FLAGS], buf[at + FLAGS + 1], buf[at + FLAGS + 2] = degree, flags, 0, 0
    check = checksum(buf, at + NEWEST, end)
    put_word(buf, at + CHECK, check)
    return check
