"""What an offer is worth: the formula against plain enumeration of what may happen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.world.effects import Effects
from experiments.world.needs import DAY, MARGIN
from experiments.world.response import Mood, attention, chances, opts_out

part = st.floats(0, 1)


@given(
    ready=part,
    by_itself=part,
    sense=st.floats(0, 40),
    touchy=st.booleans(),
    discount=st.floats(0, 0.4),
    attends=part,
)
def test_the_gain_is_the_mean_over_everything_that_may_happen(
    ready: float, by_itself: float, sense: float, touchy: bool, discount: float, attends: float
) -> None:
    price = 30.0
    told = chances(Effects(), ready, by_itself, sense, touchy, price, discount, attends)
    assert 0 <= told.take <= 1
    assert told.put_off == (Effects().put_off * attends if touchy and by_itself else 0)
    mean = 0.0
    for takes, p in ((True, told.take), (False, 1 - told.take)):
        for off, w in ((True, told.put_off), (False, 1 - told.put_off)):
            for would, q in ((True, by_itself), (False, 1 - by_itself)):
                if takes:
                    earned = price * (MARGIN - discount)
                else:
                    earned = price * MARGIN if would and not off else 0.0
                mean += p * w * q * (earned - (price * MARGIN if would else 0.0))
    assert told.gain == pytest.approx(mean, abs=1e-9)


@given(attends=part, ready=part)
def test_who_would_have_bought_anyway_is_worth_nothing_and_costs_the_discount(
    attends: float, ready: float
) -> None:
    plain = chances(Effects(), ready, 1.0, 5.0, False, 20.0, 0.0, attends)
    cut = chances(Effects(), ready, 1.0, 5.0, False, 20.0, 0.25, attends)
    assert plain.gain == pytest.approx(0, abs=1e-9)
    assert cut.gain == pytest.approx(-cut.take * 5.0, abs=1e-9)


def test_speaking_to_the_touchy_costs_what_they_would_have_bought() -> None:
    e = Effects()
    told = chances(e, 0.0, 0.8, 5.0, True, 20.0, 0.0, 1.0)
    assert told.gain == pytest.approx(
        -e.put_off * 0.8 * MARGIN * 20.0 * (1 - e.impulse) + e.impulse * 0.2 * 8.0
    )


@given(st.lists(st.tuples(st.integers(0, 5 * DAY), st.floats(0.01, 1)), min_size=1, max_size=8))
def test_fatigue_is_the_sum_of_what_is_left_of_each_contact(contacts: list[tuple[int, float]]) -> None:
    mood, recovery = Mood(), 2.0
    for at, by in sorted(contacts):
        mood.tire(by, at, recovery)
    now = 6 * DAY
    plain = sum(by * 2 ** (-(now - at) / (recovery * DAY)) for at, by in contacts)
    assert mood.fatigue(now, recovery) == pytest.approx(plain)


def test_tired_people_look_away_and_want_no_more_sooner() -> None:
    e = Effects()
    assert attention(e, 0.0, False) == 1
    assert attention(e, 0.0, True) == e.heard
    assert attention(e, 2.0, True) < attention(e, 1.0, True)
    assert e.opt_out == opts_out(e, 0.0) < opts_out(e, 1.0) <= 1
