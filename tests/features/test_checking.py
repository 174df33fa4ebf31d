"""Many states are checked together as each is alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.checking import check_states
from features.fold import BlobDamaged, UnknownPlan, decode, empty, encode
from tests.features.workshop import NOON, call, folded, plan, sale

WHOLE = [encode(plan(), folded(plan(), [sale(n, NOON + n), call(9, NOON)][:n])) for n in range(3)]
STRANGE = encode(plan(lateness="3d"), empty(plan(lateness="3d")))
cut = st.builds(lambda blob, at: blob[: at % len(blob)], st.sampled_from(WHOLE), st.integers(0, 500))
altered = st.builds(
    lambda blob, at, bit: blob[:at] + bytes([blob[at] ^ 1 << bit]) + blob[at + 1 :],
    st.sampled_from(WHOLE),
    st.integers(0, min(map(len, WHOLE)) - 1),
    st.integers(0, 7),
)


@given(st.lists(st.sampled_from(WHOLE) | cut | altered | st.just(STRANGE), max_size=6))
def test_many_are_checked_as_each_alone(blobs: list[bytes]) -> None:
    def outcome(check: object) -> object:
        try:
            check()  # type: ignore[operator]
        except (BlobDamaged, UnknownPlan) as error:
            return type(error), str(error)
        return None

    assert outcome(lambda: check_states(plan(), blobs)) == outcome(
        lambda: [decode(plan(), blob) for blob in blobs]
    )


def test_one_of_another_plan_is_told() -> None:
    check_states(plan(), [])
    check_states(plan(), WHOLE)
    with pytest.raises(UnknownPlan):
        check_states(plan(), [*WHOLE, STRANGE])
