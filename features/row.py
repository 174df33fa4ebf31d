"""A state and an instant make a row: every live feature as it is then, computed when it is read.

Missing, empty, unseen: a value is *missing* (NaN) when the log has not been read for longer than the
value's limit before the instant; *empty* (its declared default) when it has been read and nothing
happened; of an *unseen* customer, of whom nothing is known at all, every value is empty.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.kernel.layout import LIMIT_WIDEST, MOST_RECENT, ROW_WORDS
from features.kernel.looking import read_cross, read_row, read_size
from features.kernel.reading import derive
from features.kernel.scratch import FULL_CELLS
from features.kernel.slate import spread
from features.offer_keys import OfferKeys, offer_keys
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
    keys: OfferKeys | Mapping[str, Sequence[str]],
    watermark: int | None,
    everybody: Everybody | None = None,
    shared: _Doubles | None = None,
) -> Floats:
    """The cross features of n offers at `at` (ms), float32 (n, C), in the order of `plan.cross_features`.

    `keys[match][i]` is the attribute `match` of offer i; a match that is not in `keys` reads as empty. Who
    asks for the same offers again hands `features.offer_keys`, made once, and as `shared` what `counted` says
    of these offers; a mapping is asked for that here.
    Errors: `StateAhead`; ValueError when the lists of keys differ in length, or are of another plan.
    """
    tables = plan.cross_tables
    if isinstance(keys, OfferKeys):
        if keys.matches != plan.tables.matches:
            raise ValueError(
                f"keys of offers: expected those of {plan.tables.matches}, which plan {plan.digest} matches, "
                f"found those of {keys.matches}; lay them out again for this plan"
            )
        if shared is None and everybody is not None and len(tables.shared):
            raise ValueError("keys of offers: expected `shared` beside laid out keys; ask `counted` for it")
        laid = keys
    else:
        if shared is None and everybody is not None and len(tables.shared):
            shared = counted(plan, everybody, keys)
        own = {match: each for match, each in keys.items() if match in plan.tables.matches}
        laid = offer_keys(plan.tables.matches, own, max(map(len, keys.values()), default=0))
    rows = np.empty((len(laid.keys), len(tables.defaults)))
    rows[:] = tables.defaults
    if state is not None:
        _refuse_past(state, at)
        _read_keys(plan, state, at, laid, rows.ravel())
    beside = whole_row(plan, state, at, everybody) if tables.beside else tables.defaults
    missing = _missing(tables, at, watermark, everybody)
    if everybody is not None and everybody.warming is not None:
        row_too = _too_new(plan.row_tables, everybody.warming.row > at)
        missing |= _too_new(tables, everybody.warming.cross > at, row_too)
    if shared is None:
        shared = np.full((laid.offers, len(tables.shared)), np.nan)
    values = np.empty((laid.offers, tables.visible), dtype=np.float32)
    spread(
        *(rows.ravel(), laid.picks.ravel(), plan.match_of, len(laid.matches)),
        *(np.ascontiguousarray(shared).ravel(), tables.shared),
        *(tables.derived, tables.factors, tables.defaults, beside, missing.view(np.uint8), tables.visible),
        values.ravel(),
    )
    return values


def counted(plan: Plan, everybody: Everybody, keys: Mapping[str, Sequence[str]]) -> _Doubles:
    """What is counted over everybody of n offers: (n, C), the columns `plan.cross_tables.shared`.

    `keys` are those of `cross`. What a family has let go is infinite here, and missing in a row.
    """
    assert plan.crowd is not None, "only a plan that counts over everybody has such columns"
    crowd, state = plan.crowd, everybody.state
    defaults, matches = crowd.cross_tables.defaults, crowd.tables.matches
    own = {match: each for match, each in keys.items() if match in matches}
    laid = offer_keys(matches, own, max(map(len, keys.values()), default=0))
    rows = np.tile(defaults, (len(laid.keys) + 1, 1))  # the last is for offers without a key
    if state is not None:
        _read_keys(crowd, state, max(everybody.at, state.newest + 1), laid, rows.ravel())
        rows[-1] = defaults
    columns = np.arange(len(defaults))
    if not len(matches):
        return np.tile(defaults, (laid.offers, 1))
    return np.asarray(rows[laid.picks[:, crowd.match_of], columns])


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
    scratch = _scratch(plan)
    while not read_row(
        *plan.tables[:4], plan.steps, plan.types, plan.fired, buf, at, values, *scratch, ROOM.loaded
    ):
        ROOM.grow(FULL_CELLS)


def _scratch(plan: Plan) -> tuple[NDArray[np.int64], int]:
    """Scratch for reading, kept from call to call, and the words of a recent event in it."""
    found = ROOM.readings.get(plan.digest)
    if found is None:
        stride = ROW_WORDS + int(plan.limits[LIMIT_WIDEST])
        words = read_size(len(plan.banks), MOST_RECENT, stride, plan.most_steps)
        found = np.empty(words, dtype=np.int64), stride
        ROOM.keep_reading(plan.digest, found)
    return found


def _read_keys(plan: Plan, state: State, at: int, keys: OfferKeys, rows: _Doubles) -> None:
    """Read each key once, however many offers pick it: key n to row n."""
    buf = np.frombuffer(state.blob, dtype=np.uint8)
    width, scratch = len(plan.cross_tables.defaults), _scratch(plan)
    while not read_cross(
        *plan.tables[:4], plan.steps, plan.types, buf, at, keys.keys, keys.ranges, rows, width,
        *scratch, ROOM.loaded,
    ):  # fmt: skip
        ROOM.grow(FULL_CELLS)


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
