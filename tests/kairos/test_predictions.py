"""What the judge is given: every method spoke before the outcome was known."""

import numpy as np

from kairos.demo.predictions import BASELINES, MODELS, Predictions
from kairos.demo.shopping import Moment


def asked(household: int) -> Moment:
    return Moment(household=household, at=1, campaigns=("a", "b"), redeemed=())


def test_baselines_learn_a_day_only_once_it_is_over() -> None:
    predictions = Predictions()
    for household in (1, 1, 2):
        predictions.predict(0, asked(household), ("a", "b"), {}, frozenset({"a"}))
    flat = 1 / 50
    assert predictions.scores["popularity"] == [flat] * 6
    assert np.allclose(predictions.scores["popularity_household"], flat)
    predictions.close_day()
    predictions.predict(1, asked(1), ("a", "b"), {}, frozenset())
    taken, left = predictions.scores["popularity"][-2:]
    assert flat < left < taken, "six pairs, of which the first was taken each time"
    predictions.close_day()
    predictions.close_day()
    predictions.predict(2, asked(1), ("a", "b"), {}, frozenset())
    assert predictions.scores["popularity"][-2] < taken, "the second day it was left"


def test_each_pair_holds_its_moment_its_label_and_every_score() -> None:
    predictions = Predictions()
    scores = {"river": np.array([0.3, 0.1])}
    predictions.predict(4, asked(7), ("a", "b"), scores, frozenset({"b"}))
    predictions.predict(4, asked(8), ("b",), {}, frozenset())
    assert len(predictions) == 3
    assert predictions.moments == [0, 0, 1]
    assert predictions.households == [7, 7, 8]
    assert predictions.labels == [False, True, False]
    assert predictions.days == [4, 4, 4]
    assert predictions.scores["river"][:2] == [0.3, 0.1]
    assert np.isnan(predictions.scores["river"][2])
    assert np.isnan(predictions.scores["lightgbm"]).all()
    assert set(predictions.scores) == {*MODELS, *BASELINES}
