"""What each feature is by definition: computed from the raw events, slowly and plainly."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from events.envelope import Event
from features.declare import features_of
from features.feature import PERCENTILES, Feature
from features.kernel.layout import HALF_LIVES_KEPT
from features.plan import Plan
from tests.features.workshop import DAY

EDGE = 0.005
"""The edge of a window may be off by so much of its length: half of the widest tile."""

BUCKET = 0.025 + 3e-7
"""A percentile may be off by so much of itself, and is a float32."""

Pairs = Sequence[tuple[int, Any]]
"""(time, value) of the events that count; decimals in ten-thousandths."""

Fields = Mapping[str, Any]

CONDITIONS: Mapping[str | None, Callable[[Fields], bool]] = {
    None: lambda f: True,
    "pieces > 2 && kind != 'x'": lambda f: f["pieces"] > 2 and f["kind"] != "x",
    "pieces > 0": lambda f: f["pieces"] > 0,
    "(pieces > 0) && !is_missing(label)": lambda f: f["pieces"] > 0 and f["label"] is not None,
    "!is_missing(offer)": lambda f: f["offer"] is not None,
    "score > 3": lambda f: f["score"] is not None and f["score"] > 3,
    "!(score > 3)": lambda f: f["score"] is not None and f["score"] <= 3,
    "gift || amount > 20 && is_missing(label)": lambda f: (
        f["gift"] is True or (f["amount"] > 200_000 and f["label"] is None)
    ),
}
"""The conditions of the workshop's playbooks, written again."""


class Past:
    """The events before an instant, and what each feature is then; answers are remembered."""

    def __init__(self, plan: Plan, log: Sequence[Event], at: int) -> None:
        self.at = at
        self._aggregates = {each.name: each for each in plan.playbook.aggregates}
        self._types = plan.playbook.contracts.types
        self._features = {each.name: each for features in features_of(plan.playbook) for each in features}
        self._log = [event for event in log if event.time < at]
        self._pairs: dict[tuple[str, str | None], Pairs] = {}
        self._allowed: dict[tuple[str, str | None], set[float]] = {}

    def pairs(self, name: str, key: str | None) -> Pairs:
        """The events that this aggregate counts; those of one key, if it is a family."""
        if (name, key) not in self._pairs:
            aggregate = self._aggregates[name]
            counts = CONDITIONS[aggregate.where]
            found = []
            for event in self._log:
                fields = event.fields
                if event.type != aggregate.event or not counts(fields):
                    continue
                if aggregate.by is not None and fields[aggregate.by] != key:
                    continue
                value = fields[aggregate.value] if aggregate.value else 0
                if value is not None:
                    found.append((event.time, value))
            self._pairs[name, key] = found
        return self._pairs[name, key]

    def allowed(self, feature: Feature, key: str | None) -> set[float]:
        """Every value that the feature may have: one for each edge within its tolerance."""
        if (feature.name, key) not in self._allowed:
            self._allowed[feature.name, key] = self._values(feature, key)
        return self._allowed[feature.name, key]

    def agrees(self, feature: Feature, value: float, key: str | None) -> bool:
        """Whether the float32 is what the feature may be."""
        near, slack = 3e-7, 0.0
        if feature.function in PERCENTILES:
            near = BUCKET
        if feature.half_life_ms is not None:
            near, slack = 1e-6, self._rounding(feature, key)
        return any(_same(value, each, near, slack) for each in self.allowed(feature, key))

    def _values(self, feature: Feature, key: str | None) -> set[float]:
        if feature.derived is not None:
            over, under = (self.allowed(self._features[name], key) for name in feature.derived[:2])
            computed = [(a, b) for a in over for b in under if b != 0 and not math.isnan(a + b)]
            found = {feature.derived.factor * a / b for a, b in computed}
            return found if len(computed) == len(over) * len(under) else {*found, feature.default}
        scale, values = self._scale(feature), self.pairs(feature.aggregate, key)
        if feature.function == "last" and values:
            newest = max(time for time, _ in values)
            return {value / scale for time, value in values if time == newest}
        return {_of(feature, each, self.at, scale) for each in _within(feature, values, self.at)}

    def _rounding(self, feature: Feature, key: str | None) -> float:
        """What half-lives may be off by: each event's part is rounded to 2^-24 of what is kept."""
        values = self.pairs(feature.aggregate, key)
        largest = max((abs(value) for _, value in values), default=0)
        part = 1 + largest if feature.function == "mean" else 1
        return (len(values) * part * 2.0**-25 + largest * 1e-12) / self._scale(feature)

    def _scale(self, feature: Feature) -> int:
        aggregate = self._aggregates[feature.aggregate]
        kind = self._types[aggregate.event].fields.get(aggregate.value or "", "")
        return 10_000 if kind.startswith("decimal") else 1


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
        return _decayed(
            feature, [(t, v) for t, v in values if t // h >= at // h - HALF_LIVES_KEPT], at, scale
        )
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
            return float(min(numbers) / scale)
        case "max":
            return float(max(numbers) / scale)
        case percentile if percentile in PERCENTILES:
            rank = math.ceil(Fraction(int(percentile[1:]) * len(numbers), 100))
            return float(Fraction(sorted(numbers)[rank - 1], scale))
        case "since_last":
            return (at - max(time for time, _ in values)) / DAY
        case "since_first":
            return (at - min(time for time, _ in values)) / DAY
    return feature.default


def _decayed(feature: Feature, values: Pairs, at: int, scale: int) -> float:
    if not values:
        return feature.default
    weights = [0.5 ** ((at - time) / (feature.half_life_ms or 1)) for time, _ in values]
    count = math.fsum(weights)
    total = math.fsum(weight * value for weight, (_, value) in zip(weights, values, strict=True)) / scale
    return {"count": count, "sum": total, "mean": total / count if count else 0.0}[feature.function]


def _same(value: float, expected: float, near: float, slack: float) -> bool:
    if math.isnan(value) or math.isnan(expected):
        return math.isnan(value) and math.isnan(expected)
    return math.isclose(value, np.float32(expected), rel_tol=near, abs_tol=slack)
