"""The baselines against the plainest reading of their formulas; the oracle against every offer there is."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from experiments.attribution import Attribution
from experiments.world.baselines import Oracle, Popularity, Random, Thompson
from experiments.world.contextual import LinUCB, Nightly
from experiments.world.effects import Effects
from experiments.world.happening import ATTRIBUTED, START, Moment
from experiments.world.knowledge import Knowledge, Situation
from experiments.world.lessons import Lesson, Lessons
from experiments.world.live import Run
from experiments.world.needs import HOUR
from experiments.world.policy import CARD, PUSH, Asked
from experiments.world.town import Town
from features.declare import load
from features.plan import Plan, compile_plan
from kairos.simulate.arms import Setting
from kairos.simulate.ours import Ours
from models import catalogue as offers
from models.catalogue import Catalogue
from models.record import pack

FOLDER = Path("playbooks/world")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return compile_plan(load(FOLDER))


@pytest.fixture(scope="module")
def catalogue(plan: Plan) -> Catalogue:
    return offers.load(FOLDER, plan)


def situation(knowledge: Knowledge, catalogue: Catalogue, at: int = START + HOUR) -> Situation:
    moment = Moment(at, 0, "d00000-1", False, (1, 2))
    (profile,) = knowledge.of([moment])
    return knowledge.situation(moment, profile, catalogue.assortment(CARD))


def test_linucb_is_ridge_regression_and_its_width(plan: Plan, catalogue: Catalogue) -> None:
    """A kept inverse and a direct solve say the same: theta = A^-1 b, width = sqrt(x' A^-1 x)."""
    knowledge = Knowledge(plan, 1_000)
    policy = LinUCB(knowledge, catalogue, 1)
    where = situation(knowledge, catalogue)
    assortment = catalogue.assortment(CARD)
    _, x = policy.worth(where, assortment)
    assert x is not None
    chance = np.random.Generator(np.random.PCG64(3))
    width = x.shape[1]
    a = np.tile(np.eye(width), (policy.offers, 1, 1))
    b = np.zeros((policy.offers, width))
    lessons = []
    for _ in range(60):
        offer, seen, label = int(chance.integers(3)), chance.normal(size=width), int(chance.random() < 0.4)
        a[offer] += np.outer(seen, seen)
        b[offer] += label * seen
        lessons.append(Lesson(offer, seen, label, 0))
    policy.taught(lessons, 0)
    worth, _ = policy.worth(where, assortment)
    for n, offer in enumerate(where.able.offers.tolist()):
        theta = np.linalg.solve(a[offer], b[offer])
        spread = np.sqrt(x[n] @ np.linalg.solve(a[offer], x[n]))
        plain = (theta @ x[n] + LinUCB.ALPHA * spread) * assortment.values[offer]
        assert worth[n] == pytest.approx(plain, abs=1e-8)


def test_thompson_believes_what_was_counted(plan: Plan, catalogue: Catalogue) -> None:
    policy = Thompson(Knowledge(plan, 1_000), catalogue, 1)
    policy.taught([Lesson(0, None, n < 30, 0) for n in range(100)], 0)
    drawn = np.array([policy.rates()[0] for _ in range(4_000)])
    taken, left = 30 + 0.03 * 20, 70 + 0.97 * 20
    assert drawn.mean() == pytest.approx(taken / (taken + left), abs=0.005)
    variance = taken * left / ((taken + left) ** 2 * (taken + left + 1))
    assert drawn.var() == pytest.approx(variance, rel=0.1)


def test_popularity_is_the_rate_shrunk_to_the_prior(plan: Plan, catalogue: Catalogue) -> None:
    policy = Popularity(Knowledge(plan, 1_000), catalogue, 1)
    policy.taught([Lesson(2, None, n < 10, 0) for n in range(40)], 0)
    assert policy.rates()[2] == pytest.approx((10 + 0.03 * 50) / (40 + 50))
    assert policy.rates()[1] == pytest.approx(0.03)


def test_random_says_everything_and_nothing_alike(plan: Plan, catalogue: Catalogue) -> None:
    knowledge = Knowledge(plan, 1_000)
    policy = Random(knowledge, catalogue, 1)
    moment = Moment(START + HOUR, 0, "d00000-1", False, (1,))
    (profile,) = knowledge.of([moment])
    said = [policy.choose([Asked(moment, profile)])[0] for _ in range(2_300)]
    counts = {each: said.count(each) for each in set(said)}
    assert len(counts) == 22, "21 offers that have begun, and silence"
    assert min(counts.values()) > 50


def test_the_oracle_makes_the_offer_of_the_greatest_true_gain_and_none_that_costs(plan: Plan) -> None:
    setting = Setting.of(FOLDER, 40, 4, Effects())
    town, knowledge = Town(2, 40, 4, setting.effects, setting.listens, 1_000), Knowledge(plan, 1_000)
    deals = dict(setting.deals)
    oracle = Oracle(knowledge, setting.catalogue, town, deals)
    said = silent = 0

    def watch(asked: Asked, offer: str | None) -> None:
        nonlocal said, silent
        gains = {deal.offer: town.minds.truth(asked.moment, [deal])[0] for deal in oracle.open_to(asked)}
        price = Oracle.PUSH if asked.placement == PUSH else Oracle.CARD
        if offer is None:
            silent += 1
            assert all(gain <= price for gain in gains.values())
        else:
            said += 1
            assert gains[offer] == max(gains.values()) > price

    for _ in Run(town, knowledge, oracle, deals, watch).steps():
        pass
    assert said > 20
    assert silent > 20


def test_lessons_say_of_each_showing_what_attribution_says(plan: Plan, catalogue: Catalogue) -> None:
    """The baselines are taught what Kairos is taught: the same labels, certain at the same instants."""
    knowledge = Knowledge(plan, 1_000)
    ours, lessons, attribution = Ours(knowledge, catalogue, 1), Lessons(), Attribution.of(catalogue)
    chance, told = np.random.Generator(np.random.PCG64(5)), list[tuple[int, str, int]]()
    names: dict[str, int] = {}
    plain: list[tuple[int, str, int]] = []
    outcomes: list[tuple[int, Moment, str, str]] = []
    for step in range(80):
        now = START + step * HOUR
        moment = Moment(now, 0, "d00000-1", False, (step,))
        (profile,) = knowledge.of([moment])
        (decision,) = ours.decide([Asked(moment, profile)], CARD)
        attribution.decision(pack(decision))
        if decision.chosen:
            offer = decision.chosen[0].offer
            number = names.setdefault(offer, len(names))
            lessons.showed(moment, number, None)
            if chance.random() < 0.5:
                outcomes.append(
                    (now + int(chance.integers(1, ATTRIBUTED)), moment, decision.decision_id, offer)
                )
        for at, which, identity, offer in [each for each in outcomes if each[0] < now]:
            lessons.converted(which, at)
            attribution.outcome(identity, offer, "conversion", at)
        outcomes = [each for each in outcomes if each[0] >= now]
        plain += _told(lessons.certain(now))
        told += [(e.at, e.offer, e.label) for e in attribution.settle(now)]
    by_number = {number: offer for offer, number in names.items()}
    assert sorted((at, by_number[int(n)], label) for at, n, label in plain) == sorted(told)
    assert 0 < sum(label for _, _, label in told) < len(told)


def _told(lessons: Sequence[Lesson]) -> list[tuple[int, str, int]]:
    return [(each.at, str(each.offer), each.label) for each in lessons]


def test_nightly_has_a_model_once_the_nights_know_enough(plan: Plan, catalogue: Catalogue) -> None:
    policy = Nightly(Knowledge(plan, 1_000), catalogue, 1)
    width = len(catalogue.assortment(CARD).columns.names)
    chance = np.random.Generator(np.random.PCG64(1))
    for day in range(3):
        lessons = []
        for n in range(200):
            x = chance.normal(size=width)
            lessons.append(Lesson(n % 4, x, int(x[0] > 0), START + day * 24 * HOUR + n * 1_000))
        policy.taught(lessons, START + day * 24 * HOUR + 23 * HOUR)
        assert (policy.model is not None) == (day == 2), "a first day behind it, a last one to judge by"
        policy.taught([], START + (day + 1) * 24 * HOUR + 1)
