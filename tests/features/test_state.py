"""The bytes of a state: canonical, checked, and refused when damaged or of another plan."""

import pytest

from features.fold import BlobDamaged, UnknownPlan, decode, empty, encode
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
    state = folded(p, [sale(n, NOON, amount=2**53 - 1) for n in range(50)])
    again = decode(p, encode(p, state))
    assert again.banks == state.banks
    assert max(max(tile) for tile in state.banks[0][""][-1].values()) > 2**63


def test_positions_ids_and_memory_come_back() -> None:
    p = plan()
    state = folded(p, [sale(1, NOON), call(2, NOON)])
    state.applied[7] = 12
    state.memory["t"] = [True, 5, [[1, 2, "id", 3, ["k"], {"x": 1.5}, "c"]], []]
    again = decode(p, encode(p, state))
    assert (again.applied, again.recent, again.memory) == ({0: 1, 7: 12}, state.recent, state.memory)
    assert (again.newest, again.digest) == (NOON, p.digest)


def test_an_empty_state_is_small() -> None:
    assert len(encode(plan(), empty(plan()))) < 48


def test_amounts_of_time_not_events_make_a_state_big() -> None:
    p = plan()
    few = len(encode(p, folded(p, [sale(n, NOON + n * DAY // 10) for n in range(500)])))
    many = len(encode(p, folded(p, [sale(n, NOON + n * DAY // 100) for n in range(5_000)])))
    ids = 8 * (100 * 400 - 10 * 400)
    assert many < 3 * few + ids
