"""The one fold, compiled: the events of many customers into their states, bytes to bytes, in one pass.

An event is judged and kept by the recent part of its customer's state alone. Only when so many are there,
or where a trigger reads a feature, is the settled part taken apart.
"""

import numpy as np
from numpy.typing import NDArray

from features.kernel import recent
from features.kernel.applying import apply_event, open_settled
from features.kernel.bounds import keep_bounds
from features.kernel.catching_up import Open, opened_for
from features.kernel.clock import judge_clock
from features.kernel.compiled import Bytes, Floats, Words, compiled, int64, pointer, within
from features.kernel.directory import INDEX
from features.kernel.firing import Now, judge_event
from features.kernel.judging import BEHIND, FOLDED, LATE, REPEAT, Arrivals, Judged, judge
from features.kernel.layout import (
    BANK_COLUMNS,
    EVENT_COLUMNS,
    KIND,
    LIMIT_BOUND,
    LIMIT_DIGEST,
    LIMIT_LATENESS,
    LIMIT_MOST,
    LIMIT_REMEMBERS,
    LIMIT_WIDEST,
    MARK,
    MOST_LEVELS,
    PROBE,
    ROW_KIND,
    ROW_MARK,
    ROW_PROBE,
    ROW_TIME,
    ROW_WORDS,
    TIME,
    WORDS_AT,
)
from features.kernel.marks import load_marks, store_marks
from features.kernel.recent import MOST_MARKS
from features.kernel.remembering import earliest_due, forget, load_memory, longest_memory, store_memory
from features.kernel.scratch import (
    DEGREE,
    FLAGS,
    FULL,
    FULL_OUT,
    INSTANT,
    NEWEST,
    NOW,
    Parts,
    Read,
    Scratch,
    Tables,
)
from features.kernel.settling import copy_bytes, write_settled
from features.kernel.trigger_layout import (
    AT_ROW,
    N_HITS,
    N_TOLD,
    AskedTables,
    Judging,
    RememberTables,
    ToldTables,
    WatchTables,
    asked_of,
    remembers_of,
    told_of,
    watching_of,
)
from features.kernel.varint import get_half, get_word, put_word

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
    limits: Words,
    buf: Bytes,
    starts: Words,
    behind: Bytes,
    behind_starts: Words,
    groups: Words,
    events: Words,
    flat: Words,
    fates: Bytes,
    watched: WatchTables,
    asks: AskedTables,
    memories: RememberTables,
    outcome: ToldTables,
    looks: Words,
    dues: Words,
    fixed: NDArray[np.int64],
    row: Floats,
    loaded: Words,
    listed: Words,
    ordering: Words,
    positions: Words,
    written: Bytes,
    out_starts: Words,
    settled: Bytes,
    settled_starts: Words,
) -> int:
    """Fold events into states; 0, or which room did not suffice, and then nothing counts.

    The tables are those of `features.kernel.layout`. The recent part of state n is from starts[n] to
    starts[n + 1] of `buf`, empty for none; its settled part is in `behind`, and is needed only where so many
    events have gathered or a trigger reads. Its events are rows groups[n] to groups[n + 1] of `events`, their
    words in `flat`. What became of each goes to `fates`; what they did to the triggers `watched`, of which
    `asks` knows what the events say, to `outcome`. `looks`, where there are any, are watermarks (ms) up to
    which waits are looked at, one a customer; then there are no events, and row n of `asks` is of customer n.
    `dues` says when each customer is to be looked at next
    (-1: as before). The new parts go to `written` and `settled`, where each begins to
    `out_starts` and `settled_starts`; a settled part of no bytes stays as it was. `fixed` (of `fixed_size`
    words), `row` (a copy of `defaults`), `positions` (for two words a partition) and the others are scratch.
    """
    count, n_banks = starts.size - 1, banks.size // BANK_COLUMNS
    bound, digest, most = limits[LIMIT_BOUND], limits[LIMIT_DIGEST], limits[LIMIT_MOST]
    stride = ROW_WORDS + limits[LIMIT_WIDEST]
    coming = int64(0)
    for number in range(count):
        coming = max(coming, groups[number + 1] - groups[number])
    marks_from = NOW + _SUMS
    index_from = marks_from + 2 * MOST_MARKS + 2
    taken_from = index_from + INDEX * n_banks
    tables = Tables(pointer(banks), pointer(spans), pointer(steps), pointer(types), n_banks)
    read = Read(pointer(features), pointer(scales), pointer(defaults), pointer(fixed[NOW:]), pointer(row))
    judging = Judging(
        watching_of(watched, limits[LIMIT_LATENESS]), asked_of(asks), told_of(outcome),
        remembers_of(memories), pointer(memories.keys),
    )  # fmt: skip
    judging.remembers.counts[N_HITS] = judging.remembers.counts[N_TOLD] = 0
    arrivals = Arrivals(
        pointer(events), pointer(flat), pointer(fates), limits[LIMIT_LATENESS], limits[LIMIT_REMEMBERS], most
    )
    judged = Judged(
        pointer(positions), pointer(fixed[marks_from:]), pointer(fixed[taken_from:]),
        pointer(fixed[taken_from + coming :]), stride,
    )  # fmt: skip
    now = pointer(fixed)
    scratch = Scratch(
        pointer(loaded), loaded.size, pointer(listed), listed.size, pointer(fixed[index_from:]),
        pointer(ordering), now,
    )  # fmt: skip
    out_starts[0] = settled_starts[0] = 0
    for number in range(count):
        state = Parts(
            pointer(buf), starts[number], starts[number + 1],
            pointer(behind), behind_starts[number], behind_starts[number + 1],
        )  # fmt: skip
        out = Parts(
            pointer(written), out_starts[number], written.size,
            pointer(settled), settled_starts[number], settled.size,
        )  # fmt: skip
        now[FULL] = 0
        look = looks[number] if looks.size else int64(-1)
        out_starts[number + 1], settled_starts[number + 1], dues[number] = fold_state(
            tables, read, scratch, arrivals, judged, judging, bound, digest, state,
            groups[number], groups[number + 1], number, look, out,
        )  # fmt: skip
        if now[FULL]:
            return int64(now[FULL])
    return 0


