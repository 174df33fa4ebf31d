"""What one declaration expands to: the live features of an aggregate, in the order of the row."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from features.duration import render_duration

NEEDS_VALUE = ("sum", "mean", "min", "max", "last", "distinct")
WINDOWED = ("count", "sum", "mean", "min", "max", "distinct")
DECAYED = ("count", "sum", "mean")
MOMENTS = ("last", "since_last", "since_first")
FUNCTIONS = ("count", "sum", "mean", "min", "max", *MOMENTS, "distinct", "share")
PERCENTILES = tuple(f"p{percent}" for percent in range(1, 100))
"""Functions too: the value that so many of a hundred do not exceed."""

Of = Literal["customer", "offer", "offer_group", "global", "pair"]
"""Whose events: a customer's own, everybody's for each offer or group, everybody's, or those of a pair."""

SHARED: tuple[Of, ...] = ("offer", "offer_group", "global")
"""Counted over everybody: kept once for all customers, never in a customer's state."""

_WORDS = {
    "last": "the last one",
    "since_last": "days since the last",
    "since_first": "days since the first",
    "distinct": "different ones",
}


class Aggregate(NamedTuple):
    """One question asked of one type of event, as the playbook declares it; lengths of time in ms.

    `functions` are all that is stored, `declared` what a person wrote: a trend or a share stores the sums it
    needs. `keys` bounds the keys of a family, the values a distinct keeps, or the buckets of percentiles; 1
    for a plain aggregate.
    `match` is the offer's attribute that picks the key, "offer" where that is the offer's own id.
    """

    name: str
    event: str
    value: str | None
    where: str | None
    functions: tuple[str, ...]
    by: str | None
    match: str | None
    windows: tuple[int, ...]
    half_lives: tuple[int, ...]
    ever: bool
    unit: str
    meaning: str
    default: dict[str, float]
    freshness_ms: int
    declared: tuple[str, ...]
    of: Of = "customer"
    keys: int = 1
    trends: tuple[tuple[int, int], ...] = ()

    @property
    def histogram(self) -> bool:
        """Whether it keeps a count for each of the buckets that its values are in, for percentiles."""
        return any(function in PERCENTILES for function in self.functions)

    @property
    def keyed(self) -> bool:
        """Whether it keeps a cell for each of several keys: those of a family, or buckets of its values."""
        return self.by is not None or self.histogram

    @property
    def amount(self) -> str:
        """What a share or a trend compares: sums of the value, or counts when there is none."""
        return "count" if self.value is None else "sum"


class Derived(NamedTuple):
    """A feature computed of two others, both stored ones: `factor * numerator / denominator`.

    The feature's default stands in when the denominator is 0 or either is missing a value (NaN).
    """

    numerator: str
    denominator: str
    factor: float


class Feature(NamedTuple):
    """One number of the row: a function of an aggregate over a window, a half-life or all time.

    `default` is the value when nothing has happened: NaN where none is declared and zero would be
    a lie. `freshness_ms`: the value is missing once we have not read on for so long. `match` names
    the offer's attribute that picks the key of a family, None for a feature of the customer's row.
    `derived` says of which two features a ratio, a share or a trend is made; a `hidden` feature is in
    no row, only derived ones read it. A ratio's `aggregate` is its own name.
    """

    name: str
    unit: str
    meaning: str
    aggregate: str
    function: str
    window_ms: int | None
    half_life_ms: int | None
    default: float
    freshness_ms: int
    match: str | None
    of: Of = "customer"
    derived: Derived | None = None
    hidden: bool = False


def expand(aggregate: Aggregate) -> list[Feature]:
    """Every visible feature of the aggregate: each declared function over windows, half-lives, ever; trends.

    >>> spend = Aggregate("spend", "line", "amount", None, ("sum", "since_last"), None, None,
    ...                   (7 * 86_400_000,), (86_400_000,), True, "USD", "paid", {}, 1, ("sum", "since_last"))
    >>> [feature.name for feature in expand(spend)]
    ['spend_sum_7d', 'spend_sum_hl1d', 'spend_sum_ever', 'spend_since_last']
    """
    features: list[Feature] = []
    for function in aggregate.declared:
        features += _shares(aggregate) if function == "share" else _stored(aggregate, function)
    return features + [_trend(aggregate, short, long) for short, long in aggregate.trends]


