"""What one event does to the triggers of its customer: it ends waits, fires, begins sequences, is remembered.

Everything is decided here, in log order, so that it cannot depend on how the log was cut. What came of it
goes to `hits`, for messages to be made of.
"""

from typing import NamedTuple

from features.kernel.catching_up import Open, most_of, plainly_untrue
from features.kernel.compiled import Words, int64, within
from features.kernel.conditions import first_untrue, value_of
from features.kernel.remembering import hold, touch
from features.kernel.scratch import FULL, FULL_HITS
from features.kernel.trigger_layout import (
    AFTER,
    ALONE,
    ANSWERED,
    ANSWERS,
    ATOM,
    AUDIENCE,
    BEGINS,
    CLAUSE_COLUMNS,
    CLOSED,
    CONDITION,
    COOLDOWN,
    COOLING,
    COUNTS,
    EDGE,
    ENDED,
    ENDS,
    FIRED,
    FIRST_HELD,
    FROM,
    GATE,
    GIVEN_UP,
    HAS_FIRED,
    HELD,
    HIT_BEGAN,
    HIT_COLUMNS,
    HIT_EVENT,
    HIT_MARK,
    HIT_MORE,
    HIT_SORT,
    HIT_TIME,
    HIT_TOLD,
    HIT_TRIGGER,
    KEY,
    KEY_OF,
    LAST,
    MARK_OF,
    MOST_HELD,
    N_HITS,
    N_TOLD,
    N_WAITS,
    NEEDED,
    OTHERS,
    OUTSIDE,
    PATIENCE,
    REMEMBERED,
    REMEMBERED_FLAGS,
    ROLE,
    ROLE_COLUMNS,
    SCREENED,
    STAMP,
    STARTED,
    STARTS,
    STILL,
    SUPERSEDED,
    TIMES,
    TOLD_AT,
    TOLD_END,
    TRIGGER,
    TRIGGER_COLUMNS,
    TRUE_BEFORE,
    UNLESS,
    UNTIL,
    UNTRUE,
    WAIT_BEGAN,
    WAIT_COLUMNS,
    WAIT_END,
    WAIT_KEY,
    WAIT_MARK,
    WAIT_TRIGGER,
    WAKE,
    WATCH,
    Judging,
    Remembers,
    Watching,
)


class Now(NamedTuple):
    """The event that is judged: its row of what was worked out beforehand, type, time, mark, and the
    customer's newest time (ms)."""

    ask: int
    kind: int
    time: int
    mark: int
    newest: int


@within
def tell(
    judging: Judging, opened: Open, now: Now, trigger: int, sort: int, time: int, began: int, mark: int,
    more: int,
) -> int:  # fmt: skip
    """Note what happened; the row of `hits`, -1 when there is no room."""
    told, remembers = judging.told, judging.remembers
    number = remembers.counts[N_HITS]
    if number == told.hits_room:
        opened.scratch.now[FULL] = FULL_HITS
        return -1
    row = number * HIT_COLUMNS
    hits = told.hits
    hits[row + HIT_EVENT], hits[row + HIT_TRIGGER], hits[row + HIT_SORT] = now.ask, trigger, sort
    hits[row + HIT_TOLD], hits[row + HIT_TIME], hits[row + HIT_BEGAN] = -1, time, began
    hits[row + HIT_MARK], hits[row + HIT_MORE] = mark, more
    remembers.counts[N_HITS] += 1
    return row


@within
def tell_values(judging: Judging, opened: Open, now: Now, row: int) -> None:
    """Add to what happened the values that its trigger reports."""
    watching, asked, told, remembers = judging.watching, judging.asked, judging.told, judging.remembers
    if row < 0:
        return
    trigger = told.hits[row + HIT_TRIGGER] * TRIGGER_COLUMNS
    first, last = watching.triggers[trigger + TOLD_AT], watching.triggers[trigger + TOLD_END]
    if first == last:
        return
    number = remembers.counts[N_TOLD]
    if number == told.told_room:
        opened.scratch.now[FULL] = FULL_HITS
        return
    told.hits[row + HIT_TOLD] = number
    for at in range(first, last):
        told.told[number * told.told_width + at - first] = value_of(
            watching, asked, now.ask, now.kind, opened, remembers, watching.told[at]
        )
    remembers.counts[N_TOLD] += 1


