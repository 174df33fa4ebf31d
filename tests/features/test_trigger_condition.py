"""The oracle's reading of conditions and the engine's are two, and agree."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.expression import compile_expression
from features.kleene import Kind
from tests.features.trigger_condition import names_of, value_of
from tests.features.trigger_shop import TRIGGERS

DECLARED = tomllib.loads(TRIGGERS)["trigger"]
TEXTS = sorted({each[key] for each in DECLARED for key in ("when", "audience") if key in each})
NUMBERS = st.sampled_from([None, 0.0, 1.0, 2.0, 3.0, 4.0, 0.0174, 0.01, 7.5, 60.0])


@pytest.mark.parametrize("text", TEXTS)
@given(st.data())
def test_both_understand_the_conditions_of_the_shop_alike(text: str, data: st.DataObject) -> None:
    kinds: dict[str, Kind] = {}
    env: dict[str, Any] = {}
    plain = text
    for place, name in enumerate(sorted(set(names_of(text)), reverse=True)):
        short = f"n{place}"  # a family at a key is one value here
        plain = plain.replace(name, short)
        kinds[short] = "category" if name == "event.kind" else "number"
        env[name] = data.draw(st.sampled_from([None, "a", "c"]) if name == "event.kind" else NUMBERS)
        env[short] = env[name]
    assert compile_expression(plain, kinds).one(env) is value_of(text, env.__getitem__)


def test_what_decides_alone_leaves_nothing_unknown() -> None:
    env = {"a": None, "b": True, "c": False, "n": 0.0}.__getitem__
    assert [value_of(text, env) for text in ("a || b", "a && c", "a && b", "a || c", "!(a)")] == [
        *(True, False),
        *(None, None, None),
    ]
    assert value_of("1 / n > 0", env) is None
    assert value_of("coalesce(a, n) == 0 && is_missing(a)", env) is True
