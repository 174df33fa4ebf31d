"""Faults said so that people can mend them."""

from hypothesis import given
from hypothesis import strategies as st

from events.faults import Fault, PlaybookRefused, did_you_mean, nearest

names = st.lists(st.text("abcdefgh_", min_size=1), min_size=1, max_size=6, unique=True)


@given(names)
def test_a_known_name_is_nearest_to_itself(known: list[str]) -> None:
    for name in known:
        assert nearest(name, known) == name
        assert nearest(name.upper(), known) == name


@given(names, st.text())
def test_the_nearest_name_is_a_known_one_or_none(known: list[str], name: str) -> None:
    assert nearest(name, known) in {*known, None}


def test_a_slip_of_the_pen_is_recognised_and_a_guess_is_not_made_of_nothing() -> None:
    known = ["amount", "quantity", "coupon_discount"]
    assert nearest("ammount", known) == "amount"
    assert nearest("coupon-discount", known) == "coupon_discount"
    assert nearest("zebra", known) is None
    assert nearest("amount", []) is None
    assert did_you_mean("zebra", known) == "known are amount, coupon_discount, quantity"


def test_a_refused_playbook_lists_every_fault() -> None:
    faults = [Fault("a.toml", "line 1", "x", "y", "do z"), Fault("b.toml", "", "x", "y")]
    refused = PlaybookRefused(faults)
    assert refused.faults == tuple(faults)
    assert str(refused).splitlines() == [
        "2 faults in the playbook:",
        "  a.toml: line 1: expected x, found y; do z",
        "  b.toml: expected x, found y",
    ]