@within
def remove_wait(remembers: Remembers, wait: int) -> None:
    """Take a wait out."""
    remembers.waiting[remembers.waits[wait + WAIT_TRIGGER]] -= 1
    remembers.counts[N_WAITS] -= 1
    for place in range(wait, remembers.counts[N_WAITS] * WAIT_COLUMNS):
        remembers.waits[place] = remembers.waits[place + WAIT_COLUMNS]


@within
def later(waits: Words, wait: int, end: int, trigger: int, began: int) -> bool:
    """Whether a wait comes behind one of this end, trigger and begin."""
    if waits[wait + WAIT_END] != end:
        return waits[wait + WAIT_END] > end
    if waits[wait + WAIT_TRIGGER] != trigger:
        return waits[wait + WAIT_TRIGGER] > trigger
    return waits[wait + WAIT_BEGAN] > began


@within
def due_last(watching: Watching, remembers: Remembers) -> int:
    """The wait that is over last, patience counted; of those over at once the highest trigger's, then the one
    read last."""
    waits, last = remembers.waits, int64(0)
    for wait in range(WAIT_COLUMNS, remembers.counts[N_WAITS] * WAIT_COLUMNS, WAIT_COLUMNS):
        trigger, best = waits[wait + WAIT_TRIGGER], waits[last + WAIT_TRIGGER]
        due = waits[wait + WAIT_END] + watching.triggers[trigger * TRIGGER_COLUMNS + PATIENCE]
        latest = waits[last + WAIT_END] + watching.triggers[best * TRIGGER_COLUMNS + PATIENCE]
        if due > latest or (due == latest and trigger >= best):
            last = wait
    return last


@within
def add_wait(
    judging: Judging, opened: Open, now: Now, trigger: int, end: int,
    began: int, mark: int, key: int,
) -> None:  # fmt: skip
    """Wait, in order of (end, trigger, begin) and as read; past the bound the one due last is given up."""
    watching, remembers = judging.watching, judging.remembers
    waits = remembers.waits
    at = remembers.counts[N_WAITS]
    while at and later(waits, (at - 1) * WAIT_COLUMNS, end, trigger, began):
        at -= 1
    for place in range(remembers.counts[N_WAITS] * WAIT_COLUMNS - 1, at * WAIT_COLUMNS - 1, -1):
        waits[place + WAIT_COLUMNS] = waits[place]
    wait = at * WAIT_COLUMNS
    waits[wait + WAIT_TRIGGER], waits[wait + WAIT_END], waits[wait + WAIT_BEGAN] = trigger, end, began
    waits[wait + WAIT_MARK], waits[wait + WAIT_KEY] = mark, key
    remembers.counts[N_WAITS] += 1
    remembers.waiting[trigger] += 1
    if remembers.counts[N_WAITS] > watching.wakes:
        last = due_last(watching, remembers)
        tell(judging, opened, now, waits[last + WAIT_TRIGGER], GIVEN_UP, waits[last + WAIT_END],
            waits[last + WAIT_BEGAN], waits[last + WAIT_MARK], 0)  # fmt: skip
        remove_wait(remembers, last)


@within
def arm(judging: Judging, opened: Open, now: Now, trigger: int, end: int) -> None:
    """Look at the trigger again at `end`, unless it is to be looked at later still."""
    remembers = judging.remembers
    waits, behind = remembers.waits, remembers.counts[N_WAITS] * WAIT_COLUMNS
    if remembers.waiting[trigger] == 0:
        add_wait(judging, opened, now, trigger, end, -1, 0, 0)
        return
    wait = int64(0)
    while waits[wait + WAIT_TRIGGER] != trigger:
        wait += WAIT_COLUMNS
    if waits[wait + WAIT_END] >= end:
        return
    # It goes to its new place at once; what lies between moves up.
    to = wait + WAIT_COLUMNS
    while to < behind and not later(waits, to, end, trigger, -1):
        to += WAIT_COLUMNS
    for place in range(wait, to - WAIT_COLUMNS):
        waits[place] = waits[place + WAIT_COLUMNS]
    wait = to - WAIT_COLUMNS
    waits[wait + WAIT_TRIGGER], waits[wait + WAIT_END], waits[wait + WAIT_BEGAN] = trigger, end, -1
    waits[wait + WAIT_MARK] = waits[wait + WAIT_KEY] = 0


