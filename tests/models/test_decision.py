from dataclasses import replace
from functools import cache

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.catalogue import Catalogue
from models.decision import customer_of, decide_all, decision_id, seed_of
from models.placement import BadContext
from models.record import pack
from models.scorer import Matrix, Scores
from models.scorers.blend import Blend
from models.scorers.lightgbm_ranker import LightGBMRanker, artefact
from models.scorers.prior import Prior
from models.scorers.river_propensity import RiverPropensity
from models.scorers.river_scorer import RiverScorer
from tests.models import cafe


class Fixed:
    """A scorer that says what it is told to, by the first cross feature's column of `told`."""

    def __init__(self, name: str, scores: list[float]) -> None:
        self.name, self.version, self._scores = name, "7", scores

    def score(self, *matrices: Matrix) -> Scores:
        return np.concatenate([self._scores[: len(each)] for each in matrices])


def test_the_best_value_is_likeliest_first(catalogue: Catalogue) -> None:
    first = [cafe.asked(catalogue, request_id=f"r{n}").chosen[0].offer for n in range(200)]
    # Espresso is worth twice the others at the same probability: e^(log 2 / 0.5) = 4 times as likely.
    assert 0.45 < first.count("espresso") / 200 < 0.7


def test_answer_says_treatment_probability_and_exact_propensity(catalogue: Catalogue) -> None:
    decision = cafe.asked(catalogue)
    assert [chosen.position for chosen in decision.chosen] == [1, 2, 3]
    espresso = next(chosen for chosen in decision.chosen if chosen.offer == "espresso")
    assert espresso.treatment == {"text": "Short and strong"}
    assert espresso.probability == pytest.approx(0.1)
    assert tuple(chosen.propensity for chosen in decision.chosen) == decision.slate.probabilities
    assert decision.slate.probability == pytest.approx(np.prod(decision.slate.probabilities))


def test_silence_has_a_price(catalogue: Catalogue) -> None:
    """At a value of 0.1 silence weighs as much as one ordinary drink at a probability of 0.1."""
    decisions = [cafe.asked(catalogue, "whisper", request_id=f"r{n}") for n in range(300)]
    silent = [decision for decision in decisions if decision.slate.silent]
    expected = 1 / (1 + 4 + 3)  # espresso counts four, latte, oolong and sencha one each
    assert len(silent) / 300 == pytest.approx(expected, abs=0.07)
    assert all(not decision.chosen for decision in silent)
    assert silent[0].slate.probability == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("online", "batch", "rung", "models"),
    [
        (False, False, "static", {"prior": "declared"}),
        (True, False, "online", {"river": "7"}),
        (False, True, "batch", {"lightgbm": "7"}),
        (True, True, "full", {"river": "7", "lightgbm": "7"}),
    ],
)
def test_rungs(catalogue: Catalogue, online: bool, batch: bool, rung: str, models: dict[str, str]) -> None:
    blend = Blend(
        prior=Prior(0.1),
        online=Fixed("river", [0.2, 0.1, 0.1, 0.1]) if online else None,
        batch=Fixed("lightgbm", [0.05, 0.1, 0.1, 0.1]) if batch else None,
    )
    decision = cafe.asked(catalogue, scorers=blend)
    assert (decision.scored.rung, decision.models) == (rung, models)
    assert decision.scored.probability[1:].tolist() == pytest.approx([0.1] * 3)
    if rung == "full":  # the mean of the logits of 0.2 and 0.05
        assert decision.scored.probability[0] == pytest.approx(0.10291, abs=1e-4)


def test_the_same_question_has_the_same_answer_to_the_byte(catalogue: Catalogue) -> None:
    assert pack(cafe.asked(catalogue)) == pack(cafe.asked(catalogue))
    assert pack(cafe.asked(catalogue)) != pack(cafe.asked(catalogue, request_id="r-2"))
    assert pack(cafe.asked(catalogue, seed=5)) == pack(cafe.asked(catalogue, seed=5))


def test_a_request_may_ask_for_fewer_never_for_more(catalogue: Catalogue) -> None:
    assert len(cafe.asked(catalogue, limit=1).chosen) == 1
    assert len(cafe.asked(catalogue, limit=99).chosen) == 3
    assert len(cafe.asked(catalogue, limit=0).chosen) == 0


