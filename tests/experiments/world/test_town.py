"""The town: the same for a seed, its gains add up to what is earned, people are as they are said to be."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from experiments.world.coins import coin
from experiments.world.effects import Effects
from experiments.world.happening import ATTRIBUTED, START, Happened, Moment
from experiments.world.needs import DAY, KINDS, MINUTE
from experiments.world.response import Deal
from experiments.world.town import Town

DEALS = [Deal(f"{kind.name}-{off}", number, off) for number, kind in enumerate(KINDS) for off in (0.0, 0.25)]
Say = Callable[[Town, Moment], Deal | None]


def nothing(town: Town, moment: Moment) -> Deal | None:
    return None


def anything(town: Town, moment: Moment) -> Deal | None:
    return DEALS[int(coin(*moment.key, 9) * len(DEALS))]


def best(town: Town, moment: Moment) -> Deal | None:
    gains = town.minds.truth(moment, DEALS)
    return DEALS[int(np.argmax(gains))]


def lived(town: Town, say: Say = nothing, step: int = 15 * MINUTE) -> list[Happened]:
    told = []
    for until in range(START + step, town.end + step, step):
        while True:
            happened, moments = town.advance(min(until, town.end))
            told += happened
            if not moments:
                break
            assert len({moment.person for moment in moments}) == len(moments)
            for moment in moments:
                town.answer(moment, say(town, moment))
    town.settle()
    return told


def town(seed: int = 1, customers: int = 60, days: int = 7, **effects: float) -> Town:
    return Town(seed, customers, days, Effects().changed(effects))


def test_the_same_seed_is_the_same_town_and_another_another() -> None:
    once = lived(town(), anything)
    assert once == lived(town(), anything)
    assert once != lived(town(seed=2), anything)


def test_it_does_not_matter_in_which_steps_time_goes_on_nor_who_listens() -> None:
    once = lived(town(), anything)
    assert sorted(once) == sorted(lived(town(), anything, step=DAY))
    heard = Town(1, 60, 7, Effects(), frozenset({"looked"}), 60_000)
    assert sorted(lived(heard, lambda t, m: None if m.heard else anything(t, m))) == sorted(once)


def test_whoever_is_told_nothing_does_what_was_drawn_beforehand() -> None:
    quiet = town(bots=0.0)
    told = lived(quiet)
    bought = sorted(each.at for each in told if each.type == "bought")
    drawn = quiet.needs.buys
    assert bought == sorted(drawn[(drawn >= 0) & (drawn < quiet.end)].tolist())
    assert quiet.tally.gain.sum() == 0
    assert {each.type for each in told} == {"opened", "looked", "bought", "signed_in"}


@pytest.mark.parametrize("say", [anything, best])
def test_gains_add_up_to_what_is_earned_over_silence(say: Say) -> None:
    """What each contact is truly worth, summed, is the mean of what tills book more than without any."""
    apart = []
    for seed in range(5):
        quiet, loud = town(seed, 150, 10, touchy=0.3), town(seed, 150, 10, touchy=0.3)
        lived(quiet)
        lived(loud, say)
        apart.append(loud.tally.margin - quiet.tally.margin - loud.tally.gain.sum(axis=1))
    each = np.concatenate(apart)
    assert abs(each.mean()) < 3 * each.std() / np.sqrt(len(each))
    assert each.std() > 0


def test_a_need_that_is_met_brings_nobody_back() -> None:
    loud = town(appeal=0.99, strength=1.0, browsing=0.0, bots=0.0)
    quiet = town(appeal=0.99, strength=1.0, browsing=0.0, bots=0.0)
    assert len(lived(loud, best)) < len(lived(quiet))
    assert loud.tally.taken > 20


def test_touchy_people_are_put_off_what_they_would_have_bought() -> None:
    effects = Effects().changed(
        {"touchy": 1.0, "put_off": 1.0, "organic": 0.9, "appeal": 0.001, "impulse": 0.0}
    )
    quiet, loud = Town(1, 60, 7, effects), Town(1, 60, 7, effects)
    lived(quiet)
    lived(loud, anything)
    assert loud.tally.put_off > 5
    assert loud.tally.margin.sum() < quiet.tally.margin.sum()
    assert loud.tally.gain.sum() < 0


def test_bots_look_at_everything_and_buy_nothing() -> None:
    robots = town(customers=5, bots=1.0)
    seen = Counter(each.type for each in lived(robots, anything))
    assert seen["bought"] == 0
    assert seen["opened"] > 5 * 7 * 6
    assert not robots.tally.gain.any()
    assert robots.tally.taken == 0


def test_messages_stop_when_they_are_switched_off() -> None:
    tired = Town(1, 30, 7, Effects().changed({"opt_out": 1.0}), frozenset({"looked"}), 1_000)
    reached: Counter[int] = Counter()

    def message(each: Town, moment: Moment) -> Deal | None:
        if moment.push and each.answer(moment, DEALS[0]):
            reached[moment.person] += 1
        return None

    told = lived(tired, message)
    assert set(reached.values()) == {1}
    assert tired.tally.opted_out == len(reached) == tired.tally.pushes
    off = [each for each in told if each.type == "messages_off"]
    assert len(off) == len(reached)


def test_ids_act_behind_their_link_unless_people_are_guests_or_strangers() -> None:
    told = lived(town(guests=0.0, strangers=0.0, second_device=1.0))
    linked: set[str] = set()
    for each in sorted(told, key=lambda each: each.at):
        if each.type == "signed_in":
            assert each.device is not None
            linked.add(each.device)
        elif each.device is not None:
            assert each.device in linked
    assert any(name.endswith("-2") for name in linked)


def test_strangers_have_a_past_with_both_ids_before_they_link() -> None:
    told = lived(town(customers=200, guests=0.0, strangers=1.0, organic=0.9, bots=0.0))
    links = {each.account: each.at for each in told if each.type == "signed_in"}
    both = 0
    for account, at in links.items():
        person = str(account).removeprefix("a")
        before = [each for each in told if each.at < at]
        both += any(e.account == account for e in before) and any(
            e.device is not None and e.device.startswith(f"d{person}") for e in before
        )
    assert both > 5


def test_a_purchase_is_credited_to_the_last_moment_that_showed_its_kind_within_a_day() -> None:
    busy = town(organic=0.6)
    shown: dict[tuple[int, int], Moment] = {}

    def say(each: Town, moment: Moment) -> Deal | None:
        deal = anything(each, moment)
        assert deal is not None
        shown[moment.person, deal.kind] = moment
        return deal

    credited = []
    for until in range(START + MINUTE, busy.end, MINUTE):
        while moments := busy.advance(until)[1]:
            for moment in moments:
                busy.answer(moment, say(busy, moment))
        for one in busy.conversions:
            assert 0 <= one.at - one.moment.at < ATTRIBUTED
            # Within this very minute something else may have been shown behind it.
            assert shown[one.moment.person, one.deal.kind].at in range(one.moment.at, until)
            credited.append(one)
        busy.conversions.clear()
    assert len(credited) >= busy.tally.taken * 0.5


def test_offers_that_are_late_do_not_change_who_people_are() -> None:
    """Arms meet the same people: what is drawn beforehand does not hang on what is said."""
    one, other = town(), town()
    lived(one, best)
    assert np.array_equal(one.needs.onset, other.needs.onset)
    assert np.array_equal(one.people.taste, other.people.taste)