@within
def supersede(judging: Judging, opened: Open, now: Now, trigger: int) -> None:
    """Say once that the trigger's last firing would not have been, had this event been read in time."""
    watching, remembers = judging.watching, judging.remembers
    entry = trigger * REMEMBERED
    flags = remembers.entries[entry + REMEMBERED_FLAGS]
    if flags & HAS_FIRED == 0 or flags & CLOSED:
        return
    remembers.entries[entry + REMEMBERED_FLAGS] |= CLOSED
    last, unless = remembers.entries[entry + LAST], watching.triggers[trigger * TRIGGER_COLUMNS + UNLESS]
    tell(judging, opened, now, trigger, SUPERSEDED, last, last - max(unless, 0),
        remembers.entries[entry + MARK_OF], 0)  # fmt: skip


@within
def end_waits(judging: Judging, opened: Open, now: Now, trigger: int, key: int) -> None:
    """The event that must not happen did: end the waits of this trigger that it answers."""
    watching, remembers = judging.watching, judging.remembers
    waits, entries = remembers.waits, remembers.entries
    wait = int64(0)
    while remembers.waiting[trigger] and wait < remembers.counts[N_WAITS] * WAIT_COLUMNS:
        if (
            waits[wait + WAIT_TRIGGER] == trigger
            and waits[wait + WAIT_KEY] == key
            and waits[wait + WAIT_BEGAN] <= now.time <= waits[wait + WAIT_END]
        ):
            tell(judging, opened, now, trigger, ENDED, now.time, waits[wait + WAIT_BEGAN],
                waits[wait + WAIT_MARK], 0)  # fmt: skip
            remove_wait(remembers, wait)
        else:
            wait += WAIT_COLUMNS
    entry = trigger * REMEMBERED
    within = watching.triggers[trigger * TRIGGER_COLUMNS + UNLESS]
    if (
        entries[entry + REMEMBERED_FLAGS] & HAS_FIRED
        and entries[entry + KEY_OF] == key
        and entries[entry + LAST] - within <= now.time <= entries[entry + LAST]
    ):
        supersede(judging, opened, now, trigger)


@within
def held_between(remembers: Remembers, number: int, first: int, last: int, key: int) -> bool:
    """Whether an event of this key is remembered from first to last (ms)."""
    entry = number * REMEMBERED
    for n in range(remembers.entries[entry + HELD]):
        place = entry + FIRST_HELD + 2 * n
        if first <= remembers.entries[place] <= last and remembers.entries[place + 1] == key:
            return True
    return False


@within
def answered(remembers: Remembers, number: int, first: int, last: int, key: int) -> bool:
    """Whether a start that comes late has been answered; as if so where too many answers came to know all."""
    entry = number * REMEMBERED
    if remembers.entries[entry + HELD] == MOST_HELD and first <= remembers.entries[entry + FIRST_HELD]:
        return True
    return held_between(remembers, number, first, last, key)


@within
def use_up(remembers: Remembers, number: int, first: int, last: int, key: int) -> None:
    """Forget the events of this key that are remembered from first to last."""
    entry, kept = number * REMEMBERED, int64(0)
    entries = remembers.entries
    for n in range(entries[entry + HELD]):
        place, to = entry + FIRST_HELD + 2 * n, entry + FIRST_HELD + 2 * kept
        if first <= entries[place] <= last and entries[place + 1] == key:
            continue
        entries[to], entries[to + 1] = entries[place], entries[place + 1]
        kept += 1
    entries[entry + HELD] = kept


@within
def why_not(
    judging: Judging, opened: Open, now: Now, trigger: int,
    sort: int, more: int,
) -> None:  # fmt: skip
    """Say why it did not fire, if all is told."""
    watching = judging.watching
    if watching.verbose:
        row = tell(judging, opened, now, trigger, sort, now.time, now.time, now.mark, more)
        tell_values(judging, opened, now, row)