def test_nothing_eligible_is_an_answer(catalogue: Catalogue) -> None:
    row = np.array([0, 0], dtype=np.float32)
    told = {"latte": 9.0, "oolong": 9.0, "sencha": 9.0}
    decision = cafe.asked(catalogue, row=row, told=told)
    assert decision.chosen == ()
    assert decision.slate.probability == 1.0


def test_a_context_that_is_not_declared_is_refused(catalogue: Catalogue) -> None:
    with pytest.raises(BadContext) as wrong:
        cafe.asked(catalogue, context={"weather": 3})
    assert (wrong.value.place, wrong.value.expected, wrong.value.found) == ("context.weather", "a text", "3")
    with pytest.raises(BadContext, match="declares \\(weather\\), found 'wether'"):
        cafe.asked(catalogue, context={"wether": "hot"})


def test_an_unknown_placement_names_the_nearest(catalogue: Catalogue) -> None:
    with pytest.raises(KeyError, match="did you mean board"):
        cafe.asked(catalogue, "bord", context={})


def test_inputs_are_left_alone(catalogue: Catalogue) -> None:
    row = cafe.ROW.copy()
    cafe.asked(catalogue, row=row)
    np.testing.assert_array_equal(row, cafe.ROW)
    board = catalogue.assortment("board")
    assert replace(board.placement) == board.placement


@given(st.integers(0, 1023), st.from_regex(r"[a-z2-7]{12}", fullmatch=True), st.text(max_size=80))
def test_a_decision_id_names_its_customer(shard: int, rest: str, request_id: str) -> None:
    customer = f"{{{shard:03d}}}{rest}"
    identity = decision_id(customer, request_id)
    assert customer_of(identity) == customer
    assert identity == decision_id(customer, request_id)
    assert 0 <= seed_of(identity) < 2**64


@pytest.mark.parametrize("wrong", ["", "a-b-c", "007-abc", "007-abc-zz", "{007}abc-123456789012-1"])
def test_what_is_no_decision_id_is_said(wrong: str) -> None:
    with pytest.raises(ValueError, match="decision id: expected"):
        customer_of(wrong)


@given(
    asked=st.lists(
        st.tuples(
            st.integers(0, 2**32),
            st.lists(st.floats(0, 20, width=32), min_size=6, max_size=6),
            st.sampled_from([None, 0, 1, 2]),
            st.sampled_from([-20 * 86_400_000, -1, 0, 86_400_000]),
        ),
        max_size=7,
    ),
    placement=st.sampled_from(["board", "whisper"]),
)
def test_questions_are_answered_together_as_each_alone(
    tmp_path_factory: pytest.TempPathFactory,
    asked: list[tuple[int, list[float], int | None, int]],
    placement: str,
) -> None:
    """Records and all, to the byte, of different people at different instants."""
    catalogue = cafe.opened(tmp_path_factory.mktemp("cafe"))[1]
    questions = [
        cafe.question(
            catalogue,
            placement,
            request_id=f"r-{number}",
            at=cafe.NOON + later,
            row=np.array(values[:2], dtype=np.float32),
            told=dict(zip(("latte", "espresso", "sencha", "oolong"), values[2:], strict=True)),
            limit=limit,
        )
        for number, values, limit, later in asked
    ]
    scorers = _learned(catalogue.assortment(placement).columns.names)
    together = decide_all(questions, placement, catalogue, scorers)
    alone = [cafe.answered(catalogue, each, placement, scorers) for each in questions]
    assert [pack(each) for each in together] == [pack(each) for each in alone]
    assert [each.chosen for each in together] == [each.chosen for each in alone]


@cache
def _learned(names: tuple[str, ...]) -> Blend:
    """Both models, taught something of these columns."""
    rng = np.random.default_rng(3)
    x = rng.lognormal(0, 1, (400, len(names))).astype(np.float32)
    y = (rng.random(400) < 0.2 + 0.3 * (x[:, 0] > 1)).astype(int)
    online = RiverPropensity(prior=0.1)
    for values, label in zip(x, y, strict=True):
        online.learn(names, values, int(label))
    booster = lgb.train(
        {"objective": "binary", "verbosity": -1, "num_threads": 1, "seed": 1}, lgb.Dataset(x, y), 10
    )
    packed = artefact(booster.model_to_string(), names, {"version": "3"})
    return Blend(
        prior=Prior(0.1),
        online=RiverScorer.from_snapshot(online.snapshot()),
        batch=LightGBMRanker.from_artefact(packed),
    )
