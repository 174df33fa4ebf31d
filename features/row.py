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
from features.kernel.layout import LIMIT_WIDEST, MOST_RECENT, ROW_WORDS
from features.kernel.looking import read_cross, read_row, read_size
from features.kernel.reading import derive, derive_rows
from features.kernel.scratch import FULL_CELLS
from features.plan import Plan, RowTables
from features.room import ROOM
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


def row(plan: Plan, state: State | None, at: int, watermark: int | None) -> Floats:
    """The customer's row at `at` (ms), float32, in the order of `plan.customer_features`.

    `watermark` (ms): up to when the log has been read for this customer, None when never. State None: unseen.
    Errors: `StateAhead` when the state holds an event at or after `at`.
    """
    tables = plan.row_tables
    values = whole_row(plan, state, at)
    values[_missing(tables, at, watermark)] = np.nan
    return values[: tables.visible].astype(np.float32)


def cross(
    plan: Plan, state: State | None, at: int, keys: Mapping[str, Sequence[str]], watermark: int | None
) -> Floats:
    """The cross features of n offers at `at` (ms), float32 (n, C), in the order of `plan.cross_features`.

    `keys[match][i]` is the attribute `match` of offer i; a match that is not in `keys` reads as empty.
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
    if len(tables.factors):
        beside = whole_row(plan, state, at) if (tables.derived < 0).any() else tables.defaults
        count_derived = len(tables.factors)
        derive_rows(tables.derived, tables.factors, count_derived, tables.defaults, values.ravel(), beside)
    _say_missing(tables, values)
    values[:, _missing(tables, at, watermark)] = np.nan
    return values[:, : tables.visible].astype(np.float32)


def prepare(plan: Plan, state: State) -> None:
    """Load what reading a row needs, or compile it, so that no request waits for that; any state will do."""
    instant = state.newest + 2
    row(plan, state, instant, instant)
    cross(plan, state, instant, {match: ["any"] for match in plan.tables.matches}, instant)


def explain(plan: Plan, state: State | None, at: int, watermark: int | None) -> list[Value]:
    """Each value of the customer's row with its status, for people; the numbers are those of `row`."""
    tables = plan.row_tables
    numbers = row(plan, state, at, watermark)
    marked = np.full(len(tables.defaults), _NEVER)
    if state is not None:
        _read(plan, state, at, marked)
    known = marked != _NEVER
    whole = whole_row(plan, state, at)
    for over, under, column in tables.derived.reshape(-1, 3).tolist():
        computed = whole[under] != 0 and not np.isnan(whole[over] + whole[under])
        known[column] = computed and (known[over] or known[under])
    missing = _missing(tables, at, watermark)
    age = None if watermark is None else max(0, at - watermark)
    values = []
    for place, feature in enumerate(plan.customer_features):
        status: Status = "known" if known[place] else "unseen" if state is None else "empty"
        if missing[place]:
            status = "missing"
        number = float(numbers[place])
        shown = None if number != number else number
        values.append(Value(feature.name, shown, status, age, feature.unit, feature.meaning))
    return values


def _refuse_past(state: State, at: int) -> None:
    if state.newest >= at:
        raise StateAhead(state.newest, at)


def whole_row(plan: Plan, state: State | None, at: int) -> _Doubles:
    """Every column of the row, hidden ones too; nothing is missing yet."""
    tables = plan.row_tables
    values = tables.defaults.copy()
    if state is not None:
        _refuse_past(state, at)
        _read(plan, state, at, values)
    if len(tables.factors):
        derive(tables.derived, tables.factors, len(tables.factors), tables.defaults, values, 0, values)
    return values


def _read(plan: Plan, state: State, at: int, values: _Doubles) -> None:
    buf = np.frombuffer(state.blob, dtype=np.uint8)
    scratch = _scratch(plan)
    while not read_row(*plan.tables[:4], plan.steps, plan.types, buf, at, values, *scratch, ROOM.loaded):
        ROOM.grow(FULL_CELLS)


def _scratch(plan: Plan) -> tuple[NDArray[np.int64], int]:
    """Scratch for reading, and the words of a recent event in it."""
    stride = ROW_WORDS + int(plan.limits[LIMIT_WIDEST])
    most, banks = MOST_RECENT, len(plan.banks)
    return np.empty(read_size(banks, most, stride, plan.most_steps), dtype=np.int64), stride


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
    whole, scratch = np.concatenate(sorted_keys), _scratch(plan)
    while not read_cross(
        *plan.tables[:4], plan.steps, plan.types, buf, at, whole, places, rows.ravel(), rows.shape[1],
        *scratch, ROOM.loaded,
    ):  # fmt: skip
        ROOM.grow(FULL_CELLS)
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


def _missing(tables: RowTables, at: int, watermark: int | None) -> NDArray[np.bool_]:
    """Whether each feature's limit has been passed by the age of what was read of the log."""
    if watermark is None:
        return np.ones(len(tables.freshness), dtype=bool)
    return tables.freshness < at - watermark
