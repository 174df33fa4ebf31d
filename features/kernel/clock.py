"""What the clock does to the triggers of one customer: waits that are over are looked at, and fire or do not.

Conditions are judged as of the instant that was waited for, or just after the newest event where that came
later; no event is at hand then, so what they read of one is unknown.
"""

from features.kernel.catching_up import Open
from features.kernel.compiled import within
from features.kernel.conditions import first_untrue
from features.kernel.firing import Now, fire, remove_wait, tell, tell_values
from features.kernel.remembering import touch
from features.kernel.scratch import FULL, INSTANT
from features.kernel.trigger_layout import (
    AUDIENCE,
    CLOSED,
    CONDITION,
    COOLDOWN,
    COOLING,
    FIRED,
    FROM,
    HAS_FIRED,
    LAST,
    N_WAITS,
    OTHERS,
    OUTSIDE,
    PATIENCE,
    REMEMBERED,
    REMEMBERED_FLAGS,
    STAMP,
    STILL,
    TRIGGER_COLUMNS,
    TRUE_BEFORE,
    UNTIL,
    UNTRUE,
    WAIT_BEGAN,
    WAIT_COLUMNS,
    WAIT_END,
    WAIT_KEY,
    WAIT_MARK,
    WAIT_TRIGGER,
    Judging,
)


@within
def judge_clock(judging: Judging, opened: Open, look: Now, watermark: int) -> None:
    """Look at the waits that are over, in order: the log has been read up to `watermark` (ms).

    `look` has the row of what attributes say, and no event.
    """
    watching, remembers = judging.watching, judging.remembers
    waits, wait = remembers.waits, 0
    while wait < remembers.counts[N_WAITS] * WAIT_COLUMNS:
        trigger, end = waits[wait + WAIT_TRIGGER], waits[wait + WAIT_END]
        if end + watching.triggers[trigger * TRIGGER_COLUMNS + PATIENCE] > watermark:
            wait += WAIT_COLUMNS
            continue
        began, mark, key = waits[wait + WAIT_BEGAN], waits[wait + WAIT_MARK], waits[wait + WAIT_KEY]
        remove_wait(remembers, wait)
        remembers.counts[STAMP] += 1
        opened.scratch.now[INSTANT] = max(end, look.newest + 1)
        look_at(judging, opened, Now(look.ask, look.kind, end, mark, look.newest), trigger, began, key)
        if opened.scratch.now[FULL]:
            return


@within
def look_at(judging: Judging, opened: Open, look: Now, trigger: int, began: int, key: int) -> None:
    """What one wait that is over comes to; `look` has its end and the mark of its cause.

    What became of a wait that began is always told, as details are kept of it; of a look that was armed only
    that it fired, unless all is told.
    """
    watching, asked, remembers = judging.watching, judging.asked, judging.remembers
    row, entry, table = trigger * TRIGGER_COLUMNS, trigger * REMEMBERED, watching.triggers
    flags, told, why, more = remembers.entries[entry + REMEMBERED_FLAGS], began >= 0, FIRED, 0
    if began < 0:
        untrue = first_untrue(watching, asked, look.ask, look.kind, opened, remembers, table[row + CONDITION])
        if opened.scratch.now[FULL]:
            return
        if untrue >= 0:
            why, more = UNTRUE, untrue
            if flags & TRUE_BEFORE:
                remembers.entries[entry + REMEMBERED_FLAGS] &= ~TRUE_BEFORE
                if flags & HAS_FIRED:
                    remembers.entries[entry + REMEMBERED_FLAGS] |= CLOSED
        elif flags & TRUE_BEFORE:
            why = STILL
        else:
            touch(remembers, trigger)
            remembers.entries[entry + REMEMBERED_FLAGS] |= TRUE_BEFORE
    if why == FIRED and not table[row + FROM] <= look.time < table[row + UNTIL]:
        why = OUTSIDE
    if why == FIRED and table[row + AUDIENCE] >= 0:
        missing = first_untrue(watching, asked, look.ask, look.kind, opened, remembers, table[row + AUDIENCE])
        if opened.scratch.now[FULL]:
            return
        if missing >= 0:
            why, more = OTHERS, missing
    cooled = remembers.entries[entry + LAST] + table[row + COOLDOWN]
    if why == FIRED and flags & HAS_FIRED and table[row + COOLDOWN] and look.time < cooled:
        why = COOLING
    if why == FIRED or told or watching.verbose:
        hit = tell(judging, opened, look, trigger, why, look.time, began, look.mark, more)
        if why == FIRED and began < 0:
            tell_values(judging, opened, look, hit)  # as it is before it has fired
    if why == FIRED:
        fire(remembers, trigger, look.time, look.mark, key)
