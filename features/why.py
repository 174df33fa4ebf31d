"""Why a number is what it is: the very events behind one feature of one customer at one instant.

Which events count is asked of the fold and of the row themselves, never decided a second time here: fates
come from folding the log, a window's edge from reading states of a single event.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from events.envelope import Event
from events.faults import Refusal, did_you_mean
from features.attribute import attribute_features
from features.declare import features_of
from features.declare_fields import event_names
from features.duration import DAY
from features.everybody import fold_everybody, late_of
from features.expression import compile_expression
from features.feature import PERCENTILES, SHARED, Aggregate, Feature, stored
from features.fold import FATES, Fate, State, empty, fold, fold_batch, merge
from features.kernel.buckets import buckets_of, middle_of
from features.kernel.recent import DEGREE
from features.let_go import LetGo, let_go
from features.plan import Plan, compile_plan
from features.row import Everybody, cross, read_everybody, row
from features.trigger import FIRED_COUNT, FIRED_SINCE

CLOSE = 2e-6
"""Relative difference at which a sum of contributions is the row's float32."""

Placed = tuple[int, int, Event]
"""A record of the log: partition, position, event."""

Fated = tuple[int, int, Event, Fate]
"""The same with what became of it."""


class CannotSay(Refusal):
    """The question cannot be answered: no such feature, or a key is needed; the message says what to do."""

    exit_code = 2


class Contribution(NamedTuple):
    """One event behind the number: its place in the log, its value, its weight, and what it adds.

    `fields` are the event's as people read them, decimals in their own unit.
    """

    partition: int
    position: int
    event: Event
    fields: Mapping[str, Any]
    value: float | None
    weight: float
    part: float


