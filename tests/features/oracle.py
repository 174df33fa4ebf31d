"""What each feature is by definition: computed from the raw events, slowly and plainly."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from events.envelope import Event
from features.declare import features_of
from features.feature import Aggregate, Feature
from features.kernel.layout import HALF_LIVES_KEPT
from features.plan import Plan
from tests.features.workshop import DAY

EDGE = 0.01
"""The edge of a window may be off by so much of its length."""

Pairs = Sequence[tuple[int, Any]]
"""(time, value) of the events that count; decimals in ten-thousandths."""

Fields = Mapping[str, Any]

CONDITIONS: Mapping[str | None, Callable[[Fields], bool]] = {
    None: lambda f: True,
    "pieces > 2 && kind != 'x'": lambda f: f["pieces"] > 2 and f["kind"] != "x",
    "pieces > 0": lambda f: f["pieces"] > 0,
    "(pieces > 0) && !is_missing(label)": lambda f: f["pieces"] > 0 and f["label"] is not None,
    "score > 3": lambda f: f["score"] is not None and f["score"] > 3,
    "!(score > 3)": lambda f: f["score"] is not None and f["score"] <= 3,
    "gift || amount > 20 && is_missing(label)": lambda f: (
        f["gift"] is True or (f["amount"] > 200_000 and f["label"] is None)
    ),
}
"""The conditions of the workshop's playbooks, written again."""


def pairs(aggregate: Aggregate, log: Sequence[Event], at: int, key: str | None) -> Pairs:
    """The events before the instant that count, of one key if it is a family."""
    found = []
    for event in log:
        if event.type != aggregate.event or event.time >= at or not CONDITIONS[aggregate.where](event.fields):
            continue
        if aggregate.by is not None and (event.fields[aggregate.by] is None or event.fields[aggregate.by] != key):
            continue
        value = event.fields[aggregate.value] if aggregate.value else 0
        if value is not None:
            found.append((event.time, value))
    return found


def allowed(plan: Plan, feature: Feature, log: Sequence[Event], at: int, key: str | None) -> set[float]:
    """Every value that the feature may have: one for each edge within its tolerance."""
    if feature.derived is not None:
        known = {each.name: each for features in features_of(plan.playbook) for each in features}
        over, under = (allowed(plan, known[name], log, at, key) for name in feature.derived[:2])
        factor = feature.derived.factor
        return {feature.default if b == 0 or b != b or a != a else factor * a / b for a in over for b in under}
    (aggregate,) = (each for each in plan.playbook.aggregates if each.name == feature.aggregate)
    kind = plan.playbook.contracts.types[aggregate.event].fields.get(aggregate.value or "", "")
    scale = 10_000 if kind.startswith("decimal") else 1
    values = pairs(aggregate, log, at, key)
    return {_of(feature, each, at, scale) for each in _within(feature, values, at)}


def _within(feature: Feature, values: Pairs, at: int) -> Iterator[Pairs]:
    """What is within the window, for each place where its edge may lie."""
    window = feature.window_ms
    if window is None:
        yield values
        return
    slack = 0.0 if feature.function == "distinct" else EDGE
    low, high = (1 - slack) * window, (1 + slack) * window
    ages = {at - time for time, _ in values}
    for edge in {low, high, window, *(age for age in ages if low <= age <= high)}:
        yield [pair for pair in values if at - pair[0] <= edge]
        if slack:
            yield [pair for pair in values if at - pair[0] < edge]


def _of(feature: Feature, values: Pairs, at: int, scale: int) -> float:
    if (h := feature.half_life_ms) is not None:
        return _decayed(feature, [(t, v) for t, v in values if t // h >= at // h - HALF_LIVES_KEPT], at, scale)
    if not values:
        return feature.default
    numbers = [value for _, value in values]
    match feature.function:
        case "count":
            return float(len(values))
        case "distinct":
            return float(len(set(numbers)))
        case "sum":
            return float(Fraction(sum(numbers), scale))
        case "mean":
            return float(Fraction(sum(numbers), scale * len(numbers)))
        case "min":
            return min(numbers) / scale
        case "max":
            return max(numbers) / scale
        case "since_last":
            return (at - max(time for time, _ in values)) / DAY
        case "since_first":
            return (at - min(time for time, _ in values)) / DAY
    raise AssertionError(f"{feature.name} is asked for with `agrees`")


def _decayed(feature: Feature, values: Pairs, at: int, scale: int) -> float:
    if not values:
        return feature.default
    weights = [0.5 ** ((at - time) / (feature.half_life_ms or 1)) for time, _ in values]
    count = math.fsum(weights)
    total = math.fsum(weight * value for weight, (_, value) in zip(weights, values, strict=True)) / scale
    return {"count": count, "sum": total, "mean": total / count if count else 0.0}[feature.function]


def agrees(plan: Plan, feature: Feature, value: float, log: Sequence[Event], at: int, key: str | None) -> bool:
    """Whether the float32 is what the feature may be."""
    near, slack = 3e-7, 0.0
    if feature.function == "last" or feature.half_life_ms is not None:
        (aggregate,) = (each for each in plan.playbook.aggregates if each.name == feature.aggregate)
        found = pairs(aggregate, log, at, key)
        kind = plan.playbook.contracts.types[aggregate.event].fields.get(aggregate.value or "", "")
        scale = 10_000 if kind.startswith("decimal") else 1
        if feature.function == "last" and found:
            newest = max(time for time, _ in found)
            return value in {np.float32(v / scale) for time, v in found if time == newest}
        if feature.function == "last":
            return _same(value, feature.default, near, slack)
        near, slack = 1e-6, 1e-8 * max((abs(v) for _, v in found), default=0) / scale
    return any(_same(value, each, near, slack) for each in allowed(plan, feature, log, at, key))


def _same(value: float, expected: float, near: float, slack: float) -> bool:
    if math.isnan(value) or math.isnan(expected):
        return math.isnan(value) and math.isnan(expected)
    return math.isclose(value, np.float32(expected), rel_tol=near, abs_tol=slack)
