"""The row at any instant equals a brute-force computation over the raw events."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from events.envelope import Event
from features.fold import decode, empty, encode, fold, settled
from features.kleene import DECIMAL
from features.row import StateAhead, cross, explain, row
from tests.features.oracle import Past
from tests.features.workshop import DAY, NOON, call, folded, histories, plan, sale


@given(histories(), st.integers(0, 130 * DAY))
@settings(max_examples=100)
def test_row_and_cross_equal_the_oracle(log: Sequence[Event], later: int) -> None:
    p = plan()
    at = max((event.time for event in log), default=NOON) + 1 + later
    state = folded(p, log)
    past, numbers = Past(p, log, at), row(p, state, at, at)
    keys = {"kind": ["a", "b", "x", "never"], "reason": ["help", "price", "help", "never"]}
    crossed = cross(p, state, at, keys, at)
    for feature, value in zip(p.customer_features, numbers.tolist(), strict=True):
        assert past.agrees(feature, value, None), (feature, value)
    for place, feature in enumerate(p.cross_features):
        for offer, key in enumerate(keys[feature.match or ""]):
            value = float(crossed[offer, place])
            assert past.agrees(feature, value, key), (feature, key, value)


@given(histories(), st.integers(1, 130 * DAY))
@settings(max_examples=150, deadline=None)
def test_a_state_reads_the_same_before_and_after_time_has_coarsened_it(
    log: Sequence[Event], later: int
) -> None:
    p = plan()
    at = max((event.time for event in log), default=NOON) + 1 + later
    state = folded(p, log)
    names = [feature.name for feature in p.customer_features]
    sales = [n for n, name in enumerate(names) if name.startswith(("paid", "bulk"))]
    keys = {"kind": ["a", "b"]}
    bought = [n for n, feature in enumerate(p.cross_features) if feature.match == "kind"]

    def read() -> tuple[bytes, bytes]:
        return row(p, state, at, at)[sales].tobytes(), cross(p, state, at, keys, at)[:, bought].tobytes()

    before = read()
    fold(p, state, call("later", at - 1), 0, len(log))
    assert read() == before


@given(st.integers(0, 10 * DAY), st.integers(-(7 * DAY), 7 * DAY).map(lambda ms: ms // 60), st.data())
@settings(max_examples=150, deadline=None)
def test_at_the_very_edge_of_a_window_too(begin: int, off: int, data: st.DataObject) -> None:
    p = plan()
    window = data.draw(st.sampled_from([7 * DAY, 28 * DAY, 84 * DAY]))
    old = NOON + begin
    at = old + window + off
    newest = at - data.draw(st.integers(2, DAY))
    state = folded(p, [sale(1, old), sale(2, newest)])
    columns = [n for n, feature in enumerate(p.customer_features) if feature.name.startswith("paid")]
    before = row(p, state, at, at)[columns].tobytes()
    fold(p, state, call(3, at - 1), 0, 2)
    assert row(p, state, at, at)[columns].tobytes() == before


@pytest.mark.parametrize("off", [-1, 1])
def test_a_window_is_exact_but_for_half_a_hundredth_at_its_edge(off: int) -> None:
    p = plan()
    place = [feature.name for feature in p.customer_features].index("paid_count_7d")
    age = 7 * DAY + off * (7 * DAY // 200 + 1)
    state = folded(p, [sale("1", NOON)])
    assert row(p, state, NOON + age, NOON + age)[place] == (1.0 if off < 0 else 0.0)


def test_an_event_at_the_instant_or_after_it_never_counts() -> None:
    p = plan()
    state = folded(p, [sale("1", NOON)])
    for at in (NOON, NOON - 1):
        with pytest.raises(StateAhead):
            row(p, state, at, at)
        with pytest.raises(StateAhead):
            cross(p, state, at, {}, at)
    assert row(p, state, NOON + 1, NOON + 1)[0] == 1.0


def test_missing_empty_and_unseen_are_told_apart() -> None:
    p = plan()
    state = folded(p, [sale("1", NOON)])
    at = NOON + DAY
    statuses = {value.name: value for value in explain(p, state, at, at)}
    assert (statuses["paid_sum_7d"].status, statuses["paid_sum_7d"].value) == ("known", 1.0)
    assert (statuses["calls_count_28d"].status, statuses["calls_count_28d"].value) == ("empty", 0.0)
    assert (statuses["calls_since_last"].status, statuses["calls_since_last"].value) == ("empty", None)
    assert {value.status for value in explain(p, None, at, at)} == {"unseen"}
    stale = at - 2 * DAY - 1
    assert {value.status for value in explain(p, state, at, stale)} == {"missing"}
    assert {value.age_ms for value in explain(p, state, at, stale)} == {2 * DAY + 1}
    assert {value.status for value in explain(p, state, at, None)} == {"missing"}
    assert np.isnan(row(p, state, at, stale)).all()
    assert np.isnan(cross(p, state, at, {"kind": ["a"]}, None)).all()
    assert not np.isnan(row(p, state, at, at - 2 * DAY)[0])


def test_an_unseen_customer_reads_as_an_empty_one() -> None:
    p = plan()
    assert row(p, None, NOON, NOON).tobytes() == row(p, empty(p), NOON, NOON).tobytes()
    names = [feature.name for feature in p.customer_features]
    unseen = dict(zip(names, row(p, None, NOON, NOON).tolist(), strict=True))
    assert unseen["paid_since_last"] == 400.0, "the declared default"
    assert unseen["paid_sum_7d"] == 0.0
    assert math.isnan(unseen["paid_min_7d"]), "no default was declared, and zero would be a lie"


def test_keys_of_unequal_length_are_refused_and_no_offers_give_no_rows() -> None:
    p = plan()
    with pytest.raises(ValueError, match="one length"):
        cross(p, None, NOON, {"kind": ["a"], "reason": []}, NOON)
    assert cross(p, None, NOON, {"kind": [], "reason": []}, NOON).shape == (0, len(p.cross_features))


@given(st.lists(st.integers(1, 2**53), min_size=1, max_size=40))
@settings(max_examples=50, deadline=None)
def test_extreme_amounts_stay_exact(amounts: list[int]) -> None:
    p = plan()
    log = [sale(n, NOON + n, amount=amount) for n, amount in enumerate(amounts)]
    state = decode(p, encode(p, folded(p, log)))
    names = [feature.name for feature in p.customer_features]
    value = row(p, state, NOON + 1000, NOON + 1000)[names.index("paid_sum_ever")]
    assert value == np.float32(sum(amounts) / DECIMAL)
    assume(len(amounts) > 1)
    assert encode(p, settled(p, folded(p, log))) == encode(p, settled(p, folded(p, log[::-1])))
