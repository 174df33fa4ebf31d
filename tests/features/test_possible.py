"""What a condition can come to is never told too narrow; what is foregone is refused at the guilty part."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import spans
from features.expression import compile_expression
from features.feature import Aggregate, Derived, Feature, expand
from features.foregone import never_or_always
from features.kleene import Kind
from features.possible import outcomes
from features.ranges import Held, Texts, ranges_of

NAMES: dict[str, Kind] = {
    "a": "number",
    "b": "number",
    "n": "number",
    "share": "number",
    "k": "category",
    "m": "category",
    "open": "boolean",
    "paid": "boolean",
}
RANGES = {
    "n": Held(spans.between(0, math.inf)),
    "share": Held(spans.between(0, 1), False),
    "m": Held(Texts(frozenset(["x", "y"]))),
}
POOL = [-1e308, -3.0, -1.0, -0.5, 0.0, 0.25, 1.0, 2.0, 2.5, 3.0, 7.0, 1e15, 1e308]


def values(name: str) -> st.SearchStrategy[Any]:
    if NAMES[name] == "category":
        return st.sampled_from([None, "x", "y"] + (["z"] if name == "k" else []))
    if NAMES[name] == "boolean":
        return st.sampled_from([None, True, False])
    held = RANGES.get(name)
    missing = [None] if held is None or held.missing else []
    return st.sampled_from(
        missing + [v for v in POOL if name not in RANGES or 0 <= v <= (1 if name == "share" else 1e400)]
    )


def numbers() -> st.SearchStrategy[str]:
    leaf = st.sampled_from(["a", "b", "n", "share", "0", "1", "2", "-3", "2.5", "0.5", "9e299"])
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from("+-*/%"), inner).map(lambda t: f"({' '.join(t)})"),
            st.tuples(inner, inner).map(lambda t: f"coalesce({t[0]}, {t[1]})"),
            st.tuples(st.sampled_from(["open", "a > 2", "is_missing(b)"]), inner, inner).map(
                lambda t: f"({t[0]} ? {t[1]} : {t[2]})"
            ),
        ),
        max_leaves=3,
    )


def conditions() -> st.SearchStrategy[str]:
    compare = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
    plain = st.sampled_from(["a", "b", "n", "share", "2"])
    leaf = st.one_of(
        st.tuples(plain, compare, st.sampled_from(["0", "1", "2", "2.5", "7", "a", "b"])).map(" ".join),
        st.tuples(numbers(), compare, numbers()).map(" ".join),
        st.sampled_from(["open", "paid", "!open", "open == paid", "open != true", "open in [true]", "false"]),
        st.sampled_from(
            ["k == 'x'", "k != 'x'", "k in ['x', 'y']", "k == m", "m != 'x'", "m == 'z'", "k != m"]
        ),
        st.sampled_from(
            ["a in [1, 2.5]", "is_missing(a)", "is_missing(k)", "is_missing(a / b)", "is_missing(open)"]
        ),
        st.sampled_from(["coalesce(k, m) == 'x'", "coalesce(open, paid)", "(open ? k : m) == 'y'"]),
    )
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(["&&", "&&", "||"]), inner).map(lambda t: f"({' '.join(t)})"),
            inner.map(lambda text: f"!({text})"),
            st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} ? {t[1]} : {t[2]})"),
            st.tuples(inner, inner).map(lambda t: f"coalesce({t[0]}, {t[1]})"),
        ),
        max_leaves=6,
    )


@given(
    conditions(),
    st.lists(st.fixed_dictionaries({name: values(name) for name in NAMES}), min_size=1, max_size=40),
)
@settings(max_examples=400, deadline=None)
def test_what_happens_was_called_possible(text: str, rows: list[dict[str, Any]]) -> None:
    expression = compile_expression(text, NAMES)
    told = outcomes(expression.tree, RANGES)
    for row in rows:
        assert expression.one(row) in told, (text, row)


@given(
    st.lists(st.sampled_from(POOL), max_size=4),
    st.lists(st.sampled_from(POOL), max_size=4),
    st.sampled_from(POOL),
)
@settings(max_examples=200, deadline=None)
def test_spans_are_sets(left: list[float], right: list[float], value: float) -> None:
    one, other = spans.points(left), spans.points(right)
    inside = lambda spans_: any((value, 0) >= start and (value, 1) <= end for start, end in spans_)  # noqa: E731
    assert inside(spans.meet(one, other)) == (value in left and value in right)
    assert inside(spans.join(one, other)) == (value in left or value in right)
    assert inside(spans.rest(one)) == (value not in left)
    for op, holds in {
        "lt": value < max(left, default=-math.inf),
        "ge": value >= min(left, default=math.inf),
    }.items():
        assert inside(spans.than(op, one)) == holds


NEVER = {
    "a > 5 && a < 3": (10, "a < 3 together with a > 5"),
    "a > 5 && open && a <= 5": (18, "a <= 5 together with a > 5"),
    "k in ['x'] && k == 'y'": (15, "k == 'y' together with"),
    "!(a > 3) && a > 4": (13, "a > 4 together with !(a > 3)"),
    "open && (n < 0)": (9, "n < 0), which never is true"),
    "n < 0": (1, "n < 0, which never is true; n is never below 0"),
    "share > 50": (1, "share is from 0 to 1"),
    "a > b && a < b": (10, "together with a > b"),
    "open && !open": (10, "!(open) together with open"),
    "is_missing(a) && a > 1": (18, "together with is_missing"),
    "a > 2 && b > 0 && (a < 1 || b < 0)": (1, "never is true"),
    "1 > 2": (1, "never is true"),
    "coalesce(n, 0) < 0": (1, "never is true"),
    "n / (n + 1) < 0": (1, "never is true"),
    "is_missing(share)": (1, "never is true"),
}
ALWAYS = {
    "a > 5 || a <= 5": (
        10,
        "a <= 5 or a > 5, of which one always is true once it is known; write !is_missing",
    ),
    "n >= 0": (1, "n >= 0, which always is true once it is known; n is never below 0"),
    "true": (1, "true, which always is true; leave it out"),
    "is_missing(a) || !is_missing(a)": (19, "one always is true"),
    "share <= 1": (1, "share <= 1, which always is true"),
}


@pytest.mark.parametrize(("text", "told"), [*NEVER.items(), *ALWAYS.items()])
def test_the_foregone_is_refused_at_the_guilty_part(text: str, told: tuple[int, str]) -> None:
    fault = never_or_always(compile_expression(text, NAMES), RANGES)
    assert fault is not None
    assert fault.at == told[0], fault
    assert told[1] in str(fault)
    assert fault.expected == (
        "a condition that can be true" if text in NEVER else "a condition that is not always true"
    )


@pytest.mark.parametrize(
    "text",
    [
        "a > 5",
        "n == 0",
        "a > 3 && a < 5",
        "a > b && b > 5",
        "is_missing(n)",
        "k == 'x' ? a > 5 : a > 3",
        "share >= 1",
    ],
)
def test_what_may_go_either_way_is_left(text: str) -> None:
    assert never_or_always(compile_expression(text, NAMES), RANGES) is None


def test_long_conditions_are_judged_in_bounded_time() -> None:
    nested = "open"
    for _ in range(13):
        nested = f"({nested} ? paid : open)"
    chained = " && ".join(f"(a > {n} || b < {n})" for n in range(38))
    for text in (nested, chained):
        assert True in outcomes(compile_expression(text, NAMES).tree, {})


def test_features_bound_their_conditions() -> None:
    day = 86_400_000
    functions = ("count", "sum", "mean", "since_last", "share")
    spend = Aggregate(
        "spend", "line", "amount", None, functions, "kind", None, (day,), (), False, "", "", {}, 1, functions
    )
    visits = spend._replace(name="visits", value=None, declared=("count", "share"), default={"share": -1.0})
    ratio = Feature(
        "r",
        "",
        "",
        "r",
        "ratio",
        None,
        None,
        math.nan,
        1,
        None,
        "customer",
        Derived("spend_count_1d", "spend_count_1d", 1.0),
    )
    ranges = ranges_of([*expand(spend), *expand(visits), ratio])
    above, anything = spans.between(0, math.inf), spans.ALL
    assert {name: held.known for name, held in ranges.items()} == {
        "spend_count_1d": above,
        "spend_sum_1d": anything,
        "spend_mean_1d": anything,
        "spend_since_last": above,
        "spend_share_1d": anything,  # of amounts, of which some may be below 0
        "visits_count_1d": above,
        "visits_share_1d": spans.join(spans.points([-1]), spans.between(0, 1)),
        "r": above,
    }
    assert all(held.missing for held in ranges.values())
