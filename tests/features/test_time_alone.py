"""Conditions that time alone can make true are found, by simulated rows too."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.expression import compile_expression
from features.feature import Aggregate, Derived, Feature, expand
from features.kleene import Kind
from features.time_alone import turns_true_by_time

DAY = 86_400_000
HOUR = DAY // 24


def aggregate(name: str, windows: tuple[int, ...], functions: tuple[str, ...], **more: Any) -> Aggregate:
    value = "amount" if {"sum", "mean"} & set(functions) else None
    plain: dict[str, Any] = {"half_lives": (), "ever": False, "default": {}, "trends": ()} | more
    return Aggregate(
        name, "e", value, None, functions, None, None, windows, plain["half_lives"], plain["ever"], "", "",
        plain["default"], 1, functions, trends=plain["trends"],
    )  # fmt: skip


VISITS = aggregate(
    "visits", (7 * DAY, 30 * DAY), ("count", "since_last", "since_first"),
    half_lives=(DAY,), ever=True, trends=((7 * DAY, 30 * DAY),),
)  # fmt: skip
SPEND = aggregate(
    "spend", (DAY, 30 * DAY, 84 * DAY), ("count", "sum", "mean", "max", "since_last"), half_lives=(7 * DAY,)
)
SHOP = aggregate("shop", (3 * HOUR,), ("sum",))
RATIO = Feature(
    "bill", "", "", "bill", "ratio", None, None, math.nan, 1, None, "customer",
    Derived("spend_sum_30d", "spend_count_30d", 1.0),
)  # fmt: skip
FIRED = Feature("lapsed_fired_since", "", "", "lapsed", "fired_since", None, None, math.nan, 1, None)
FEATURES = {each.name: each for a in (VISITS, SPEND, SHOP) for each in expand(a)} | {
    "bill": RATIO,
    FIRED.name: FIRED,
}
NAMES: dict[str, Kind] = dict.fromkeys(FEATURES, "number") | {
    "tier": "category",
    "age": "number",
    "event.amount": "decimal",
    "event.kind": "category",
    "kinds": "family",
}

FOUND = {
    "spend_since_last >= 30": "spend_since_last >= 30",
    "visits_count_30d == 0": "visits_count_30d == 0",
    "spend_sum_30d > 500 && visits_count_7d == 0": "visits_count_7d == 0",
    "visits_count_30d >= 3 && visits_count_7d == 0": "visits_count_7d == 0",
    "tier == 'gold' && !(visits_count_7d > 0)": "visits_count_7d > 0",
    "spend_sum_1d > 100 && visits_since_last >= 0.5": "visits_since_last >= 0.5",
    "is_missing(spend_mean_30d)": "is_missing(spend_mean_30d)",
    "coalesce(spend_mean_30d, 0) < 5": "coalesce(spend_mean_30d, 0) < 5",
    "visits_trend_7d_30d < 0.5": "visits_trend_7d_30d < 0.5",
    "visits_count_hl1d < 0.5": "visits_count_hl1d < 0.5",
    "spend_sum_hl7d < 100": "spend_sum_hl7d < 100",
    "lapsed_fired_since > 7": "lapsed_fired_since > 7",
    "30 <= spend_since_last": "30 <= spend_since_last",
    "30 - spend_since_last < 0": "30 - spend_since_last < 0",
    "2 * spend_since_last > 30": "2 * spend_since_last > 30",
    "tier == 'gold' ? visits_count_7d == 0 : false": "tier == 'gold' ? visits_count_7d == 0 : false",
    "visits_count_7d in [0, 1]": "visits_count_7d in [0, 1]",
}
NOT_FOUND = [
    "spend_sum_30d > 500",
    "shop_sum_3h >= 100 && shop_sum_3h >= 2 * spend_sum_84d / 12",
    "visits_count_30d >= 3",
    "visits_count_ever >= 10",
    "visits_since_last <= 3",
    "visits_since_first - spend_since_last > 3 && false",
    "spend_since_last > visits_since_last",
    "spend_mean_30d > 20",
    "visits_count_hl1d > 3",
    "spend_sum_hl7d > 100",
    "spend_mean_hl7d < 10",
    "event.amount > 50 && visits_count_7d == 0",
    "event.kind == 'x'",
    "age > 60 && tier == 'gold'",
    "kinds[event.kind] == 0 || visits_count_7d > 1",
    "visits_count_7d == 0 && visits_since_last < 5",
    "!(visits_count_7d == 0)",
    "is_missing(visits_since_last)",
    "is_missing(visits_count_7d)",
]


@pytest.mark.parametrize(("text", "part"), FOUND.items())
def test_what_time_makes_true_is_found(text: str, part: str) -> None:
    assert turns_true_by_time(compile_expression(text, NAMES), FEATURES) == part


@pytest.mark.parametrize("text", NOT_FOUND)
def test_what_needs_an_event_is_not(text: str) -> None:
    assert turns_true_by_time(compile_expression(text, NAMES), FEATURES) is None


def row(events: dict[str, list[tuple[int, float]]], at: int) -> dict[str, float | None]:
    """What the features are at the instant (ms), by definition."""
    values: dict[str, float | None] = {"age": 40.0, "tier": None}
    for name, feature in FEATURES.items():
        past = events.get(feature.aggregate, [])
        window = at if feature.window_ms is None else feature.window_ms
        inside = [(time, value) for time, value in past if time > at - window or feature.window_ms is None]
        weights = [
            2.0 ** -((at - time) / feature.half_life_ms) if feature.half_life_ms else 1.0
            for time, _ in inside
        ]
        total = sum(w * value for w, (_, value) in zip(weights, inside, strict=True))
        if feature.derived is not None:
            continue
        if feature.function == "count":
            values[name] = sum(weights)
        elif feature.function == "sum":
            values[name] = total
        elif not inside:
            values[name] = None
        elif feature.function == "mean":
            values[name] = round(total / sum(weights), 6)
        elif feature.function == "max":
            values[name] = max(value for _, value in inside)
        else:
            first = feature.function == "since_first"
            values[name] = (at - inside[0 if first else -1][0]) / DAY
    values["lapsed_fired_since"] = None
    for name, feature in FEATURES.items():
        if feature.derived is not None:
            above, below = values[feature.derived.numerator], values[feature.derived.denominator]
            values[name] = feature.derived.factor * above / below if below else None  # type: ignore[operator]
    return values


PAST = st.lists(
    st.tuples(st.integers(0, 60 * 24), st.sampled_from([-20.0, 1.0, 30.0, 200.0])), max_size=6
).map(lambda pairs: sorted((hour * HOUR, value) for hour, value in pairs))


def conditions() -> st.SearchStrategy[str]:
    number = st.sampled_from(
        [*FEATURES, "2 * spend_sum_30d", "spend_sum_30d - spend_sum_1d", "coalesce(spend_max_30d, 0)"]
    )
    leaf = st.one_of(
        st.tuples(
            number,
            st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
            st.sampled_from(["0", "1", "3", "30", "-5", "100"]),
        ).map(" ".join),
        st.tuples(number, st.sampled_from(["<", ">="]), number).map(" ".join),
        number.map(lambda name: f"is_missing({name})"),
        number.map(lambda name: f"{name} in [0, 3]"),
    )
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(lambda t: f"({' '.join(t)})"),
            inner.map(lambda text: f"!({text})"),
            st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} ? {t[1]} : {t[2]})"),
        ),
        max_leaves=4,
    )


@given(
    conditions(),
    st.dictionaries(st.sampled_from(["visits", "spend", "shop"]), PAST),
    st.integers(1, 120 * 24),
)
@settings(max_examples=600, deadline=None)
def test_no_row_that_turns_by_itself_is_missed(text: str, events: dict[str, Any], hours: int) -> None:
    expression = compile_expression(text, NAMES)
    last = max((time for each in events.values() for time, _ in each), default=0)
    before, after = last + 1, last + hours * HOUR + 1
    windows = [FEATURES[name].window_ms for name in expression.names if name in FEATURES]
    windows += [30 * DAY] if "bill" in expression.names else []
    if expression.one(row(events, before)) is True or expression.one(row(events, after)) is not True:
        return
    if after - last >= min((each for each in windows if each), default=0):
        assert turns_true_by_time(expression, FEATURES) is not None, (
            text,
            row(events, before),
            row(events, after),
        )
