"""The conditions of triggers, judged just after an event: three-valued, true 1, false 0, unknown NaN."""

import numpy as np

from features.kernel.applying import load_entry
from features.kernel.catching_up import Open, catch_up, plainly_untrue
from features.kernel.compiled import int64, within
from features.kernel.directory import AWAY, ENTRY, GONE, INDEX, SLOT, THIN, find
from features.kernel.layout import (
    BANK_COLUMNS,
    FEATURE_AT,
    FEATURE_COLUMNS,
    FEATURES_END,
    HISTOGRAM,
    MATCH,
    MISSING,
    OUT,
)
from features.kernel.percentiles import read_percentiles
from features.kernel.reading import DAY, read_cell
from features.kernel.sample import kept_at
from features.kernel.scratch import DEGREE, FULL, INSTANT
from features.kernel.trigger_layout import (
    ADD,
    AT_LEAST,
    AT_MOST,
    ATOM,
    BANK_A,
    BANK_B,
    BOTH,
    CHOICE,
    CLAUSE_COLUMNS,
    CODE_AT,
    CODE_COLUMNS,
    CODE_END,
    COLUMN_A,
    COLUMN_B,
    CONSTANT,
    DEFAULT,
    DIVIDE,
    EITHER,
    EQUAL,
    FACTOR,
    FIRED_COUNT,
    FIRED_SINCE,
    FIRST_KNOWN,
    GIVEN,
    HAS_FIRED,
    KEY_A,
    KEY_B,
    LAST,
    LEFT,
    LESS,
    MISSING_IS,
    MORE,
    MULTIPLY,
    NOT,
    OP,
    RATIO,
    REMAINDER,
    REMEMBERED,
    REMEMBERED_FLAGS,
    RESULT,
    RIGHT,
    SORT,
    SOURCE,
    SOURCE_COLUMNS,
    STAMP,
    SUBTRACT,
    THIRD,
    TIMES,
    TO,
    UNEQUAL,
    Asked,
    Remembers,
    Watching,
)


@within
def read_part(
    watching: Watching, asked: Asked, ask: int, kind: int, opened: Open, remembers: Remembers, bank: int,
    column: int, key_number: int,
) -> float:  # fmt: skip
    """A column of a bank just after the event, at the event's own key if `key_number` says which; NaN:
    unknown."""
    keyed, key = key_number >= 0, int64(0)
    if keyed:
        place = watching.keys_of[kind * watching.n_keys + key_number]
        if place < 0:  # no event is at hand that could say which
            return np.nan
        key = asked.keys[ask * asked.keys_width + place]
        if key == MISSING:
            return np.nan
    banks, features, scratch = opened.tables.banks, opened.read.features, opened.scratch
    now = scratch.now
    out = remembers.crossed if keyed else opened.read.row
    stamp = remembers.counts[STAMP]
    if remembers.bank_stamps[bank] != stamp or remembers.bank_keys[bank] != key:
        remembers.bank_stamps[bank], remembers.bank_keys[bank] = stamp, key
        catch_up(watching, opened, remembers, bank)
        if now[FULL]:
            return np.nan
        defaults = watching.crossed_defaults if keyed else opened.read.defaults
        histogram = banks[bank * BANK_COLUMNS + MATCH] == HISTOGRAM
        found = find(scratch.cells, scratch.lists, bank, key)
        thin = scratch.lists[bank * INDEX + THIN] if keyed else int64(0)
        gone = found < 0 or scratch.cells[found * ENTRY + SLOT] == GONE
        let_go = gone and thin > 0 and not kept_at(key, thin)
        first, last = banks[bank * BANK_COLUMNS + FEATURE_AT], banks[bank * BANK_COLUMNS + FEATURES_END]
        for feature in range(first, last):
            each = features[feature * FEATURE_COLUMNS + OUT]
            out[each] = np.nan if let_go else defaults[each]
        if histogram:
            read_percentiles(
                opened.tables, opened.read, scratch, opened.buf, bank, opened.coming, now[INSTANT]
            )
        elif not gone:
            if scratch.cells[found * ENTRY + SLOT] == AWAY:
                load_entry(opened.tables, scratch, opened.buf, found, opened.coming)
                if now[FULL]:
                    return np.nan
            read_cell(
                banks, opened.tables.spans, features, opened.read.scales, scratch.words,
                scratch.cells[found * ENTRY + SLOT], now[DEGREE], now[INSTANT], opened.read.sums, out, 0,
            )  # fmt: skip
    return out[column]


