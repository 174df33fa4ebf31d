"""The one fold, compiled: the events of many customers into their states, bytes to bytes, in one pass.

An event is judged and kept by the recent part of its customer's state alone. Only when so many are there,
or where a trigger reads a feature, is the settled part taken apart.
"""

import numpy as np
from numpy.typing import NDArray

from features.kernel import recent
from features.kernel.applying import apply_event, open_settled
from features.kernel.bounds import keep_bounds
from features.kernel.compiled import Bytes, Floats, Words, compiled, int64, pointer
from features.kernel.directory import ENTRY, INDEX
from features.kernel.judging import BEHIND, FOLDED, LATE, REPEAT, Arrivals, Judged, judge
from features.kernel.layout import (
    BANK_COLUMNS,
    DERIVED_COLUMNS,
    EVENT_COLUMNS,
    KIND,
    LIMIT_BOUND,
    LIMIT_COLUMNS,
    LIMIT_COLUMNS_AT,
    LIMIT_DIGEST,
    LIMIT_LATENESS,
    LIMIT_MOST,
    LIMIT_REMEMBERS,
    LIMIT_WIDEST,
    MARK,
    MOST_LEVELS,
    PROBE,
    ROW_KIND,
    ROW_PROBE,
    ROW_WORDS,
    TIME,
    WORDS_AT,
)
from features.kernel.probing import probe_event
from features.kernel.scratch import (
    DEGREE,
    FLAGS,
    FULL,
    FULL_CELLS,
    FULL_OUT,
    NEWEST,
    NOW,
    Read,
    Scratch,
    Tables,
)
from features.kernel.settled import MOST_MARKS, load_marks
from features.kernel.settling import copy_bytes, write_settled
from features.kernel.varint import checksum, get_half, get_word, put_half, put_word

__all__ = ["BEHIND", "FOLDED", "LATE", "REPEAT", "fixed_size", "fold_states"]

_SUMS = 5 * MOST_LEVELS + 9


def fixed_size(banks: int, coming: int, most: int, width: int) -> int:
    """Words of scratch that `fold_states` is given: for so many banks, at most so many events of a customer
    in the batch and `most` in its state, of `width` words."""
    rows = (coming + most) * (ROW_WORDS + width)
    return NOW + _SUMS + 2 * MOST_MARKS + 2 + INDEX * banks + coming + rows