class Why(NamedTuple):
    """The events behind `feature` at `at` (ms), and whether they add up to the row's `value`.

    `since` is the first instant (ms) whose events count, None when all do: a window's edge as its tiles have
    it. `added` is what the contributions come to, `left_out` counts events of the same type that do not
    count, by reason. A ratio, a share or a trend has its numerator and denominator in `parts` instead.
    `let_go` is what a state that reached its bounds does not keep for this number.
    """

    feature: Feature
    key: str | None
    at: int
    since: int | None
    contributions: tuple[Contribution, ...]
    left_out: Mapping[str, int]
    parts: tuple["Why", ...]
    added: float
    value: float
    missing: bool
    let_go: tuple[LetGo, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether the contributions add up to the value of the row."""
        if np.isnan(self.added) or np.isnan(self.value):
            return bool(np.isnan(self.added) and np.isnan(self.value))
        # A float32 is as fine as its size, and a sum as its largest part.
        size = max([1.0, abs(self.value), *(abs(each.part) for each in self.contributions)])
        return abs(self.added - self.value) <= CLOSE * size

    @property
    def accounted(self) -> bool:
        """Whether the value is what its events come to, or what was let go explains why it is not."""
        explained = any(each.explains for each in self.let_go)
        return self.agrees or explained or any(not each.agrees and each.accounted for each in self.parts)


def feature_named(plan: Plan, name: str) -> Feature:
    """The feature of that name, hidden ones too. Errors: `CannotSay` with the nearest name."""
    known = {
        feature.name: feature._replace(hidden=True)
        for aggregate in plan.playbook.aggregates
        for feature in stored(aggregate)
    }
    known |= {feature.name: feature for each in features_of(plan.playbook) for feature in each}
    tables = {feature.name for feature in attribute_features(plan.playbook)}
    if name in tables:
        raise CannotSay(f"{name}: expected a feature made of events, found an attribute of a batch table")
    if name not in known:
        hint = did_you_mean(name, known) if len(known) <= 40 else _nearest(name, known)
        raise CannotSay(f"feature: expected one of the {len(known)} of {plan.name}, found {name!r}; {hint}")
    return known[name]


def sides_of(plan: Plan, feature: Feature) -> tuple[bool, bool]:
    """Whether a feature, or what it is derived of, is counted of a customer, and over everybody."""
    if feature.derived is None:
        return feature.of not in SHARED, feature.of in SHARED
    one, other = (sides_of(plan, feature_named(plan, name)) for name in feature.derived[:2])
    return one[0] or other[0], one[1] or other[1]


def why(
    plan: Plan,
    name: str,
    log: Sequence[Placed],
    at: int,
    watermark: int,
    key: str | None = None,
    everybody: Sequence[Placed] = (),
) -> Why:
    """What stands behind the feature at `at` (ms), from the customer's events of the log, in its order.

    `key` picks the cell of a family. `watermark` (ms): up to when the log has been read. `everybody` are all
    events of the log, in the order of each partition, for what is counted over everybody.
    Errors: `CannotSay` for an unknown feature, or a family without key.
    """
    feature = feature_named(plan, name)
    if feature.function in (FIRED_COUNT, FIRED_SINCE):
        raise CannotSay(
            f"{name}: expected a feature counted of events, found what a trigger did; "
            f"python -m kairos trigger try {feature.aggregate} --customer ... says when it fired, and why not"
        )
    if feature.match is not None and key is None:
        raise CannotSay(f"{name}: expected an offer, as its {feature.match} picks the key; give --offer")
    known = [each for each in log if each[2].time < at]
    state, fates = _folded(plan, known)
    fated = [(*each, fate) for each, fate in zip(known, fates, strict=True)]
    crowd = None if plan.crowd is None else _crowd(plan.crowd, [e for e in everybody if e[2].time < at])
    return _why(plan, feature, state, fated, at, watermark, key, crowd)


def _crowd(crowd: Plan, log: Sequence[Placed]) -> tuple[State, list[Fated]]:
    """Everybody's state, and what became of each event that concerns everybody."""
    merged, fated = empty(crowd), list[Fated]()
    for partition in sorted({each[0] for each in log}):
        mine = [each for each in log if each[0] == partition and each[2].type in crowd.programs]
        late = late_of([event.time for _, _, event in mine], -1, crowd.lateness_ms).tolist()
        fated += [(*each, Fate.LATE if late else Fate.FOLDED) for each, late in zip(mine, late, strict=True)]
        events, positions = [event for _, _, event in mine], [position for _, position, _ in mine]
        merged = merge(crowd, merged, State(fold_everybody(crowd, None, events, partition, positions)))
    return merged, fated


def _folded(plan: Plan, log: Sequence[Placed]) -> tuple[State, list[Fate]]:
    """The state of one customer's events, and what became of each."""
    events = [event for _, _, event in log]
    places = [[partition for partition, _, _ in log], [position for _, position, _ in log]]
    folded = fold_batch(plan, [None], events, [0] * len(events), *places)
    return State(folded.blobs[0]), [FATES[fate] for fate in folded.fates.tolist()]


def _why(
    plan: Plan,
    feature: Feature,
    state: State,
    fates: Sequence[Fated],
    at: int,
    watermark: int,
    key: str | None,
    crowd: tuple[State, Sequence[Fated]] | None,
) -> Why:
    if feature.of in SHARED and feature.derived is None and crowd is not None and plan.crowd is not None:
        return _why(plan.crowd, feature._replace(hidden=False), *crowd, at, watermark, key, None)
    missing = at - watermark > feature.freshness_ms
    if feature.match is None:
        key = None
    if feature.derived is not None:
        names = (feature.derived.numerator, feature.derived.denominator)
        parts = tuple(
            _why(plan, feature_named(plan, each), state, fates, at, watermark, key, crowd) for each in names
        )
        top, bottom = (part.added for part in parts)
        empty_one = not bottom or bool(np.isnan(top) or np.isnan(bottom))
        added = feature.default if empty_one else feature.derived.factor * top / bottom
        everybody = None if crowd is None else read_everybody(plan, crowd[0], at, at)
        value = _read(plan, feature, state, at, key, everybody)
        return Why(feature, key, at, None, (), {}, parts, added, value, missing)
    aggregate = next(each for each in plan.playbook.aggregates if each.name == feature.aggregate)
    if feature.hidden:
        plan, state = _shown(plan, aggregate, fates)
    taken, left_out = _taken(plan, aggregate, fates, key)
    since = None if feature.window_ms is None else _edge(plan, feature, state.degree, taken, at, key)
    if since is not None:
        outside = sum(event.time < since for _, _, event in taken)
        left_out |= {"outside the window": outside} if outside else {}
        taken = [each for each in taken if each[2].time >= since]
    contributions, added = _contributions(plan, aggregate, feature, taken, at)
    value = _read(plan, feature, state, at, key)
    gone = let_go(plan, state, aggregate, feature, key, value, [each.event for each in contributions])
    return Why(feature, key, at, since, contributions, left_out, (), added, value, missing, gone)


def _shown(plan: Plan, aggregate: Aggregate, fates: Sequence[Fated]) -> tuple[Plan, State]:
    """A plan in whose rows the aggregate's hidden features stand, and the customer's state under it."""
    # All the others stay: what a state lets go to keep within its bounds hangs on the whole of it.
    aggregates = tuple(
        each._replace(declared=each.functions) if each is aggregate else each
        for each in plan.playbook.aggregates
    )
    plan = compile_plan(plan.playbook._replace(aggregates=aggregates, ratios=(), triggers=()))
    state, _ = _folded(plan, [each[:3] for each in fates if each[3] is Fate.FOLDED])
    return plan, state


def _taken(
    plan: Plan, aggregate: Aggregate, fates: Sequence[Fated], key: str | None
) -> tuple[list[Placed], dict[str, int]]:
    """The events that the aggregate counts, whenever they happened; the others of its type by reason."""
    where = aggregate.where
    condition = None
    if where is not None:
        condition = compile_expression(where, event_names(plan.playbook.contracts, aggregate.event))
    taken: list[Placed] = []
    left: Counter[str] = Counter()
    for partition, position, event, fate in fates:
        if event.type != aggregate.event:
            continue
        if fate is not Fate.FOLDED:
            left[fate.value] += 1
        elif condition is not None and not condition.test(event.fields):
            left[f"not {where}"] += 1
        elif aggregate.value is not None and event.fields.get(aggregate.value) is None:
            left[f"no {aggregate.value}"] += 1
        elif aggregate.by is not None and event.fields.get(aggregate.by) is None:
            left[f"no {aggregate.by}"] += 1
        elif aggregate.by is not None and event.fields.get(aggregate.by) != key:
            left[f"another {aggregate.by}"] += 1
        else:
            taken.append((partition, position, event))
    return taken, dict(left)


def _edge(
    plan: Plan, feature: Feature, degree: int, taken: Sequence[Placed], at: int, key: str | None
) -> int:
    """The first instant (ms) whose events the window counts, found by reading states of one event.

    They are read as coarsened as the customer's own state, to `degree`.
    """
    assert feature.window_ms is not None
    plain = at - feature.window_ms
    blank = _read(plan, feature, empty(plan), at, key)

    def counts(event: Event, time: int) -> bool:
        state = empty(plan)
        fold(plan, state, Event(event.type, event.id, time, event.customer, event.fields), 0, 0)
        state.become(state.recent[:DEGREE] + bytes([degree]) + state.recent[DEGREE + 1 :], state.settled)
        found = _read(plan, feature, state, at, key)
        return not np.array_equal(found, blank, equal_nan=True)

    # What leaves a number as it is says nothing about the edge.
    probe = next((event for _, _, event in reversed(taken) if counts(event, at - 1)), None)
    if probe is None:
        return plain
    out, inside = plain - feature.window_ms, at - 1
    while inside - out > 1:
        middle = (out + inside) // 2
        if counts(probe, middle):
            inside = middle
        else:
            out = middle
    return inside


def _contributions(
    plan: Plan, aggregate: Aggregate, feature: Feature, taken: Sequence[Placed], at: int
) -> tuple[tuple[Contribution, ...], float]:
    kinds = plan.playbook.contracts.types[aggregate.event].fields
    decimals = {name for name, kind in kinds.items() if kind.removesuffix("?") == "decimal"}
    by_time = sorted(taken, key=lambda each: (each[2].time, each[:2]))
    fields = [_fields(event, decimals) for _, _, event in by_time]
    values = [_number(None if aggregate.value is None else each[aggregate.value]) for each in fields]
    half = feature.half_life_ms
    weights = [1.0 if half is None else 2.0 ** ((event.time - at) / half) for _, _, event in by_time]
    parts, added = _parts(feature, [event for _, _, event in by_time], values, weights, at, aggregate)
    contributions = tuple(
        Contribution(*place, each, None if value != value else value, weight, part)
        for place, each, value, weight, part in zip(by_time, fields, values, weights, parts, strict=True)
    )
    return contributions, added


def _parts(
    feature: Feature,
    events: Sequence[Event],
    values: Sequence[float],
    weights: Sequence[float],
    at: int,
    aggregate: Aggregate,
) -> tuple[list[float], float]:
    """What each event, in order of time, adds to the number, and the number they come to."""
    nothing = [0.0] * len(events)
    if not events:
        return [], feature.default
    match feature.function:
        case "count":
            return list(weights), float(sum(weights))
        case "sum":
            parts = [value * weight for value, weight in zip(values, weights, strict=True)]
            return parts, float(sum(parts))
        case "mean":
            whole = sum(weights)
            parts = [value * weight / whole for value, weight in zip(values, weights, strict=True)]
            return parts, float(sum(parts))
        case "distinct":
            newest = {event.fields[str(aggregate.value)]: place for place, event in enumerate(events)}
            parts = [float(place in newest.values()) for place in range(len(events))]
            return parts, float(len(newest))
        case percentile if percentile in PERCENTILES:
            raw = np.array([event.fields[str(aggregate.value)] for event in events], dtype=np.int64)
            rank = -(-int(percentile[1:]) * len(events) // 100)
            chosen = int(np.argsort(raw, kind="stable")[rank - 1])
            # What a row has is the middle of the bucket that this value is in.
            scale = raw[chosen] / values[chosen] if values[chosen] else 1.0
            number = middle_of(int(buckets_of(raw)[chosen]), 0) / scale
        case "min" | "max":
            chosen = values.index((min if feature.function == "min" else max)(values))
            number = values[chosen]
        case "last":
            chosen, number = len(events) - 1, values[-1]
        case "since_last":
            chosen, number = len(events) - 1, (at - events[-1].time) / DAY
        case _:
            chosen, number = 0, (at - events[0].time) / DAY
    return [*nothing[:chosen], number, *nothing[chosen + 1 :]], float(number)


def _fields(event: Event, decimals: Collection[str]) -> dict[str, Any]:
    return {
        name: value / 10_000 if name in decimals and isinstance(value, int) else value
        for name, value in event.fields.items()
    }


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _read(
    plan: Plan, feature: Feature, state: State, at: int, key: str | None, everybody: Everybody | None = None
) -> float:
    """The feature as the row has it when the log has been read up to the instant."""
    if key is None:
        names = [each.name for each in plan.customer_features]
        return float(row(plan, state, at, at, everybody)[names.index(feature.name)])
    names = [each.name for each in plan.cross_features]
    keys = {str(each.match): [key] for each in plan.cross_features}
    return float(cross(plan, state, at, keys, at, everybody)[0, names.index(feature.name)])


def _nearest(name: str, known: Mapping[str, Feature]) -> str:
    hint = did_you_mean(name, known)
    return hint if hint.startswith("did you mean") else "`python -m kairos describe PLAYBOOK` lists them"
