"""The ids of settled events, by which repeats are known: in order of time, a bounded number of them."""

from features.kernel.compiled import Bytes, Words, compiled, int64
from features.kernel.recent import EVENTS, MARK_BYTES, MARKS, MOST_MARKS, get_quarter, marks_at
from features.kernel.varint import get, get_half, get_word, put, put_word


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
    """Read the ids of settled events of the state at `start`; how many there are."""
    n = get_half(buf, start + MARKS)
    first = marks_at(buf, start) + MARK_BYTES * get_quarter(buf, start + EVENTS)
    at, time = first + MARK_BYTES * n, int64(0)
    for number in range(n):
        step, at = get(buf, at)
        time += step
        marks[2 * number] = time
        marks[2 * number + 1] = get_word(buf, first + MARK_BYTES * number)
    return n


@compiled
def time_of_mark(buf: Bytes, start: int, mark: int) -> int:
    """When the settled event of this id happened, the latest if there are several; -1 when it is not
    remembered."""
    n = get_half(buf, start + MARKS)
    first = marks_at(buf, start) + MARK_BYTES * get_quarter(buf, start + EVENTS)
    last = n - 1
    while last >= 0 and get_word(buf, first + MARK_BYTES * last) != mark:
        last -= 1
    if last < 0:
        return -1
    at, time = first + MARK_BYTES * n, int64(0)
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