@within
def fold_state(
    tables: Tables, read: Read, scratch: Scratch, arrivals: Arrivals, judged: Judged, judging: Judging,
    bound: int, digest: int, state: Parts, first: int, last: int, number: int, look: int, out: Parts,
) -> tuple[int, int, int]:  # fmt: skip
    """Fold events first to last into the state, or look at its waits (watermark `look`, row `number` of what
    was asked; -1: no look), and write it to the room of `out`: where its parts end, and
    when it is to be looked at next (-1: as before).

    When there was no room, `now[FULL]` says of what, and nothing counts.
    """
    now, most, buf, start = scratch.now, arrivals.most, state.recent, state.recent_start
    remembers = judging.remembers
    known = state.recent_end > start
    held, newest, n_applied, memory = int64(0), int64(-1), int64(0), int64(0)
    if known:
        held = recent.get_quarter(buf, start + recent.EVENTS)
        newest = get_word(buf, start + recent.NEWEST)
        n_applied = recent.load_applied(buf, start, judged.applied)
        memory = get_half(buf, start + recent.MEMORY)
    looking = look >= 0
    settles = held + last - first >= most and held + last - first > 0 and not looking
    asks, needs = looking, looking
    for event in range(first, last):
        ask = arrivals.events[event * EVENT_COLUMNS + PROBE]
        if ask >= 0:
            asks = True
            needs = needs or judging.asked.needs[ask] != 0
    n_marks = int64(-1)
    if settles:
        n_marks = load_marks(buf, start, judged.marks) if known else int64(0)
    if held and (settles or needs):
        recent.load_events(tables.types, buf, start, judged.rows, judged.stride)
    before = newest
    taken, newest, n_applied, n_marks, forgot = judge(
        arrivals, tables.types, judged, buf, start, known, held, newest, n_applied, first, last,
        settles or needs, n_marks,
    )  # fmt: skip
    asks = asks and (looking or taken > 0)
    details = state.recent_end - memory
    if asks:
        forget(remembers)
        if known:
            details = load_memory(remembers, buf, details, state.recent_end)
    settling = (held + taken) // most * most if settles else int64(0)
    settled_end, check = out.settled_start, int64(0)
    degree, flags, settled_newest = int64(0), int64(0), int64(0)
    if settling:
        open_settled(tables, scratch, state.settled, state.settled_start, state.settled_end)
        apply_rows(
            tables, read, scratch, judged, judging, most, bound, state.settled, 0, settling, held, False,
            needs and asks,
        )  # fmt: skip
        if now[FULL]:
            return 0, 0, 0
        now[FLAGS] |= forgot
        settled_end, check = write_settled(
            tables, scratch, state.settled, out.settled, out.settled_start, out.settled_end
        )
        if now[FULL]:
            return 0, 0, 0
        degree, flags, settled_newest = now[DEGREE], now[FLAGS], now[NEWEST]
    # What triggers do follows from the state as it is just after each event.
    if asks and needs and settling:
        open_settled(tables, scratch, out.settled, out.settled_start, settled_end)
        apply_rows(
            tables, read, scratch, judged, judging, most, bound, out.settled, settling, held + taken, held,
            True, True,
        )  # fmt: skip
    elif looking:
        open_settled(tables, scratch, state.settled, state.settled_start, state.settled_end)
        opened = opened_for(
            tables, read, scratch, state.settled, held, judged.rows, judged.stride, 0, True, remembers
        )  # fmt: skip
        now[NEWEST], remembers.counts[AT_ROW] = newest, held - 1
        judge_clock(judging, opened, Now(number, judging.watching.clock, look, 0, newest), look)
    elif asks and needs:
        open_settled(tables, scratch, state.settled, state.settled_start, state.settled_end)
        apply_rows(
            tables, read, scratch, judged, judging, most, bound, state.settled, 0, held + taken, held, True,
            True,
        )  # fmt: skip
    elif asks:
        opened = Open(tables, read, scratch, buf, 0, judged.rows, judged.stride, 0, False, 0, 0)
        for n in range(taken):
            place = judged.taken[n] * EVENT_COLUMNS
            time, ask = arrivals.events[place + TIME], arrivals.events[place + PROBE]
            before = max(before, time)
            if ask >= 0:
                said = Now(ask, arrivals.events[place + KIND], time, arrivals.events[place + MARK], before)
                judge_event(judging, opened, said)
                if now[FULL]:
                    break
    if now[FULL]:
        return 0, 0, 0
    # What stays of the recent events: those held if nothing was settled, and what came behind.
    old = int64(0) if settling else held
    came = max(settling - held, 0)
    size = recent.HEADER + recent.POSITION_BYTES * n_applied + recent.MARK_BYTES * (taken - came)
    size += state.recent_end - start + 18 * max(n_marks, 0)
    if asks:
        size += longest_memory(remembers)
    for n in range(came, taken):
        kind = arrivals.events[judged.taken[n] * EVENT_COLUMNS + KIND]
        size += recent.longest_event(tables.types, kind)
    begin, to = out.recent_start, out.recent
    if begin + size > out.recent_end:
        now[FULL] = FULL_OUT
        return 0, 0, 0
    at = recent.store_applied(to, begin + recent.HEADER, judged.applied, n_applied)
    mark = recent.marks_at(buf, start) if known else int64(0)
    at = copy_bytes(to, at, buf, mark, mark + recent.MARK_BYTES * old)
    for n in range(came, taken):
        at = put_word(to, at, arrivals.events[judged.taken[n] * EVENT_COLUMNS + MARK])
    marks_from = at
    if settling:
        n_marks, at = store_marks(to, at, judged.marks, n_marks, settled_newest - arrivals.lateness)
    elif known:
        n_marks = get_half(buf, start + recent.MARKS)
        mark += recent.MARK_BYTES * held
        at = copy_bytes(to, at, buf, mark, mark + get_half(buf, start + recent.MARKS_BYTES))
    marks_bytes = at - marks_from
    if old:
        at = copy_bytes(to, at, buf, recent.events_at(buf, start), recent.events_end(buf, start))
    for n in range(came, taken):
        place = judged.taken[n] * EVENT_COLUMNS
        at = recent.put_event(
            tables.types, to, at, arrivals.events[place + KIND], arrivals.events[place + TIME],
            arrivals.flat, arrivals.events[place + WORDS_AT],
        )  # fmt: skip
    memory_from, due = at, int64(-1)
    if asks:
        at = store_memory(remembers, to, at)
        due = earliest_due(remembers, judging.watching.triggers)
    at = copy_bytes(to, at, buf, details, state.recent_end)
    recent.store_head(
        to, begin, digest, newest, n_applied, held + taken - settling, max(n_marks, 0), marks_bytes,
        at - memory_from, at - begin,
    )  # fmt: skip
    if settling:
        recent.sign_head(to, begin, check, settled_end - out.settled_start, degree, flags)
    elif known:
        recent.sign_head(
            to, begin, get_word(buf, start + recent.SETTLED_CHECK), get_half(buf, start + recent.SETTLED),
            int64(buf[start + recent.DEGREE]), int64(buf[start + recent.FLAGS]),
        )  # fmt: skip
    else:
        recent.sign_head(to, begin, 0, 0, 0, 0)
    return at, settled_end, due


