"""A state and an instant make a row: every live feature as it is then, computed when it is read.

Missing, empty, unseen: a value is *missing* (NaN) when the log has not been read for longer than the
value's limit before the instant; *empty* (its declared default) when it has been read and nothing
happened; of an *unseen* customer, of whom nothing is known at all, every value is empty.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.batch import hash_key
from features.kernel.looking import read_cross, read_row
from features.kernel.reading import derive, derive_rows
from features.plan import Plan, RowTables
from features.state import State

Floats = NDArray[np.float32]
_Doubles = NDArray[np.float64]

_NEVER = 1e308
"""Stands where nothing was read, to tell what is known from what is empty."""

Status = Literal["known", "empty", "missing", "unseen"]


class StateAhead(Exception):
    """The state already holds an event at or after the instant asked for."""

    def __init__(self, newest: int, at: int) -> None:
        self.newest, self.at = newest, at
        super().__init__(
            f"row at {at} ms: expected a state of earlier events only, found one at {newest} ms; "
            "ask for a later instant, or fold the log up to this one"
        )


class Value(NamedTuple):
    """One number as people read it; `age_ms`: how long before the instant the log was last read, if ever."""

    name: str
    value: float | None
    status: Status
    age_ms: int | None
    unit: str
    meaning: str


class Warming(NamedTuple):
    """From which instant (ms) on each value of `Plan.crowd` may be read, in the order of its rows."""

    row: NDArray[np.int64]
    cross: NDArray[np.int64]


class Everybody(NamedTuple):
    """What is counted over everybody, as it is read at one instant: values that rows take in.

    `at` (ms): the instant; a row of an earlier one takes nothing of it. `read` (ms): up to when the log had
    been read in every partition, None when it never was in one of them. `row` are the values of
    `plan.row_tables.shared`, `known` those of them of which something happened; `state` is read for the
    offers' (see `counted`), None when nothing ever happened. `warming`: some are too new to be read.
    """

    at: int
    read: int | None
    row: _Doubles
    known: NDArray[np.bool_]
    state: State | None
    warming: Warming | None = None


def row(
    plan: Plan, state: State | None, at: int, watermark: int | None, everybody: Everybody | None = None
) -> Floats:
    """The customer's row at `at` (ms), float32, in the order of `plan.customer_features`.

    `watermark` (ms): up to when the log has been read for this customer, None when never. State None: unseen.
    What is counted over everybody comes from `everybody`; without it that is missing.
    Errors: `StateAhead` when the state holds an event at or after `at`.
    """
    tables = plan.row_tables
    values = whole_row(plan, state, at, everybody)
    values[_missing(tables, at, watermark, everybody)] = np.nan
    if everybody is not None and everybody.warming is not None:
        values[_too_new(tables, everybody.warming.row > at)] = np.nan
    return values[: tables.visible].astype(np.float32)


def cross(
    plan: Plan,
    state: State | None,
    at: int,
    keys: Mapping[str, Sequence[str]],
    watermark: int | None,
    everybody: Everybody | None = None,
    shared: _Doubles | None = None,
) -> Floats:
    """The cross features of n offers at `at` (ms), float32 (n, C), in the order of `plan.cross_features`.

    `keys[match][i]` is the attribute `match` of offer i; a match that is not in `keys` reads as empty.
    `shared` is what `counted` says of these offers, if it has been asked already.
    Errors: `StateAhead`; ValueError when the lists of keys differ in length.
    """
    lengths = {len(each) for each in keys.values()}
    if len(lengths) > 1:
        raise ValueError(f"keys of offers: expected lists of one length, found lengths {sorted(lengths)}")
    count = lengths.pop() if lengths else 0
    tables = plan.cross_tables
    values = np.tile(tables.defaults, (count, 1))
    if state is not None:
        _refuse_past(state, at)
        _read_keys(plan, state, at, keys, values)
    if len(tables.shared):
        if shared is None and everybody is not None:
            shared = counted(plan, everybody, keys)
        values[:, tables.shared] = np.nan if shared is None else shared
    if len(tables.factors):
        beside = whole_row(plan, state, at, everybody) if (tables.derived < 0).any() else tables.defaults
        count_derived = len(tables.factors)
        derive_rows(tables.derived, tables.factors, count_derived, tables.defaults, values.ravel(), beside)
    _say_missing(tables, values)
    values[:, _missing(tables, at, watermark, everybody)] = np.nan
    if everybody is not None and everybody.warming is not None:
        row_too = _too_new(plan.row_tables, everybody.warming.row > at)
        values[:, _too_new(tables, everybody.warming.cross > at, row_too)] = np.nan
    return values[:, : tables.visible].astype(np.float32)


def counted(plan: Plan, everybody: Everybody, keys: Mapping[str, Sequence[str]]) -> _Doubles:
    """What is counted over everybody of n offers: (n, C), the columns `plan.cross_tables.shared`.

    `keys` are those of `cross`. What a family has let go is infinite here, and missing in a row.
    """
    assert plan.crowd is not None, "only a plan that counts over everybody has such columns"
    count = max((len(each) for each in keys.values()), default=0)
    values = np.tile(plan.crowd.cross_tables.defaults, (count, 1))
    state = everybody.state
    if state is not None:
        _read_keys(plan.crowd, state, max(everybody.at, state.newest + 1), keys, values)
    return values


def read_everybody(
    plan: Plan, state: State | None, at: int, read: int | None, warming: Warming | None = None
) -> Everybody:
    """Read everybody's merged state at `at` (ms), for the rows of every customer; `read`: see `Everybody`.

    An event of another machine's clock may be ahead of the instant: it has happened all the same.
    """
    assert plan.crowd is not None, "only a plan that counts over everybody has such columns"
    if state is None:
        defaults = plan.crowd.row_tables.defaults
        return Everybody(at, read, defaults, np.zeros(len(defaults), dtype=np.bool_), None, warming)
    instant = max(at, state.newest + 1)
    marked = np.full(len(plan.crowd.row_tables.defaults), _NEVER)
    _read(plan.crowd, state, instant, marked)
    values = whole_row(plan.crowd, state, instant)
    return Everybody(at, read, values, marked != _NEVER, state, warming)


def prepare(plan: Plan, state: State) -> None:
    """Load what reading a row needs, or compile it, so that no request waits for that; any state will do."""
    instant = state.newest + 2
    row(plan, state, instant, instant)
    cross(plan, state, instant, {match: ["any"] for match in plan.tables.matches}, instant)


def explain(
    plan: Plan, state: State | None, at: int, watermark: int | None, everybody: Everybody | None = None
) -> list[Value]:
    """Each value of the customer's row with its status, for people; the numbers are those of `row`.

    The age of what counts over everybody is that of the partition that was read least far.
    """
    tables = plan.row_tables
    numbers = row(plan, state, at, watermark, everybody)
    marked = np.full(len(tables.defaults), _NEVER)
    if state is not None:
        _read(plan, state, at, marked)
    known = marked != _NEVER
    if everybody is not None:
        known[tables.shared] = everybody.known
    whole = whole_row(plan, state, at, everybody)
    for over, under, column in tables.derived.reshape(-1, 3).tolist():
        computed = whole[under] != 0 and not np.isnan(whole[over] + whole[under])
        known[column] = computed and (known[over] or known[under])
    missing = _missing(tables, at, watermark, everybody)
    read = None if everybody is None else everybody.read
    if everybody is not None and everybody.warming is not None:
        missing |= _too_new(tables, everybody.warming.row > at)
    values = []
    for place, feature in enumerate(plan.customer_features[: tables.visible]):
        unseen = state is None and not (tables.reads_shared[place] and not tables.reads_own[place])
        status: Status = "known" if known[place] else "unseen" if unseen else "empty"
        if missing[place]:
            status = "missing"
        marks = [watermark] if tables.reads_own[place] else []
        marks += [read] if tables.reads_shared[place] else []
        told = [mark for mark in marks if mark is not None]
        age = max(0, at - min(told)) if len(told) == len(marks) else None
        number = float(numbers[place])
        shown = None if number != number else number
        values.append(Value(feature.name, shown, status, age, feature.unit, feature.meaning))
    return values


def _refuse_past(state: State, at: int) -> None:
    if state.newest >= at:
        raise StateAhead(state.newest, at)


def whole_row(plan: Plan, state: State | None, at: int, everybody: Everybody | None = None) -> _Doubles:
    """Every column of the row, hidden ones too; nothing is missing yet but what nobody gave."""
    tables = plan.row_tables
    values = tables.defaults.copy()
    if state is not None:
        _refuse_past(state, at)
        _read(plan, state, at, values)
    if len(tables.shared):
        values[tables.shared] = np.nan if everybody is None else everybody.row
    if len(tables.factors):
        derive(tables.derived, tables.factors, len(tables.factors), tables.defaults, values, 0, values)
    return values


def _read(plan: Plan, state: State, at: int, values: _Doubles) -> None:
    buf = np.frombuffer(state.blob, dtype=np.uint8)
    read_row(*plan.tables[:4], buf, at, values)


def _read_keys(
    plan: Plan, state: State, at: int, keys: Mapping[str, Sequence[str]], values: _Doubles
) -> None:
    """Read each key once, however many offers pick it, and give each offer what its own keys read."""
    matches = plan.tables.matches
    ranges, sorted_keys, picks = [0], [], []
    for match in matches:
        hashed = np.array([hash_key(key) for key in keys.get(match, ())], dtype=np.int64)
        different, inverse = np.unique(hashed, return_inverse=True)
        picks.append(ranges[-1] + inverse)
        ranges.append(ranges[-1] + len(different))
        sorted_keys.append(different)
    if ranges[-1] == 0:
        return
    rows = np.tile(plan.cross_tables.defaults, (ranges[-1], 1))
    buf = np.frombuffer(state.blob, dtype=np.uint8)
    places = np.array(ranges, dtype=np.int64)
    read_cross(*plan.tables[:4], buf, at, np.concatenate(sorted_keys), places, rows.ravel(), rows.shape[1])
    for match, pick in zip(matches, picks, strict=True):
        if match in keys:
            mine = plan.match_columns[match]
            values[:, mine] = rows[np.ix_(pick, mine)]


def _say_missing(tables: RowTables, values: _Doubles) -> None:
    """Make what a family has let go, and what is derived of it, missing rather than a default."""
    let_go = np.isinf(values)
    if not let_go.any():
        return
    for over, under, column in tables.derived.reshape(-1, 3).tolist():
        let_go[:, column] = let_go[:, over] | (under >= 0 and let_go[:, under])
    values[let_go] = np.nan


def _missing(
    tables: RowTables, at: int, watermark: int | None, everybody: Everybody | None
) -> NDArray[np.bool_]:
    """Whether each feature's limit has been passed by the age of what was read of the log."""
    if not len(tables.shared):
        if watermark is None:
            return np.ones(len(tables.freshness), dtype=bool)
        return tables.freshness < at - watermark
    # What was counted at a later instant may hold what had not happened yet.
    read = None if everybody is None or everybody.at > at else everybody.read
    own, shared = (True if mark is None else tables.freshness < at - mark for mark in (watermark, read))
    return (tables.reads_own & own) | (tables.reads_shared & shared)


def _too_new(
    tables: RowTables, shared: NDArray[np.bool_], beside: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_]:
    """Whether each column reads what is too new, given that of the shared ones; `beside`: of the row's."""
    found = np.zeros(len(tables.defaults), dtype=np.bool_)
    found[tables.shared] = shared
    for *parts, column in tables.derived.reshape(-1, 3).tolist():
        for part in parts:
            found[column] |= found[part] if part >= 0 or beside is None else beside[-1 - part]
    return found