@compiled
def fold_states(
    banks: Words,
    spans: Words,
    features: Words,
    scales: Floats,
    steps: Words,
    types: Words,
    defaults: Floats,
    derived: Words,
    factors: Floats,
    probed: Words,
    limits: Words,
    buf: Bytes,
    starts: Words,
    groups: Words,
    events: Words,
    flat: Words,
    fates: Bytes,
    probes: NDArray[np.float64],
    fixed: NDArray[np.int64],
    row: Floats,
) -> tuple[Bytes, Words]:
    """Fold events into states: (the new states' bytes, where each begins).

    The tables are those of `features.kernel.layout`. State n is buf[starts[n]:starts[n + 1]], empty for none.
    Its events are rows groups[n] to groups[n + 1] of `events`, their words in `flat`. What became of each
    goes to `fates`; of those that ask, the row just after them at `probed` columns to `probes`. `fixed` (of
    `fixed_size` words) and `row` (a copy of `defaults`) are scratch.
    """
    count, n_banks = starts.size - 1, banks.size // BANK_COLUMNS
    bound, digest, most = limits[LIMIT_BOUND], limits[LIMIT_DIGEST], limits[LIMIT_MOST]
    stride = ROW_WORDS + limits[LIMIT_WIDEST]
    coming = int64(0)
    for number in range(count):
        coming = max(coming, groups[number + 1] - groups[number])
    out_starts = np.zeros(count + 1, dtype=np.int64)
    written: Bytes = np.empty(buf.size + (buf.size >> 1) + 96 * events.size + 4096, dtype=np.uint8)
    loaded: Words = np.empty(1 << 15, dtype=np.int64)
    listed: Words = np.empty(512 * ENTRY, dtype=np.int64)
    ordering: Words = np.empty(512, dtype=np.int64)
    parts = int64(0)
    for number in range(count):
        if starts[number + 1] > starts[number]:
            parts = max(parts, recent.get_quarter(buf, starts[number] + recent.APPLIED))
    positions: Words = np.empty(2 * (parts + coming) + 2, dtype=np.int64)
    # Pieces of what the caller keeps: memory of our own would be let go as soon as only pointers use it.
    marks_from = NOW + _SUMS
    index_from = marks_from + 2 * MOST_MARKS + 2
    taken_from = index_from + INDEX * n_banks
    tables = Tables(pointer(banks), pointer(spans), pointer(steps), pointer(types), n_banks)
    read = Read(
        pointer(features), pointer(scales), pointer(defaults), pointer(derived), pointer(factors),
        derived.size // DERIVED_COLUMNS, pointer(probed), limits[LIMIT_COLUMNS_AT], limits[LIMIT_COLUMNS],
        pointer(fixed[NOW:]), pointer(row),
    )  # fmt: skip
    arrivals = Arrivals(
        pointer(events), pointer(flat), pointer(fates), limits[LIMIT_LATENESS], limits[LIMIT_REMEMBERS], most
    )
    judged = Judged(
        pointer(positions), pointer(fixed[marks_from:]), pointer(fixed[taken_from:]),
        pointer(fixed[taken_from + coming :]), stride,
    )  # fmt: skip
    now, index, states = pointer(fixed), pointer(fixed[index_from:]), pointer(buf)
    at = int64(0)
    number = int64(0)
    while number < count:
        scratch = Scratch(
            pointer(loaded), loaded.size, pointer(listed), listed.size, index, pointer(ordering), now
        )
        now[FULL] = 0
        end = fold_state(
            tables, read, scratch, arrivals, judged, probes, bound, digest,
            states, starts[number], starts[number + 1], groups[number], groups[number + 1],
            pointer(written), at, written.size,
        )  # fmt: skip
        if now[FULL] == FULL_CELLS:
            loaded = np.empty(2 * loaded.size, dtype=np.int64)
            listed = np.empty(2 * listed.size, dtype=np.int64)
            ordering = np.empty(2 * ordering.size, dtype=np.int64)
        elif now[FULL] == FULL_OUT:
            longer: Bytes = np.empty(2 * written.size, dtype=np.uint8)
            copy_bytes(pointer(longer), 0, pointer(written), 0, at)
            written = longer
        else:
            at = end
            number += 1
            out_starts[number] = at
    positions[0] = 0  # which keeps them until here
    return written, out_starts


