import random
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from experiments.attribution import Attribution, Example
from models.catalogue import Catalogue
from models.decision import Decision
from models.placement import DAY_MS
from models.record import pack
from tests.models import cafe

HOUR = 3_600_000
MIDNIGHT = cafe.NOON + int((6 + 46 / 60 + 40 / 3600) * HOUR)  # 17:13:20 in New York


def plain(examples: list[Example]) -> list[tuple[str, str, int, bytes]]:
    return [(each.decision_id, each.offer, each.label, each.x.tobytes()) for each in examples]


def labels(examples: list[Example]) -> dict[str, int]:
    return {each.offer: each.label for each in examples}


def test_a_day_ends_at_the_local_midnight(catalogue: Catalogue) -> None:
    board = catalogue.placements["board"]
    zone = ZoneInfo("America/New_York")
    assert board.closes(cafe.NOON, zone) == MIDNIGHT
    assert board.closes(MIDNIGHT, zone) == MIDNIGHT + DAY_MS
    # The clocks go back on 2023-11-05: that day lasts 25 hours.
    assert board.closes(1_699_156_800_000, zone) == 1_699_156_800_000 + 25 * HOUR
    assert replace(board, attribution_ms=5).closes(cafe.NOON, zone) == cafe.NOON + 5


def test_conversions_teach_at_once_and_silence_at_the_end(catalogue: Catalogue) -> None:
    decision = cafe.asked(catalogue)
    taken, *others = [chosen.offer for chosen in decision.chosen]
    attribution = Attribution.of(catalogue)
    attribution.decision(pack(decision))
    attribution.outcome(decision.decision_id, taken, "impression", cafe.NOON + 1)
    attribution.outcome(decision.decision_id, taken, "conversion", cafe.NOON + HOUR)
    assert attribution.settle(cafe.NOON + HOUR) == []
    assert labels(attribution.settle(cafe.NOON + HOUR + 1)) == {taken: 1}
    assert attribution.settle(MIDNIGHT - 1) == []
    assert labels(attribution.settle(MIDNIGHT)) == dict.fromkeys(others, 0)
    assert attribution.settle(MIDNIGHT + 9 * DAY_MS) == []
    assert attribution.counts == {
        "decisions": 1,
        "outcomes_impression": 1,
        "outcomes_conversion": 1,
        "examples": 3,
        "positives": 1,
    }


def test_an_example_holds_what_the_decision_saw(catalogue: Catalogue) -> None:
    decision = cafe.asked(catalogue, told={"latte": 2})
    attribution = Attribution.of(catalogue)
    attribution.decision(pack(decision))
    shown = decision.matrix
    for example in attribution.settle(MIDNIGHT):
        position = next(each.position for each in decision.chosen if each.offer == example.offer)
        row = shown.offers[decision.slate.order[position - 1]]
        assert example.names == decision.assortment.columns.names
        np.testing.assert_array_equal(example.x, np.concatenate([shown.customer, row]))
        assert (example.customer, example.at, example.placement) == (cafe.CUSTOMER, cafe.NOON, "board")


def test_an_example_holds_its_own_offers_row_whatever_the_order_of_the_slate(catalogue: Catalogue) -> None:
    told = {"espresso": 1, "latte": 2, "oolong": 3, "sencha": 4}
    orders = set()
    for seed in range(20):
        decision = cafe.asked(catalogue, told=told, seed=seed)
        orders.add(decision.slate.order)
        attribution = Attribution.of(catalogue)
        attribution.decision(pack(decision))
        for example in attribution.settle(MIDNIGHT):
            value = example.x[example.names.index("told_count_ever")]
            assert value == told[example.offer]
    assert len(orders) > 3


@pytest.mark.parametrize(
    ("offer", "kind", "time", "reason"),
    [
        (None, "conversion", cafe.NOON - 1, "outcome_before_decision"),
        (None, "conversion", MIDNIGHT, "outcome_outside_window"),
        ("mate", "conversion", cafe.NOON + 1, "outcome_of_offer_not_in_decision"),
    ],
)
def test_what_does_not_count_is_counted_with_its_reason(
    catalogue: Catalogue, offer: str | None, kind: str, time: int, reason: str
) -> None:
    decision = cafe.asked(catalogue)
    attribution = Attribution.of(catalogue)
    attribution.decision(pack(decision))
    attribution.outcome(decision.decision_id, offer or decision.chosen[0].offer, kind, time)
    assert attribution.ignored == {reason: 1}
    assert set(labels(attribution.settle(MIDNIGHT)).values()) == {0}


def test_outcomes_wait_a_day_for_their_decision(catalogue: Catalogue) -> None:
    decision = cafe.asked(catalogue)
    taken = decision.chosen[0].offer
    attribution = Attribution.of(catalogue)
    attribution.outcome(decision.decision_id, taken, "conversion", cafe.NOON + 1)
    attribution.outcome("007-nobody-000000000000", taken, "conversion", cafe.NOON + 1)
    attribution.settle(cafe.NOON + 2)
    attribution.decision(pack(decision))
    assert labels(attribution.settle(cafe.NOON + 3)) == {taken: 1}
    attribution.settle(cafe.NOON + 1 + DAY_MS)
    assert attribution.ignored == {"outcome_of_unknown_decision": 1}