def stored(aggregate: Aggregate) -> list[Feature]:
    """Every feature that can be read off what the aggregate stores, visible or not; no derived ones."""
    return [feature for function in aggregate.functions for feature in _stored(aggregate, function)]


def names_of_everybody(aggregates: Iterable[Aggregate], ratios: Iterable[Feature]) -> frozenset[str]:
    """The names of the features that count over everybody, hidden ones and what is derived of them too."""
    shared = {
        feature.name
        for aggregate in aggregates
        if aggregate.of in SHARED
        for feature in (*stored(aggregate), *expand(aggregate))
    }
    return frozenset(shared | {each.name for each in ratios if each.derived and shared & {*each.derived[:2]}})


def total_of(aggregate: Aggregate, where: str | None) -> Aggregate | None:
    """What the shares of a family are shares of: the same sums over all its keys; None without shares.

    `where` must refuse the events whose key is missing, as the family does not count them.
    """
    if "share" not in aggregate.declared:
        return None
    return aggregate._replace(
        name=f"{aggregate.name}_total",
        where=where,
        functions=(aggregate.amount,),
        by=None,
        match=None,
        half_lives=(),
        meaning=f"the whole that {aggregate.name} gives shares of: {aggregate.meaning}",
        default={},
        declared=(),
        of="global" if aggregate.of in SHARED else "customer",
        keys=1,
        trends=(),
    )


def _stored(aggregate: Aggregate, function: str) -> list[Feature]:
    if function in MOMENTS:
        return [_feature(aggregate, function, function, _WORDS[function])]
    word = _ordinal(function) if function in PERCENTILES else _WORDS.get(function, function)
    features = []
    for window in aggregate.windows:
        length = render_duration(window)
        features.append(
            _feature(aggregate, function, f"{function}_{length}", f"{word} over {length}", window)
        )
    for half_life in aggregate.half_lives if function in DECAYED else ():
        length = render_duration(half_life)
        words = f"{word}, counting half after {length}"
        features.append(_feature(aggregate, function, f"{function}_hl{length}", words, None, half_life))
    if aggregate.ever:
        features.append(_feature(aggregate, function, f"{function}_ever", f"{word} of all time"))
    return features


def _ordinal(percentile: str) -> str:
    percent = int(percentile[1:])
    ending = "th" if percent in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(percent % 10, "th")
    return f"{percent}{ending} percentile"


def _shares(aggregate: Aggregate) -> list[Feature]:
    spans = [(window, render_duration(window)) for window in aggregate.windows]
    features = []
    for window, length in [*spans, *([(None, "ever")] if aggregate.ever else [])]:
        words = f"share of the whole {'of all time' if window is None else f'over {length}'}"
        base = f"{aggregate.amount}_{length}"
        derived = Derived(f"{aggregate.name}_{base}", f"{aggregate.name}_total_{base}", 1.0)
        features.append(
            _feature(aggregate, "share", f"share_{length}", words, window)._replace(derived=derived)
        )
    return features


def _trend(aggregate: Aggregate, short: int, long: int) -> Feature:
    recent, longer = render_duration(short), render_duration(long)
    words = f"{recent} against {longer}, each by its length"
    base = f"{aggregate.name}_{aggregate.amount}"
    derived = Derived(f"{base}_{recent}", f"{base}_{longer}", long / short)
    feature = _feature(aggregate, "trend", f"trend_{recent}_{longer}", words, short)
    return feature._replace(derived=derived)


def _feature(
    aggregate: Aggregate,
    function: str,
    suffix: str,
    words: str,
    window: int | None = None,
    half_life: int | None = None,
) -> Feature:
    zero = 0.0 if function in ("count", "sum", "distinct") else float("nan")
    return Feature(
        f"{aggregate.name}_{suffix}",
        _unit(aggregate, function),
        f"{words}: {aggregate.meaning}",
        aggregate.name,
        function,
        window,
        half_life,
        aggregate.default.get(function, zero),
        aggregate.freshness_ms,
        aggregate.match,
        aggregate.of,
    )


def _unit(aggregate: Aggregate, function: str) -> str:
    if function in ("since_last", "since_first"):
        return "days"
    if function == "share":
        return "share"
    if function == "trend" or (function == "count" and aggregate.value is not None):
        return "times"
    return aggregate.unit
