"""The demo's days: laid on the local calendar, every redemption day has a basket."""

import pytest

from kairos.demo.shopping import Shopping


@pytest.fixture(scope="module")
def shopping() -> Shopping:
    return Shopping()


def test_every_redemption_day_has_a_basket_and_was_sent(shopping: Shopping) -> None:
    household_days = redemptions = 0
    for day in shopping.days():
        shoppers = set(day.lines.household_id)
        redeemers = set(day.redemptions.household_id)
        assert redeemers <= shoppers, f"{day.day}: households redeem without a basket"
        household_days += len(redeemers)
        redemptions += len(day.redemptions)
        sent = {moment.household: moment.campaigns for moment in day.moments}
        for row in day.redemptions.itertuples():
            assert row.campaign in sent[row.household_id]
    assert household_days == 1_107, "with UTC days it would be 984"
    assert redemptions == 2_102


def test_nothing_of_a_day_lies_outside_it_and_redemptions_come_last(shopping: Shopping) -> None:
    for number, day in enumerate(shopping.days()):
        if number % 30 == 0 and len(day.lines):
            assert day.start <= day.lines.time.min()
            assert day.lines.time.max() < day.end
            last = day.lines.groupby("household_id").time.max()
            assert all(row.time > last[row.household_id] for row in day.redemptions.itertuples())
            first = day.lines.groupby("household_id").time.min()
            assert all(moment.at < first[moment.household] for moment in day.moments)


def test_nothing_of_a_day_but_its_baskets_comes_before_one_of_its_decisions(shopping: Shopping) -> None:
    sends = 0
    for day in shopping.days():
        last = max((moment.at for moment in day.moments), default=day.start)
        for time in day.sends.time:
            assert last < time < day.end, f"{day.day}: a decision would not know of a send in its past"
        sends += len(day.sends)
    assert sends > 5_000


def test_moments_are_those_the_platform_notes_counted(shopping: Shopping) -> None:
    moments = [moment for day in shopping.days() for moment in day.moments]
    pairs = sum(len(moment.campaigns) for moment in moments)
    positives = sum(len({campaign for campaign, _ in moment.redeemed}) for moment in moments)
    assert (len(moments), pairs, positives) == (52_743, 65_843, 1_148)
