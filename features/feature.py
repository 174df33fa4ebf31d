"""What one declaration expands to: the live features of an aggregate, in the order of the row."""

from typing import NamedTuple

from features.duration import render_duration

NEEDS_VALUE = ("sum", "mean", "min", "max", "last")
WINDOWED = ("count", "sum", "mean", "min", "max")
DECAYED = ("count", "sum", "mean")
MOMENTS = ("last", "since_last", "since_first")
FUNCTIONS = (*WINDOWED, *MOMENTS)


class Aggregate(NamedTuple):
    """One question asked of one type of event, as the playbook declares it; lengths of time in ms."""

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


class Feature(NamedTuple):
    """One number of the row: a function of an aggregate over a window, a half-life or all time.

    `default` is the value when nothing has happened: NaN where none is declared and zero would be
    a lie. `freshness_ms`: the value is missing once we have not read on for so long. `match` names
    the offer's attribute that picks the key of a family, None for a plain feature.
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


def expand(aggregate: Aggregate) -> list[Feature]:
    """Every feature the aggregate stands for: each function over windows, half-lives, ever.

    >>> spend = Aggregate("spend", "line", "amount", None, ("sum", "since_last"), None, None,
    ...                   (7 * 86_400_000,), (86_400_000,), True, "USD", "paid", {}, 1)
    >>> [feature.name for feature in expand(spend)]
    ['spend_sum_7d', 'spend_sum_hl1d', 'spend_sum_ever', 'spend_since_last']
    """
    features = []
    for function in aggregate.functions:
        zero = 0.0 if function in ("count", "sum") else float("nan")
        default = aggregate.default.get(function, zero)

        def add(
            suffix: str,
            words: str,
            window: int | None = None,
            half_life: int | None = None,
            function: str = function,
            default: float = default,
        ) -> None:
            features.append(
                Feature(
                    f"{aggregate.name}_{suffix}",
                    _unit(aggregate, function),
                    f"{words}: {aggregate.meaning}",
                    aggregate.name,
                    function,
                    window,
                    half_life,
                    default,
                    aggregate.freshness_ms,
                    aggregate.match,
                )
            )

        if function in MOMENTS:
            add(
                function,
                {"last": "the last one", "since_last": "days since the last"}.get(
                    function, "days since the first"
                ),
            )
            continue
        for window in aggregate.windows:
            length = render_duration(window)
            add(f"{function}_{length}", f"{function} over {length}", window)
        if function in DECAYED:
            for half_life in aggregate.half_lives:
                length = render_duration(half_life)
                add(f"{function}_hl{length}", f"{function}, counting half after {length}", None, half_life)
        if aggregate.ever:
            add(f"{function}_ever", f"{function} of all time")
    return features


def _unit(aggregate: Aggregate, function: str) -> str:
    if function in ("since_last", "since_first"):
        return "days"
    if function == "count" and aggregate.value is not None:
        return "times"
    return aggregate.unit
