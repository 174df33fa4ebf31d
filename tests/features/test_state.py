"""The bytes of a state: canonical, checked, and refused when damaged or of another plan."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.contract import FARTHEST
from events.envelope import Field
from features.fold import BlobDamaged, Fate, UnknownPlan, decode, empty, encode, fold
from features.remembered import Entry, Remembered, Wait, pack
from features.row import StateAhead, cross, explain, row
from tests.features.oracle import Past
from tests.features.workshop import DAY, NOON, bare, call, folded, plan, rich, sale


def blob() -> bytes:
    return encode(plan(), folded(plan(), [sale(n, NOON + n * DAY, kind=str(n)) for n in range(20)]))


def test_every_damage_is_found() -> None:
    good = blob()
    assert encode(plan(), decode(plan(), good)) == good
    for cut in (0, 1, 5, 6, len(good) // 2, len(good) - 1):
        with pytest.raises(BlobDamaged):
            decode(plan(), good[:cut])
    for at in range(0, len(good), 7):
        with pytest.raises(BlobDamaged):
            decode(plan(), good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
    with pytest.raises(BlobDamaged):
        decode(plan(), good + b"\0")
    with pytest.raises(BlobDamaged):
        decode(plan(), b"hello world")


GOOD = blob()
PLACES = st.integers(0, len(GOOD) - 1)


@given(
    st.one_of(
        PLACES.map(lambda at: GOOD[:at]),
        PLACES.map(lambda at: GOOD[at:]),
        st.tuples(PLACES, st.integers(0, 7)).map(lambda p: flipped(*p)),
        st.tuples(PLACES, PLACES).map(lambda p: GOOD[: p[0]] + GOOD[p[1] :]),
        st.tuples(PLACES, st.binary(min_size=1, max_size=9)).map(
            lambda p: GOOD[: p[0]] + p[1] + GOOD[p[0] :]
        ),
        st.binary(max_size=200),
    )
)
@settings(max_examples=200)
def test_any_bytes_that_are_no_state_are_refused(raw: bytes) -> None:
    if raw == GOOD:
        return
    with pytest.raises(BlobDamaged):
        decode(plan(), raw)


def flipped(at: int, bit: int) -> bytes:
    return GOOD[:at] + bytes([GOOD[at] ^ 1 << bit]) + GOOD[at + 1 :]


def test_a_state_of_another_plan_names_both() -> None:
    other = plan(lateness="3d")
    with pytest.raises(UnknownPlan) as caught:
        decode(other, blob())
    assert plan().digest in str(caught.value)
    assert other.digest in str(caught.value)


def test_sums_past_64_bits_survive() -> None:
    p = plan()
    state = folded(p, [sale(n, NOON, amount=2**53 - 1) for n in range(3_000)])
    values = dict(
        zip([f.name for f in p.customer_features], row(p, state, NOON + 1, NOON).tolist(), strict=True)
    )
    assert values["paid_sum_hl1d"] == pytest.approx(3_000 * (2**53 - 1) / 10_000, rel=1e-6)
    assert values["paid_sum_7d"] == pytest.approx((2**63 - 1) / 10_000, rel=1e-6), (
        "held at the end, not wrapped"
    )


def test_positions_and_memory_come_back() -> None:
    p = plan()
    state = folded(p, [sale(1, NOON), call(2, NOON)])
    fold(p, state, call(3, NOON), 7, 12)
    state.remember(pack(Remembered({2: Entry(7, NOON, 5, -3, 9)}, [Wait(NOON + DAY, 2, NOON, -3, 9)])))
    again = decode(p, encode(p, state))
    assert (again.applied, again.memory) == ({0: 1, 7: 12}, state.memory)
    assert again.memory
    assert (again.newest, again.digest) == (NOON, p.digest)
    fold(p, again, call(4, NOON), 0, 2)
    assert again.memory == state.memory, "folding leaves it alone"


def test_an_empty_state_is_small() -> None:
    assert len(encode(plan(), empty(plan()))) <= 64


def test_amounts_of_time_not_events_make_a_state_big() -> None:
    p = plan()
    few = len(encode(p, folded(p, [sale(n, NOON + n * DAY // 10) for n in range(500)])))
    many = len(encode(p, folded(p, [sale(n, NOON + n * DAY // 100) for n in range(5_000)])))
    ids = 8 * (100 * 400 - 10 * 400)
    assert many < 3 * few + ids


def test_the_ends_of_time_and_of_numbers_are_kept_exactly() -> None:
    p = rich()
    most, dearest = 2**53 - 1, 10**15 - 1
    told: list[tuple[int, dict[str, Field]]] = [
        (0, {"amount": -dearest, "pieces": -most, "score": most, "kind": "", "note": "", "due": 0}),
        (1, {"amount": dearest, "pieces": most, "score": 4, "kind": ""}),
        (FARTHEST - 1, {"amount": dearest, "pieces": most}),
        (FARTHEST - 1, {"amount": dearest, "pieces": -most, "offer": "x" * 1_000, "due": FARTHEST}),
    ]
    log = [bare(n, at, **({"label": "", "offer": ""} | f)) for n, (at, f) in enumerate(told)]
    state = empty(p)
    for position, event in enumerate(log):
        assert fold(p, state, event, 2**32 - 1, 2**62 + position) is Fate.FOLDED
    state = decode(p, encode(p, state))
    assert state.applied == {2**32 - 1: 2**62 + 3}
    for at in (FARTHEST, FARTHEST + DAY, 2**46):
        past = Past(p, log, at)
        for feature, value in zip(p.customer_features, row(p, state, at, at).tolist(), strict=True):
            assert past.agrees(feature, value, None), (feature, value)
        keys = {match: ["", "x" * 1_000] for match in ("kind", "label", "offer")}
        crossed = cross(p, state, at, keys, at)
        for place, feature in enumerate(p.cross_features):
            for number, key in enumerate(keys.get(feature.match or "", ())):
                assert past.agrees(feature, float(crossed[number, place]), key), (feature, key)


def test_a_state_ahead_of_the_instant_is_refused_whatever_is_asked() -> None:
    p = rich()
    state = folded(p, [sale(1, NOON, label="a")])
    for at in (NOON, 0, -1):
        for ask in (row, explain):
            with pytest.raises(StateAhead, match="fold the log up to this one"):
                ask(p, state, at, at)
        with pytest.raises(StateAhead):
            cross(p, state, at, {"label": ["a"]}, at)
    assert np.isfinite(cross(p, state, NOON + 1, {"label": ["a"]}, NOON + 1)).any()