@within
def start(
    judging: Judging, opened: Open, now: Now, trigger: int
) -> None:  # fmt: skip
    """Judge a trigger at an event that may fire it."""
    watching, asked, remembers = judging.watching, judging.asked, judging.remembers
    keys = judging.keys
    row, number, entries = trigger * TRIGGER_COLUMNS, trigger * REMEMBERED, remembers.entries
    table = watching.triggers
    if table[row + WAKE] >= 0:
        arm(judging, opened, now, trigger, now.time + table[row + WAKE])
    untrue = int64(-1)
    if table[row + CONDITION] >= 0:
        untrue = first_untrue(watching, asked, now.ask, now.kind, opened, remembers, table[row + CONDITION])
    if opened.scratch.now[FULL]:
        return
    if table[row + EDGE]:
        before = entries[number + REMEMBERED_FLAGS] & TRUE_BEFORE
        if untrue >= 0:
            if before:
                entries[number + REMEMBERED_FLAGS] &= ~TRUE_BEFORE
                if table[row + UNLESS] < 0 and entries[number + REMEMBERED_FLAGS] & HAS_FIRED:
                    if now.time <= entries[number + LAST]:
                        supersede(judging, opened, now, trigger)
                    entries[number + REMEMBERED_FLAGS] |= CLOSED
        elif before:
            why_not(judging, opened, now, trigger, STILL, 0)
            return
        else:
            touch(remembers, trigger)
            entries[number + REMEMBERED_FLAGS] |= TRUE_BEFORE
    if untrue >= 0:
        why_not(judging, opened, now, trigger, UNTRUE, untrue)
        return
    for n in range(3):
        keys[n] = key_of(judging, now, watching.start_keys[3 * trigger + n])
    absent = table[row + UNLESS] >= 0
    if not absent and not table[row + FROM] <= now.time < table[row + UNTIL]:
        why_not(judging, opened, now, trigger, OUTSIDE, 0)
        return
    follows = table[row + AFTER] >= 0
    earliest = now.time - table[row + AFTER]
    if follows and not held_between(remembers, trigger, earliest, now.time, keys[0]):
        why_not(judging, opened, now, trigger, ALONE, 0)
        return
    if absent:
        end = now.time + table[row + UNLESS]
        if answered(remembers, table[row + WATCH], now.time, end, keys[1]):
            why_not(judging, opened, now, trigger, ANSWERED, 0)
            return
        if follows:
            use_up(remembers, trigger, earliest, now.time, keys[0])
        hit = tell(judging, opened, now, trigger, STARTED, end, now.time, now.mark, 0)
        tell_values(judging, opened, now, hit)
        add_wait(judging, opened, now, trigger, end, now.time, now.mark, keys[1])
        return
    if table[row + AUDIENCE] >= 0:
        missing = first_untrue(watching, asked, now.ask, now.kind, opened, remembers, table[row + AUDIENCE])
        if opened.scratch.now[FULL]:
            return
        if missing >= 0:
            why_not(judging, opened, now, trigger, OTHERS, missing)
            return
    fired = entries[number + REMEMBERED_FLAGS] & HAS_FIRED
    if fired and table[row + COOLDOWN] and now.time < entries[number + LAST] + table[row + COOLDOWN]:
        why_not(judging, opened, now, trigger, COOLING, entries[number + LAST])
        return
    if follows:
        use_up(remembers, trigger, earliest, now.time, keys[0])
    # What it reports is read before it has fired.
    hit = tell(judging, opened, now, trigger, FIRED, now.time, now.time, now.mark, 0)
    tell_values(judging, opened, now, hit)
    fire(remembers, trigger, now.time, now.mark, keys[2])


@within
def rests(judging: Judging, opened: Open, now: Now, trigger: int) -> bool:
    """Whether a trigger plainly does nothing at an event: a clause is known to be untrue, and no edge is to
    fall, no look to be armed, nothing to be said."""
    watching, asked, remembers = judging.watching, judging.asked, judging.remembers
    row = trigger * TRIGGER_COLUMNS
    condition = watching.triggers[row + CONDITION]
    if condition < 0 or watching.verbose or watching.triggers[row + WAKE] >= 0:
        return False
    flags = remembers.entries[trigger * REMEMBERED + REMEMBERED_FLAGS] if remembers.place[trigger] else 0
    if watching.triggers[row + EDGE] and flags & TRUE_BEFORE:
        return False
    stamp = remembers.counts[STAMP]
    for at in range(watching.clauses_at[condition], watching.clauses_at[condition + 1]):
        clause = watching.clause_of[at]
        atom = watching.clauses[clause * CLAUSE_COLUMNS + ATOM]
        if atom >= 0:
            place = watching.atoms_of[now.kind * watching.n_atoms + atom]
            if asked.atoms[now.ask * asked.atoms_width + place] != 1:
                return True
        elif remembers.truth_stamps[clause] == stamp:
            if remembers.truths[clause] != 1:
                return True
        elif plainly_untrue(watching, asked, now.ask, now.kind, opened, remembers, clause):
            remembers.truths[clause], remembers.truth_stamps[clause] = 0.0, stamp
            return True
    return False


