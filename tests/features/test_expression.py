"""Conditions: one value and an array agree, unknown is unknown, faults are said at their character."""

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.expression import BadExpression, compile_expression
from features.kleene import Kind

NAMES: dict[str, Kind] = {
    "a": "number",
    "b": "number",
    "price": "decimal",
    "kind": "category",
    "offer.kind": "category",
    "event.paid": "boolean",
    "open": "boolean",
}


def conditions(depth: int = 3) -> st.SearchStrategy[str]:
    number = st.sampled_from(
        ["a", "b", "price", "2", "0", "-1.5", "a + b", "a / b", "b % 2", "-a", "coalesce(a, 7)"]
    )
    leaf = st.one_of(
        st.tuples(number, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), number).map(" ".join),
        st.sampled_from(
            [
                "open",
                "event.paid",
                "true",
                "kind == 'x'",
                "offer.kind != kind",
                "kind in ['x', 'y']",
                "a in [1, 2.5]",
            ]
        ),
        st.sampled_from(["is_missing(a)", "is_missing(kind)", "coalesce(open, false)", "is_missing(a / b)"]),
    )
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(lambda t: f"({' '.join(t)})"),
            inner.map(lambda text: f"!({text})"),
            st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} ? {t[1]} : {t[2]})"),
        ),
        max_leaves=6,
    )


NUMBERS = st.one_of(st.none(), st.sampled_from([0.0, 1.0, 2.0, 2.5, -3.0]))
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "a": NUMBERS,
            "b": NUMBERS,
            "price": st.one_of(st.none(), st.sampled_from([0, 10_000, 25_000])),
            "kind": st.sampled_from([None, "x", "y", "z"]),
            "offer.kind": st.sampled_from([None, "x", "y"]),
            "event.paid": st.sampled_from([None, True, False]),
            "open": st.sampled_from([None, True, False]),
        }
    ),
    min_size=1,
    max_size=6,
)


def column(name: str, rows: list[dict[str, Any]]) -> np.ndarray:
    values = [row[name] for row in rows]
    if NAMES[name] == "number" or NAMES[name] == "decimal":
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return np.array(values, dtype=object)


@given(conditions(), ROWS)
@settings(max_examples=150, deadline=None)
def test_one_and_many_agree(text: str, rows: list[dict[str, Any]]) -> None:
    expression = compile_expression(text, NAMES)
    arrays = {name: column(name, rows) for name in NAMES}
    values, unknown = (np.broadcast_to(each, len(rows)) for each in expression.evaluate(arrays))
    for n, row in enumerate(rows):
        one = expression.one(row)
        assert (None if unknown[n] else bool(values[n])) == one, (text, row)
        assert expression.test(row) is (one is True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("open && event.paid", None),
        ("open && false", False),
        ("false && open", False),
        ("open || true", True),
        ("true || open", True),
        ("open || false", None),
        ("!open", None),
        ("a > 1", None),
        ("a in [1, 2]", None),
        ("open ? true : true", None),
        ("is_missing(a)", True),
        ("is_missing(a + 1)", True),
        ("coalesce(a, b, 3) == 3", True),
        ("1 / 0 > 0", None),
        ("price == 1.25", True),
        ("price * 2 == 2.5", True),
        ("kind == 'it\\'s'", True),
        ("3 - 1 == 2 && 7 % 4 == 3", True),
    ],
)
def test_unknown_is_unknown(text: str, expected: bool | None) -> None:
    expression = compile_expression(text, NAMES)
    env = {"price": 12_500, "kind": "it's", "a": None, "open": None}
    assert expression.one(env) is expected
    values, unknown = expression.evaluate(env)
    assert (None if unknown else bool(values)) is expected


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("a >", 4, "found the end"),
        ("a = 3", 3, "write = twice"),
        ("a > 'x'", 5, "expected a number, found 'x', a category"),
        ("kind < 'x'", 1, "expected a number to compare by size"),
        ("open && kind == 'x' || a", 24, "expected a boolean, found a, a number"),
        ("kind in ['x', 3]", 15, "expected a category, found 3"),
        ("kind in kind", 9, "expected a list of values"),
        ("a in [b]", 7, "expected a value written out"),
        ("b > 1 && prise > 3", 10, "found prise; did you mean price"),
        ("offer.knid == 'x'", 1, "did you mean offer.kind"),
        ("is_mising(a)", 1, "found is_mising; did you mean is_missing"),
        ("coalesce(a)", 1, r"expected coalesce\(a, b, ...\)"),
        ("a == null", 6, r"is_missing\(x\) asks"),
        ("a[0] > 1", 1, r"expected the name of a family before \["),
        ("a.b() > 1", 1, "expected a name, a value or a condition"),
        ("{1: 2} == 3", 2, "expected a name, a value or a condition"),
        ("a > $", 5, "expected an expression"),
        ("'open", 1, "expected a text with its second quote"),
        ("", 1, "expected the rest of an expression, found the end"),
        ("a ? b : b", 1, "expected a boolean"),
        ("open ? a : kind", 12, "expected a number"),
        ("1e999 > a", 1, "expected a number below 1e300"),
        ("a > 1e-400", 5, "expected a number that is 0 or above"),
        ("1 < a < 3", 1, "write 1 < x && x < 3"),
        ("a > 1 and open", 7, "write && for and"),
        ("a <> 1", 4, "write != for not equal"),
        ("kind not in ['x']", 6, r"write !\(x in \[..\]\)"),
        ("a is missing", 3, r"write is_missing\(x\)"),
        ("kind == '\\q'", 10, "expected an escape of a character"),
        ("kind == '\\ud800'", 10, "expected an escape of a character"),
        ("a > true", 5, "expected a number, found true, a boolean"),
        ("kind == 'a\\x00'", 11, "expected an escape of a character"),
        ("kind == 'a\x07b'", 11, "found U\\+0007; write it as"),
        ("kind == 'x' &&\r\n\x0b ope", 17, "found �"),
        ("kind == '''x'''", 9, "found three quotes"),
        ("(" * 60 + "a" + ")" * 60 + " > 1", 41, "at most 40 levels"),
        (" || ".join(["open"] * 60), 1, "replaces a chain"),
        ("a" * 3000, 2001, "at most 2000 characters"),
    ],
)
def test_faults_are_said_at_their_character(text: str, at: int, message: str) -> None:
    with pytest.raises(BadExpression, match=message) as caught:
        compile_expression(text, NAMES)
    assert caught.value.at == at, caught.value


@given(st.text(alphabet="ab.'\"()[]{}<>=!&|+-*/%?:, 01\n\\", max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_text_compiles_or_is_refused(text: str) -> None:
    with contextlib.suppress(BadExpression):
        compile_expression(text, {"a": "number", "b": "boolean"})


def test_what_is_false_in_spite_of_an_unknown_is_false_in_arrays_too() -> None:
    expression = compile_expression("(open && event.paid) == false", NAMES)
    opened, paid = np.array([None, True], dtype=object), np.array([False, None], dtype=object)
    values, unknown = expression.evaluate({"open": opened, "event.paid": paid})
    assert values.tolist() == [True, False]
    assert unknown.tolist() == [False, True]


def test_names_are_the_ones_read_and_constants_need_none() -> None:
    assert compile_expression("a > 1 && offer.kind == 'x'", NAMES).names == ("a", "offer.kind")
    assert compile_expression("1 > 2", NAMES).names == ()