def test_after_the_window_nothing_is_taught_twice(catalogue: Catalogue) -> None:
    decision = cafe.asked(catalogue)
    taken = decision.chosen[0].offer
    attribution = Attribution.of(catalogue)
    attribution.decision(pack(decision))
    assert len(attribution.settle(MIDNIGHT)) == 3
    attribution.decision(pack(decision))
    attribution.outcome(decision.decision_id, taken, "conversion", cafe.NOON + 1)
    assert attribution.settle(MIDNIGHT + 1) == []
    attribution.settle(MIDNIGHT + DAY_MS)
    attribution.decision(pack(decision))
    assert attribution.settle(MIDNIGHT + 2 * DAY_MS) == []
    assert attribution.ignored == {
        "repeated_decision": 1,
        "outcome_after_settlement": 1,
        "decision_too_late": 1,
    }


def told(catalogue: Catalogue) -> tuple[list[Decision], list[tuple[str, str, str, int]]]:
    random_ = random.Random(3)
    decisions = [cafe.asked(catalogue, request_id=f"r{n}", at=cafe.NOON + n * HOUR) for n in range(12)]
    outcomes = [
        (decision.decision_id, chosen.offer, "conversion", decision.at + random_.randrange(10 * HOUR))
        for decision in decisions
        for chosen in decision.chosen
        if random_.random() < 0.4
    ]
    return decisions, outcomes


def test_order_and_repeats_do_not_matter(catalogue: Catalogue) -> None:
    decisions, outcomes = told(catalogue)
    expected: list[tuple[str, str, int, bytes]] | None = None
    for seed in range(4):
        shuffled = random.Random(seed)
        everything: list[Decision | tuple[str, str, str, int]] = [*decisions, *outcomes]
        everything += shuffled.choices(everything, k=10)
        shuffled.shuffle(everything)
        attribution = Attribution.of(catalogue)
        for each in everything:
            if isinstance(each, Decision):
                attribution.decision(pack(each))
            else:
                attribution.outcome(*each)
        found = plain(attribution.settle(MIDNIGHT + DAY_MS))
        assert len(found) == 36
        assert expected is None or found == expected
        expected = found


def test_a_dump_goes_on_where_it_was(catalogue: Catalogue, tmp_path: Path) -> None:
    decisions, outcomes = told(catalogue)
    straight, broken = Attribution.of(catalogue), Attribution.of(catalogue)
    taught: list[list[tuple[str, str, int, bytes]]] = [[], []]
    steps: list[Decision | tuple[str, str, str, int]] = [*outcomes[:5], *decisions, *outcomes[3:]]
    for n, step in enumerate(steps):
        for which, attribution in enumerate((straight, broken)):
            if isinstance(step, Decision):
                attribution.decision(pack(step))
            else:
                attribution.outcome(*step)
            taught[which] += plain(attribution.settle(cafe.NOON + n * HOUR))
        dumped = broken.dump()
        broken = Attribution.of(catalogue)
        broken.restore(dumped)
        assert broken.dump() == dumped
    assert taught[0] == taught[1]
    assert len(taught[0]) > 20
    assert straight.counts == broken.counts
    assert straight.pending == broken.pending


def test_pending_decisions_outlive_a_change_of_the_catalogue(catalogue: Catalogue, tmp_path: Path) -> None:
    """Their names travel with them; new decisions made of other columns are told apart."""
    before = Attribution.of(catalogue)
    decision = cafe.asked(catalogue)
    before.decision(pack(decision))
    text = cafe.OFFERS.replace("strength = 3", "strength = 3, fresh = 1")
    _, changed = cafe.opened(tmp_path / "changed", text)
    after = Attribution.of(changed)
    after.restore(before.dump())
    after.decision(pack(cafe.asked(catalogue, request_id="r-2")))
    after.decision(pack(cafe.asked(changed, request_id="r-3")))
    names = {example.names for example in after.settle(MIDNIGHT)}
    assert names == {catalogue.assortment("board").columns.names, changed.assortment("board").columns.names}
    assert after.ignored == {"decision_of_other_columns": 1}


def test_silent_decisions_teach_nothing(catalogue: Catalogue) -> None:
    attribution = Attribution.of(catalogue)
    silent = next(
        decision
        for decision in (cafe.asked(catalogue, "whisper", request_id=f"r{n}") for n in range(300))
        if decision.slate.silent
    )
    attribution.decision(pack(silent))
    attribution.outcome(silent.decision_id, "latte", "conversion", cafe.NOON + 1)
    assert attribution.settle(MIDNIGHT + 9 * DAY_MS) == []
    assert attribution.ignored == {"outcome_of_offer_not_in_decision": 1}