@within
def fire(remembers: Remembers, trigger: int, time: int, mark: int, key: int) -> None:
    """Remember that it fired."""
    entries, entry = remembers.entries, touch(remembers, trigger)
    fired = entries[entry + REMEMBERED_FLAGS] & HAS_FIRED
    if not fired:
        entries[entry + TIMES] = 0
    entries[entry + TIMES] += 1
    if not fired or time >= entries[entry + LAST]:
        entries[entry + LAST], entries[entry + MARK_OF], entries[entry + KEY_OF] = time, mark, key
        entries[entry + REMEMBERED_FLAGS] &= ~CLOSED
    entries[entry + REMEMBERED_FLAGS] |= HAS_FIRED


@within
def judge_event(judging: Judging, opened: Open, now: Now) -> None:
    """Everything that the event does to triggers."""
    watching, asked, remembers = judging.watching, judging.asked, judging.remembers
    remembers.counts[STAMP] += 1
    entries = remembers.entries
    for role in range(
        watching.roles_at[now.kind] * ROLE_COLUMNS,
        watching.roles_at[now.kind + 1] * ROLE_COLUMNS,
        ROLE_COLUMNS,
    ):
        sort, trigger = watching.roles[role + ROLE], watching.roles[role + TRIGGER]
        gate = watching.roles[role + GATE]
        shut = False
        if gate >= 0:
            place = watching.atoms_of[now.kind * watching.n_atoms + gate]
            shut = asked.atoms[now.ask * asked.atoms_width + place] != 1
        if sort == STARTS:
            # Most cannot start: to be quick about these is what makes a thousand triggers cheap. Of what is
            # not remembered at all no edge falls.
            if remembers.place[trigger] == 0 and not watching.verbose:
                screen = watching.roles[role + SCREENED]
                if not shut and screen >= 0:
                    # Looked up here: a call with all these tables costs more than what it answers.
                    if remembers.highest_stamps[screen] != remembers.counts[STAMP]:
                        most_of(watching, asked, now.ask, now.kind, opened, remembers, screen)
                    shut = remembers.highest[screen] < watching.roles[role + NEEDED]
                if shut:
                    continue
            if rests(judging, opened, now, trigger):
                continue
            start(judging, opened, now, trigger)
            if opened.scratch.now[FULL]:
                return
            continue
        if shut:
            continue
        key = key_of(judging, now, watching.roles[role + KEY])
        if sort == ENDS:
            end_waits(judging, opened, now, trigger, key)
        elif sort == COUNTS:
            if (
                entries[trigger * REMEMBERED + REMEMBERED_FLAGS] & HAS_FIRED
                and now.time < entries[trigger * REMEMBERED + LAST]
                and entries[trigger * REMEMBERED + KEY_OF] == key
            ):
                supersede(judging, opened, now, trigger)
        elif sort == BEGINS:
            within = watching.triggers[trigger * TRIGGER_COLUMNS + AFTER]
            hold(remembers, touch(remembers, trigger), now.time, key, now.newest - watching.lateness - within)
        elif sort == ANSWERS:
            hold(remembers, touch(remembers, trigger), now.time, key, now.newest - watching.lateness)


@within
def key_of(judging: Judging, now: Now, number: int) -> int:
    """The key of an event's fields by its number; 0 where there are none to agree in."""
    watching, asked = judging.watching, judging.asked
    if number < 0:
        return 0
    place = watching.keys_of[now.kind * watching.n_keys + number]
    return asked.keys[now.ask * asked.keys_width + place]