@within
def apply_rows(
    tables: Tables, read: Read, scratch: Scratch, judged: Judged, judging: Judging, most: int, bound: int,
    buf: Bytes, first: int, last: int, held: int, lazy: bool, judges: bool,
) -> None:  # fmt: skip
    """Apply rows first to last to what was taken apart, minding bounds, and judge triggers after each.

    Rows before `held` were judged when they came. `lazy`: for the triggers alone, no more than these ask for.
    """
    now, rows = scratch.now, judged.rows
    asked = last
    if lazy:  # what comes behind the last that asks is not needed
        while asked > max(first, held) and rows[(asked - 1) * judged.stride + ROW_PROBE] < 0:
            asked -= 1
        if asked <= max(first, held):
            return
    opened = opened_for(
        tables, read, scratch, buf, last - first, rows, judged.stride, first, lazy, judging.remembers
    )  # fmt: skip
    for number in range(first, asked):
        row = number * judged.stride
        if lazy:
            now[NEWEST] = max(now[NEWEST], rows[row + ROW_TIME])
        else:
            apply_event(tables, scratch, buf, rows, row, last - first)
            if now[FULL]:
                return
            if (number + 1) % most == 0:
                keep_bounds(tables, scratch, buf, bound, last - first, False)
                if now[FULL]:
                    return
        if judges and number >= held and rows[row + ROW_PROBE] >= 0:
            said = Now(
                rows[row + ROW_PROBE], rows[row + ROW_KIND], rows[row + ROW_TIME], rows[row + ROW_MARK],
                now[NEWEST],
            )  # fmt: skip
            judging.remembers.counts[AT_ROW], now[INSTANT] = number, now[NEWEST] + 1
            judge_event(judging, opened, said)
            if now[FULL]:
                return
