import numpy as np

from models.catalogue import Catalogue
from models.decision import Decision
from models.eligibility import Indices, eligible
from models.scorer import Floats
from tests.models import cafe


def refusals(decision: Decision) -> dict[str, list[str]]:
    offers = decision.assortment.offers
    return {
        refusal.rule: [offers[n].id for n in np.flatnonzero(refusal.offers)]
        for refusal in decision.eligibility.refusals
    }


def able(decision: Decision) -> list[str]:
    return [decision.assortment.offers[n].id for n in decision.eligibility.offers]


def test_dates_are_checked_without_a_rule(catalogue: Catalogue) -> None:
    now = cafe.asked(catalogue)
    assert refusals(now) == {"expired": ["mate"]}  # its end is exclusive, and now
    before = cafe.asked(catalogue, at=cafe.NOON - 1)
    assert "mate" in able(before)
    long_ago = cafe.asked(catalogue, at=cafe.NOON - 20 * 86_400_000)
    assert refusals(long_ago) == {"not_yet_valid": ["latte"]}


def test_rules_refuse_with_their_reason(catalogue: Catalogue) -> None:
    decision = cafe.asked(
        catalogue,
        context={"weather": "hot"},
        row=np.array([1, 0.5], dtype=np.float32),
        told={"latte": 7},
    )
    assert refusals(decision) == {
        "expired": ["mate"],
        "hot_weather": ["oolong", "sencha"],
        "regulars": ["espresso"],
        "no_repeats": ["latte"],
    }
    assert able(decision) == []
    reasons = {refusal.rule: refusal.reason for refusal in decision.eligibility.refusals}
    assert reasons["regulars"] == "The strongest drinks are for regulars."
    rules = decision.assortment.rules
    assert {rule: rules.reason(rule) for rule in reasons} == reasons


def test_an_offers_own_condition_is_its_own(catalogue: Catalogue) -> None:
    decision = cafe.asked(catalogue, row=np.array([3, 0.5], dtype=np.float32))
    # Sencha's strength is not known, but three drinks make a regular whatever it is.
    assert refusals(decision) == {"expired": ["mate"], "offer_condition_1": ["sencha"]}


def test_what_is_unknown_refuses_and_says_so(catalogue: Catalogue) -> None:
    """A missing value never lets an offer through, in any placement; a known one beside it may decide."""
    unread = np.array([np.nan, np.nan], dtype=np.float32)
    for placement in ("board", "whisper"):
        decision = cafe.asked(catalogue, placement, row=unread)
        # Espresso and sencha need to know how much was drunk; the weaker drinks do not.
        assert refusals(decision) == {
            "expired": ["mate"],
            "regulars_unknown": ["espresso", "sencha"],
            "offer_condition_1_unknown": ["sencha"],
        }
        assert able(decision) == ["latte", "oolong"]
    reasons = {refusal.rule: refusal.reason for refusal in decision.eligibility.refusals}
    assert "unknown" in reasons["regulars_unknown"]


def test_missing_context_refuses(catalogue: Catalogue) -> None:
    decision = cafe.asked(catalogue, context={})
    assert refusals(decision)["hot_weather_unknown"] == ["oolong", "sencha"]


def test_dates_hold_from_the_instant_they_name_whenever_they_are_asked(catalogue: Catalogue) -> None:
    """What is remembered of a stretch of time is of that stretch: dates are asked back and forth."""
    rules = catalogue.assortment("board").rules
    assert len(rules.changes) == 4, "two dates, always and never"
    for at in [each + late for each in rules.changes[1:-1] for late in (1, 0, -1)] * 2:
        left, refusals = rules.dated(at)
        allowed = (rules.valid_from <= at) & (at < rules.valid_to)
        assert left.tolist() == np.flatnonzero(allowed).tolist()
        refused = [each.offers for each in refusals]
        assert np.any([*refused, ~allowed], axis=0).tolist() == (~allowed).tolist()


def test_live_values_are_only_computed_for_what_cheap_rules_left(catalogue: Catalogue) -> None:
    board = catalogue.assortment("board")
    asked: list[list[int]] = []

    def cross_for(offers: Indices) -> Floats:
        asked.append(offers.tolist())
        return np.zeros((len(offers), 2), dtype=np.float32)

    found = eligible(board.rules, cafe.ROW, cross_for, cafe.NOON, {"weather": "hot"})
    assert asked == [[0, 1]]
    assert found.cross.shape == (2, 2)
    nothing = eligible(board.rules, cafe.ROW * 0, cross_for, 0, {"weather": "hot"})
    assert nothing.cross.shape[0] == len(nothing.offers)
