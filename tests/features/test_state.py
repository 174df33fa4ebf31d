"""The bytes of a state: canonical, checked, and refused when damaged or of another plan."""

import pytest

from features.fold import BlobDamaged, UnknownPlan, decode, empty, encode, fold
from features.row import row
from tests.features.workshop import DAY, NOON, call, folded, plan, sale


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


def test_a_state_of_another_plan_names_both() -> None:
    other = plan(lateness="3d")
    with pytest.raises(UnknownPlan) as caught:
        decode(other, blob())
    assert plan().digest in str(caught.value)
    assert other.digest in str(caught.value)


def test_sums_past_64_bits_survive() -> None:
    p = plan()
    state = folded(p, [sale(n, NOON, amount=2**53 - 1) for n in range(3_000)])
    values = dict(zip([f.name for f in p.customer_features], row(p, state, NOON + 1, NOON).tolist(), strict=True))
    assert values["paid_sum_hl1d"] == pytest.approx(3_000 * (2**53 - 1) / 10_000, rel=1e-6)
    assert values["paid_sum_7d"] == pytest.approx((2**63 - 1) / 10_000, rel=1e-6), "held at the end, not wrapped"


def test_positions_and_memory_come_back() -> None:
    p = plan()
    state = folded(p, [sale(1, NOON), call(2, NOON)])
    fold(p, state, call(3, NOON), 7, 12)
    state.memory["t"] = [True, 5, [[1, 2, "id", 3, ["k"], {"x": 1.5}, "c"]], []]
    again = decode(p, encode(p, state))
    assert (again.applied, again.memory) == ({0: 1, 7: 12}, state.memory)
    assert (again.newest, again.digest) == (NOON, p.digest)
    fold(p, again, call(4, NOON), 0, 2)
    assert again.memory == state.memory, "folding leaves it alone"


def test_an_empty_state_is_small() -> None:
    assert len(encode(plan(), empty(plan()))) <= 52


def test_amounts_of_time_not_events_make_a_state_big() -> None:
    p = plan()
    few = len(encode(p, folded(p, [sale(n, NOON + n * DAY // 10) for n in range(500)])))
    many = len(encode(p, folded(p, [sale(n, NOON + n * DAY // 100) for n in range(5_000)])))
    ids = 8 * (100 * 400 - 10 * 400)
    assert many < 3 * few + ids