@compiled
def fold_state(
    tables: Tables, read: Read, scratch: Scratch, arrivals: Arrivals, judged: Judged,
    probes: NDArray[np.float64], bound: int, digest: int,
    buf: Bytes, start: int, end: int, first: int, last: int, out: Bytes, at: int, room: int,
) -> int:  # fmt: skip
    """Fold events first to last into the state buf[start:end] and write it to out[at:room]: where it ends.

    When there was no room, `now[FULL]` says of what, and nothing counts.
    """
    now, most = scratch.now, arrivals.most
    held, newest, n_applied, memory, settled = int64(0), int64(-1), int64(0), int64(0), end
    if end > start:
        held = recent.get_quarter(buf, start + recent.EVENTS)
        newest = get_word(buf, start + recent.NEWEST)
        n_applied = recent.load_applied(buf, start, judged.applied)
        memory = get_half(buf, start + recent.MEMORY)
        settled = recent.settled_at(buf, start)
    settles = held + last - first >= most and held + last - first > 0
    asks = False
    for event in range(first, last):
        asks = asks or arrivals.events[event * EVENT_COLUMNS + PROBE] >= 0
    n_marks = int64(-1)
    if settles:
        n_marks = load_marks(buf, settled, judged.marks) if end > settled else int64(0)
    if held and (settles or asks):
        recent.load_events(tables.types, buf, start, judged.rows, judged.stride)
    taken, newest, n_applied, n_marks, forgot = judge(
        arrivals, tables.types, judged, buf, start, settled, end,
        held, newest, n_applied, first, last, settles or asks, n_marks,
    )  # fmt: skip
    begin = at
    settling = (held + taken) // most * most if settles else int64(0)
    if settling:
        open_settled(tables, scratch, buf, settled, end)
        apply_rows(
            tables, read, scratch, judged, most, bound, buf, 0, settling, held, False, probes
        )
        if now[FULL]:
            return begin
        now[FLAGS] |= forgot
    # The recent part: what stays of it, and what came.
    old = int64(0) if settling else held
    came = max(settling - held, 0)
    size = recent.HEADER + recent.POSITION_BYTES * n_applied + recent.MARK_BYTES * (old + taken - came) + memory
    if old:
        size += settled - start
    for n in range(came, taken):
        kind = arrivals.events[judged.taken[n] * EVENT_COLUMNS + KIND]
        size += recent.longest_event(tables.types, kind)
    if at + size > room:
        now[FULL] = FULL_OUT
        return begin
    at = recent.store_applied(out, at + recent.HEADER, judged.applied, n_applied)
    if old:
        mark = recent.marks_at(buf, start)
        at = copy_bytes(out, at, buf, mark, mark + recent.MARK_BYTES * old)
    for n in range(came, taken):
        at = put_word(out, at, arrivals.events[judged.taken[n] * EVENT_COLUMNS + MARK])
    if old:
        event_at = recent.marks_at(buf, start) + recent.MARK_BYTES * old
        at = copy_bytes(out, at, buf, event_at, settled - memory)
    for n in range(came, taken):
        place = judged.taken[n] * EVENT_COLUMNS
        at = recent.put_event(
            tables.types, out, at, arrivals.events[place + KIND], arrivals.events[place + TIME],
            arrivals.flat, arrivals.events[place + WORDS_AT],
        )  # fmt: skip
    at = copy_bytes(out, at, buf, settled - memory, settled)
    recent.store_head(
        out, begin, digest, newest, n_applied, held + taken - settling, memory, at - begin
    )
    # The settled part.
    middle = at
    if settling:
        at, check = write_settled(
            tables, scratch, buf, judged.marks, n_marks, now[NEWEST] - arrivals.lateness, out, at, room
        )
        if now[FULL]:
            return begin
        degree, flags = now[DEGREE], now[FLAGS]
    else:
        check, degree, flags = int64(0), int64(0), int64(0)
        if end > start:
            check = get_word(buf, start + recent.SETTLED_CHECK)
            degree, flags = int64(buf[start + recent.DEGREE]), int64(buf[start + recent.FLAGS])
        if at + end - settled > room:
            now[FULL] = FULL_OUT
            return begin
        at = copy_bytes(out, at, buf, settled, end)
    put_word(out, begin + recent.SETTLED_CHECK, check)
    put_half(out, begin + recent.SETTLED, at - middle)
    out[begin + recent.DEGREE], out[begin + recent.FLAGS] = degree, flags
    put_word(out, begin + recent.CHECK, checksum(out, begin + recent.DIGEST, middle))
    if asks:
        open_settled(tables, scratch, out, middle, at)
        apply_rows(
            tables, read, scratch, judged, most, bound, out, settling, held + taken, held, True, probes
        )
    return at


@compiled
def apply_rows(
    tables: Tables, read: Read, scratch: Scratch, judged: Judged, most: int, bound: int, buf: Bytes,
    first: int, last: int, held: int, only_probed: bool, probes: NDArray[np.float64],
) -> None:  # fmt: skip
    """Apply rows first to last to what was taken apart, minding bounds, and answer those that ask.

    Rows before `held` were answered when they came. `only_probed`: for the answers alone, all else is left.
    """
    now, rows = scratch.now, judged.rows
    asked = last
    if only_probed:  # what comes behind the last that asks is not needed
        while asked > max(first, held) and rows[(asked - 1) * judged.stride + ROW_PROBE] < 0:
            asked -= 1
        if asked <= max(first, held):
            return
    for number in range(first, asked):
        row = number * judged.stride
        apply_event(tables, scratch, buf, rows, row, last - first, only_probed)
        if now[FULL]:
            return
        if not only_probed and (number + 1) % most == 0:
            keep_bounds(tables, scratch, buf, bound, last - first, False)
            if now[FULL]:
                return
        if number >= held and rows[row + ROW_PROBE] >= 0:
            probe_event(
                tables, read, scratch, buf, rows[row + ROW_KIND], last - first, probes,
                rows[row + ROW_PROBE],
            )  # fmt: skip
            if now[FULL]:
                return
