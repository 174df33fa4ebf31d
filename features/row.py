"""A state and an instant make a row: every live feature as it is then, computed when it is read.

Missing, empty, unseen: a value is *missing* (NaN) when the log has not been read for longer than the
value's limit before the instant; *empty* (its declared default) when it has been read and nothing
happened; of an *unseen* customer, of whom nothing is known at all, every value is empty.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.plan import Plan
from features.reading import read_cell
from features.state import State

Floats = NDArray[np.float32]
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
    values = np.array([feature.default for feature in plan.customer_features], dtype=np.float64)
    if state is not None:
        if state.newest >= at:
            raise StateAhead(state.newest, at)
        for bank in plan.banks:
            if not bank.keyed and (cell := state.banks[bank.number].get("")) is not None:
                for place, value in read_cell(bank, cell, at):
                    values[bank.row_at + place] = value
    for place in _missing(plan, at, watermark, keyed=False):
        values[place] = np.nan
    return values.astype(np.float32)


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
    defaults = np.array([feature.default for feature in plan.cross_features], dtype=np.float64)
    values = np.tile(defaults, (count, 1))
    if state is not None:
        if state.newest >= at:
            raise StateAhead(state.newest, at)
        for bank in plan.banks:
            match = bank.aggregate.match
            if match is None or match not in keys:
                continue
            cells = state.banks[bank.number]
            known: dict[str, list[tuple[int, float]]] = {}
            for offer, key in enumerate(keys[match]):
                if key not in known:
                    cell = cells.get(key)
                    known[key] = [] if cell is None else read_cell(bank, cell, at)
                for place, value in known[key]:
                    values[offer, bank.row_at + place] = value
    for place in _missing(plan, at, watermark, keyed=True):
        values[:, place] = np.nan
    return values.astype(np.float32)


def explain(plan: Plan, state: State | None, at: int, watermark: int | None) -> list[Value]:
    """Each value of the customer's row with its status, for people; the numbers are those of `row`."""
    numbers = row(plan, state, at, watermark)
    known: set[int] = set()
    for bank in plan.banks:
        if state is not None and not bank.keyed and (cell := state.banks[bank.number].get("")) is not None:
            known.update(bank.row_at + place for place, _ in read_cell(bank, cell, at))
    missing = set(_missing(plan, at, watermark, keyed=False))
    age = None if watermark is None else max(0, at - watermark)
    values = []
    for place, feature in enumerate(plan.customer_features):
        status: Status = "known" if place in known else "unseen" if state is None else "empty"
        if place in missing:
            status = "missing"
        number = float(numbers[place])
        shown = None if number != number else number
        values.append(Value(feature.name, shown, status, age, feature.unit, feature.meaning))
    return values


def _missing(plan: Plan, at: int, watermark: int | None, *, keyed: bool) -> list[int]:
    """Places of the features whose limit the log's age has passed."""
    features = plan.cross_features if keyed else plan.customer_features
    if watermark is None:
        return list(range(len(features)))
    age = at - watermark
    return [place for place, feature in enumerate(features) if age > feature.freshness_ms]
