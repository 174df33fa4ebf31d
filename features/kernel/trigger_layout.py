"""What the compiled code is told of triggers, as tables of whole numbers, and how it remembers them in
scratch.

A *source* is a number that conditions read of a customer; an *atom* a part of a condition that reads the
event alone, worked out beforehand in columns; a *clause* what stands between the `&&` of a condition, judged
once an event however many triggers share it. All tables are laid out flat, row by row.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.kernel.compiled import Bytes, Floats, Words, compiled, pointer

# Columns of `triggers`: lengths and instants in ms, -1 where there is none.
(
    CONDITION, AUDIENCE, EDGE, AFTER, UNLESS, WATCH, WAKE, PATIENCE, COOLDOWN, FROM, UNTIL, TOLD_AT,
    TOLD_END,
) = range(13)  # fmt: skip
TRIGGER_COLUMNS = 13

# Columns of `roles`: what an event of a type is to a trigger, and the atoms and keys that say so (-1: none).
# Of what may fire the gate is an atom without which nothing comes of it unless its condition was true, and so
# is the screen (-1: none), which must come to so much.
ROLE, TRIGGER, GATE, KEY, SCREENED, NEEDED = 0, 1, 2, 3, 4, 5
ROLE_COLUMNS = 6
ENDS, COUNTS, STARTS, BEGINS, ANSWERS = range(5)
"""Ends waits; is counted (for what is superseded); may fire; begins a sequence; is remembered as an
answer."""

# Columns of `clauses`: an atom (-1: none), or a piece of code and the register with its result; then the
# screen (-1: none) that must come to so much for the clause to be true.
ATOM, CODE_AT, CODE_END, RESULT, CLAUSE_SCREEN, CLAUSE_NEEDS = range(6)
CLAUSE_COLUMNS = 6

# Columns of `screens`, what a source cannot exceed and is worked out for less than to read it: the sort, the
# bank, the key (-1: none), and how far back events count (ms, -1: ever).
SCREEN_SORT, SCREEN_BANK, SCREEN_KEY, SCREEN_BACK = range(4)
SCREEN_COLUMNS = 4
SO_MANY, SO_LONG_AGO = range(2)
"""How many events there are at most; for how long (ms) at most none has come."""

# Columns of `code`.
OP, TO, LEFT, RIGHT, THIRD = 0, 1, 2, 3, 4
CODE_COLUMNS = 5
(
    CONSTANT, GIVEN, SOURCE, ADD, SUBTRACT, MULTIPLY, DIVIDE, REMAINDER, LESS, AT_MOST, MORE, AT_LEAST, EQUAL,
    UNEQUAL, BOTH, EITHER, NOT, MISSING_IS, FIRST_KNOWN, CHOICE,
) = range(20)  # fmt: skip

# Columns of `sources`: two parts of (bank, column of its row, key or -1), the factor of a ratio and the
# default as places of `constants`; for what a trigger did, its number.
SORT, BANK_A, COLUMN_A, KEY_A, BANK_B, COLUMN_B, KEY_B, FACTOR, DEFAULT = range(9)
SOURCE_COLUMNS = 9
PLAIN, RATIO, FIRED_COUNT, FIRED_SINCE = range(4)

# Columns of `hits`: the event's place in the batch (-1: none), the trigger, what happened, the row of `told`
# (-1: none), event time and when it began (ms), the mark of the cause, and one more number.
HIT_EVENT, HIT_TRIGGER, HIT_SORT, HIT_TOLD, HIT_TIME, HIT_BEGAN, HIT_MARK, HIT_MORE = range(8)
HIT_COLUMNS = 8
(
    FIRED, STARTED, ENDED, SUPERSEDED, GIVEN_UP,
    UNTRUE, STILL, OUTSIDE, ALONE, ANSWERED, OTHERS, COOLING,
) = range(12)  # fmt: skip
"""It fired; a wait began, or ended; a firing was superseded; a wait was given up. Only when all is told: why
it did not fire - not true, true before, outside its dates, no event before it, answered already, not for this
customer, in its cooldown."""

# What is remembered of a trigger, in scratch: flags, last firing (ms), how often, mark and key of its cause,
# then how many events are remembered, and these as (time, key).
REMEMBERED_FLAGS, LAST, TIMES, MARK_OF, KEY_OF, HELD, FIRST_HELD = range(7)
MOST_HELD = 16
"""Events remembered of one step of one trigger."""
REMEMBERED = FIRST_HELD + 2 * MOST_HELD

TRUE_BEFORE, HAS_FIRED, CLOSED = 1, 2, 4
"""Closed: what it fired for last is over, or superseded; nothing that is read later supersedes it."""

# A wait in scratch: trigger, the instant it ends, when it began (-1: armed, not begun), mark of its start,
# key.
WAIT_TRIGGER, WAIT_END, WAIT_BEGAN, WAIT_MARK, WAIT_KEY = range(5)
WAIT_COLUMNS = 5


class WatchTables(NamedTuple):
    """A plan's triggers as tables; `roles` of a type are from roles_at[type] to roles_at[type + 1].

    `atoms_of` and `keys_of` say for each type in which column an atom or a key stands (-1: none);
    `start_keys` has for each trigger the keys of its sequence, its absence and its count; `steps_of` for
    each bank the type of its events and the place in `steps` of what they do to it; `sizes` are as listed
    below.
    """

    triggers: NDArray[np.int64]
    roles_at: NDArray[np.int64]
    roles: NDArray[np.int64]
    clauses_at: NDArray[np.int64]
    clause_of: NDArray[np.int64]
    clauses: NDArray[np.int64]
    screens: NDArray[np.int64]
    code: NDArray[np.int64]
    constants: NDArray[np.float64]
    sources: NDArray[np.int64]
    told: NDArray[np.int64]
    atoms_of: NDArray[np.int64]
    keys_of: NDArray[np.int64]
    start_keys: NDArray[np.int64]
    crossed_defaults: NDArray[np.float64]
    steps_of: NDArray[np.int64]
    sizes: NDArray[np.int64]


N_ATOMS, N_KEYS, N_WAKES, VERBOSE, CLOCK = range(5)
"""Places of `sizes`: atoms, keys, the bound on waits, whether all is told, and the type, behind all others,
of what is no event: a look that the clock brings."""


class Watching(NamedTuple):
    """The same as pointers."""

    triggers: Words
    roles_at: Words
    roles: Words
    clauses_at: Words
    clause_of: Words
    clauses: Words
    screens: Words
    code: Words
    constants: Floats
    sources: Words
    told: Words
    atoms_of: Words
    keys_of: Words
    start_keys: Words
    crossed_defaults: Floats
    steps_of: Words
    n_atoms: int
    n_keys: int
    wakes: int
    verbose: int
    clock: int
    lateness: int


@compiled
def watching_of(tables: WatchTables, lateness: int) -> Watching:
    """The tables as pointers."""
    return Watching(
        pointer(tables.triggers), pointer(tables.roles_at), pointer(tables.roles),
        pointer(tables.clauses_at), pointer(tables.clause_of), pointer(tables.clauses),
        pointer(tables.screens), pointer(tables.code),
        pointer(tables.constants), pointer(tables.sources), pointer(tables.told), pointer(tables.atoms_of),
        pointer(tables.keys_of), pointer(tables.start_keys), pointer(tables.crossed_defaults),
        pointer(tables.steps_of),
        tables.sizes[N_ATOMS], tables.sizes[N_KEYS], tables.sizes[N_WAKES], tables.sizes[VERBOSE],
        tables.sizes[CLOCK], lateness,
    )  # fmt: skip


class AskedTables(NamedTuple):
    """What was worked out of each event that concerns triggers: a row of atoms (NaN: unknown), one of keys,
    and whether features may be needed."""

    atoms: NDArray[np.float64]
    keys: NDArray[np.int64]
    needs: NDArray[np.uint8]


class Asked(NamedTuple):
    """The same as pointers, and how wide the rows are."""

    atoms: Floats
    keys: Words
    needs: Bytes
    atoms_width: int
    keys_width: int


@compiled
def asked_of(asks: AskedTables) -> Asked:
    """What was worked out, as pointers."""
    return Asked(
        pointer(asks.atoms.ravel()), pointer(asks.keys.ravel()), pointer(asks.needs), asks.atoms.shape[1],
        asks.keys.shape[1],
    )  # fmt: skip


class RememberTables(NamedTuple):
    """Scratch: what is remembered of one customer's triggers, and what has been worked out for one event.

    `touched` lists the entries in use; `registers`, `values` (of sources) and `truths` (of clauses) hold
    what was computed, each with a stamp that says for which event; `crossed` is a row of cells read at the
    event's keys. `waiting` says of each trigger how many waits it has. Of each bank `caught` is the first row
    of events that is not in its cells yet; `counted` how many concern it before row `counted_to`, and
    `latest` the newest time (ms) of these. `highest` is what each screen comes to, with a stamp as well.
    """

    entries: NDArray[np.int64]
    touched: NDArray[np.int64]
    place: NDArray[np.int64]
    waits: NDArray[np.int64]
    registers: NDArray[np.float64]
    values: NDArray[np.float64]
    value_stamps: NDArray[np.int64]
    truths: NDArray[np.float64]
    truth_stamps: NDArray[np.int64]
    bank_stamps: NDArray[np.int64]
    bank_keys: NDArray[np.int64]
    crossed: NDArray[np.float64]
    waiting: NDArray[np.int64]
    caught: NDArray[np.int64]
    counted: NDArray[np.int64]
    counted_to: NDArray[np.int64]
    latest: NDArray[np.int64]
    highest: NDArray[np.int64]
    highest_stamps: NDArray[np.int64]
    counts: NDArray[np.int64]
    keys: NDArray[np.int64]


class Remembers(NamedTuple):
    """The same as pointers."""

    entries: Words
    touched: Words
    place: Words
    waits: Words
    registers: Floats
    values: Floats
    value_stamps: Words
    truths: Floats
    truth_stamps: Words
    bank_stamps: Words
    bank_keys: Words
    crossed: Floats
    waiting: Words
    caught: Words
    counted: Words
    counted_to: Words
    latest: Words
    highest: Words
    highest_stamps: Words
    counts: Words


@compiled
def remembers_of(tables: RememberTables) -> Remembers:
    """Scratch as pointers."""
    return Remembers(
        pointer(tables.entries), pointer(tables.touched), pointer(tables.place), pointer(tables.waits),
        pointer(tables.registers), pointer(tables.values), pointer(tables.value_stamps),
        pointer(tables.truths), pointer(tables.truth_stamps), pointer(tables.bank_stamps),
        pointer(tables.bank_keys), pointer(tables.crossed), pointer(tables.waiting), pointer(tables.caught),
        pointer(tables.counted), pointer(tables.counted_to), pointer(tables.latest), pointer(tables.highest),
        pointer(tables.highest_stamps), pointer(tables.counts),
    )  # fmt: skip


# Places of `counts`: entries touched, waits, the stamp of this event, hits and rows told so far, the row of
# this event.
N_TOUCHED, N_WAITS, STAMP, N_HITS, N_TOLD, AT_ROW, COUNTED = range(7)


class ToldTables(NamedTuple):
    """Room for what comes out: rows of `hits`, and of the values that triggers report."""

    hits: NDArray[np.int64]
    told: NDArray[np.float64]


class Told(NamedTuple):
    """The same as pointers, and how much room there is."""

    hits: Words
    hits_room: int
    told: Floats
    told_width: int
    told_room: int


@compiled
def told_of(room: ToldTables) -> Told:
    """The room as pointers."""
    return Told(
        pointer(room.hits.ravel()), room.hits.shape[0], pointer(room.told.ravel()), room.told.shape[1],
        room.told.shape[0],
    )  # fmt: skip


class Judging(NamedTuple):
    """All that judging triggers takes; `keys` are three words of scratch."""

    watching: Watching
    asked: Asked
    told: Told
    remembers: Remembers
    keys: Words


def nothing_watched() -> tuple[WatchTables, AskedTables, RememberTables, ToldTables]:
    """The tables of no trigger at all."""
    words, floats = np.zeros(5, dtype=np.int64), np.zeros(1, dtype=np.float64)
    tables: dict[str, Any] = {
        name: floats if name in ("constants", "crossed_defaults") else words for name in WatchTables._fields
    }
    scratch: dict[str, Any] = {
        name: floats if name in ("registers", "values", "truths", "crossed") else np.zeros(COUNTED, np.int64)
        for name in RememberTables._fields
    }
    asked = AskedTables(np.zeros((0, 0)), np.zeros((0, 0), dtype=np.int64), np.zeros(0, dtype=np.uint8))
    told = ToldTables(np.zeros((0, HIT_COLUMNS), dtype=np.int64), np.zeros((0, 1)))
    return WatchTables(**tables), asked, RememberTables(**scratch), told