@within
def value_of(
    watching: Watching, asked: Asked, ask: int, kind: int, opened: Open, remembers: Remembers, source: int
) -> float:  # fmt: skip
    """A source just after the event; NaN: unknown."""
    if remembers.value_stamps[source] == remembers.counts[STAMP]:
        return remembers.values[source]
    row = source * SOURCE_COLUMNS
    sources, sort = watching.sources, watching.sources[row + SORT]
    value = np.nan
    if sort in (FIRED_COUNT, FIRED_SINCE):
        entry = sources[row + BANK_A] * REMEMBERED
        fired = remembers.entries[entry + REMEMBERED_FLAGS] & HAS_FIRED
        if sort == FIRED_COUNT:
            value = float(remembers.entries[entry + TIMES]) if fired else 0.0
        elif fired:
            value = (opened.scratch.now[INSTANT] - remembers.entries[entry + LAST]) / DAY
    else:
        value = read_part(
            watching, asked, ask, kind, opened, remembers, sources[row + BANK_A], sources[row + COLUMN_A],
            sources[row + KEY_A],
        )  # fmt: skip
        if sort == RATIO:
            under = read_part(
                watching, asked, ask, kind, opened, remembers, sources[row + BANK_B],
                sources[row + COLUMN_B], sources[row + KEY_B],
            )  # fmt: skip
            factor = watching.constants[sources[row + FACTOR]]
            if under == 0 or np.isnan(value + under):
                value = watching.constants[sources[row + DEFAULT]]
            else:
                value = factor * value / under
    remembers.values[source], remembers.value_stamps[source] = value, remembers.counts[STAMP]
    return value


@within
def compute(op: int, left: float, right: float, third: float) -> float:
    """One step of a clause."""
    if op == BOTH:
        return 0.0 if left == 0 or right == 0 else left + right - 1
    if op == EITHER:
        return 1.0 if left == 1 or right == 1 else left + right
    if op == NOT:
        return 1 - left
    if op == MISSING_IS:
        return 1.0 if np.isnan(left) else 0.0
    if op == FIRST_KNOWN:
        return right if np.isnan(left) else left
    if op == CHOICE:
        return np.nan if np.isnan(left) else (right if left == 1 else third)
    if np.isnan(left) or np.isnan(right):
        return np.nan
    if op <= REMAINDER:
        value = np.nan
        if op == ADD:
            value = left + right
        elif op == SUBTRACT:
            value = left - right
        elif op == MULTIPLY:
            value = left * right
        elif right != 0:
            value = left / right if op == DIVIDE else left % right
        return value if np.isfinite(value) else np.nan
    true = False
    if op == LESS:
        true = left < right
    elif op == AT_MOST:
        true = left <= right
    elif op == MORE:
        true = left > right
    elif op == AT_LEAST:
        true = left >= right
    elif op == EQUAL:
        true = left == right
    elif op == UNEQUAL:
        true = left != right
    return 1.0 if true else 0.0


@within
def is_true(
    watching: Watching, asked: Asked, ask: int, kind: int, opened: Open, remembers: Remembers, clause: int
) -> bool:  # fmt: skip
    """Whether a clause is known to be true; it is worked out once an event."""
    row = clause * CLAUSE_COLUMNS
    if watching.clauses[row + ATOM] >= 0:
        place = watching.atoms_of[kind * watching.n_atoms + watching.clauses[row + ATOM]]
        return asked.atoms[ask * asked.atoms_width + place] == 1
    if remembers.truth_stamps[clause] == remembers.counts[STAMP]:
        return remembers.truths[clause] == 1
    if plainly_untrue(watching, asked, ask, kind, opened, remembers, clause):
        remembers.truths[clause], remembers.truth_stamps[clause] = 0.0, remembers.counts[STAMP]
        return False
    code, registers = watching.code, remembers.registers
    for step in range(
        watching.clauses[row + CODE_AT] * CODE_COLUMNS,
        watching.clauses[row + CODE_END] * CODE_COLUMNS,
        CODE_COLUMNS,
    ):
        op = code[step + OP]
        if op == CONSTANT:
            value = watching.constants[code[step + LEFT]]
        elif op == GIVEN:
            place = watching.atoms_of[kind * watching.n_atoms + code[step + LEFT]]
            value = asked.atoms[ask * asked.atoms_width + place]
        elif op == SOURCE:
            value = value_of(watching, asked, ask, kind, opened, remembers, code[step + LEFT])
            if opened.scratch.now[FULL]:
                return False
        else:
            value = compute(
                op, registers[code[step + LEFT]], registers[code[step + RIGHT]], registers[code[step + THIRD]]
            )
        registers[code[step + TO]] = value
    truth = registers[watching.clauses[row + RESULT]]
    remembers.truths[clause], remembers.truth_stamps[clause] = truth, remembers.counts[STAMP]
    return truth == 1


@within
def first_untrue(
    watching: Watching, asked: Asked, ask: int, kind: int, opened: Open, remembers: Remembers, condition: int
) -> int:  # fmt: skip
    """The first clause of a condition that is not known to be true; -1 when all are."""
    for at in range(watching.clauses_at[condition], watching.clauses_at[condition + 1]):
        clause = watching.clause_of[at]
        if not is_true(watching, asked, ask, kind, opened, remembers, clause):
            return clause
    return -1
