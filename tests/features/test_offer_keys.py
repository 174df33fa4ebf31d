"""The keys of an assortment, laid out once, read as those of each offer alone do."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.envelope import Event
from features.fold import empty
from features.offer_keys import offer_keys
from features.row import cross
from tests.features.workshop import DAY, NOON, folded, plan, rich, rich_histories

MATCHES = ("kind", "reason", "label", "offer")
TEXTS = st.sampled_from(["a", "b", "x", "help", "price", "", "never"])


@given(rich_histories(), st.lists(st.tuples(*[TEXTS] * 4), min_size=1, max_size=8), st.data())
@settings(max_examples=80, deadline=None)
def test_any_choice_of_offers_reads_as_each_of_them_alone(
    log: Sequence[Event], offers: list[tuple[str, ...]], data: st.DataObject
) -> None:
    p = rich()
    given_keys = data.draw(st.sets(st.sampled_from(MATCHES), min_size=1))
    keys = {match: [offer[n] for offer in offers] for n, match in enumerate(MATCHES) if match in given_keys}
    chosen = np.array(data.draw(st.lists(st.integers(0, len(offers) - 1), max_size=10)), dtype=np.intp)
    at = max((event.time for event in log), default=NOON) + 1 + data.draw(st.integers(0, 100 * DAY))
    laid = offer_keys(p.tables.matches, keys, len(offers)).of(chosen)
    for state in (folded(p, log), None):
        values = cross(p, state, at, laid, at)
        assert values.shape == (len(chosen), len(p.cross_features))
        for row, place in zip(values, chosen.tolist(), strict=True):
            alone = cross(p, state, at, {match: [every[place]] for match, every in keys.items()}, at)
            assert row.tobytes() == alone.tobytes()


@given(st.lists(TEXTS, min_size=1, max_size=30), st.data())
def test_only_keys_that_a_choice_picks_are_looked_up_each_once(texts: list[str], data: st.DataObject) -> None:
    chosen = np.array(data.draw(st.lists(st.integers(0, len(texts) - 1))), dtype=np.intp)
    laid = offer_keys(["one", "none", "two"], {"one": texts, "two": texts[::-1]}, len(texts)).of(chosen)
    forth, back = [texts[n] for n in chosen], [texts[::-1][n] for n in chosen]
    alone = offer_keys(["one", "none", "two"], {"one": forth, "two": back}, len(chosen))
    assert [array.tolist() for array in laid[1:]] == [array.tolist() for array in alone[1:]]
    assert np.diff(laid.ranges).tolist() == [len(set(forth)), 0, len(set(back))]


def test_keys_of_unequal_length_and_of_another_plan_are_refused() -> None:
    p = plan()
    with pytest.raises(ValueError, match="one length, 2, found 1 of 'kind'"):
        offer_keys(p.tables.matches, {"kind": ["a"]}, 2)
    laid = offer_keys(rich().tables.matches, {"kind": ["a"]}, 1)
    with pytest.raises(ValueError, match="lay them out again"):
        cross(p, empty(p), NOON, laid, NOON)


def test_a_plan_without_families_gives_every_offer_a_row_of_nothing() -> None:
    single = """
[[aggregate]]
name = "paid"
event = "sale"
functions = ["count"]
ever = true
unit = "times"
meaning = "sales"
"""
    p = plan(single)
    for state in (empty(p), None):
        assert cross(p, state, NOON, offer_keys((), {}, 3), NOON).shape == (3, 0)
