from zoneinfo import ZoneInfo

import lightgbm as lgb
import numpy as np
import pytest

from experiments.attribution import Example
from experiments.audit import Leak, audit
from experiments.training import TooFew, table, train
from models.placement import DAY_MS
from models.scorer import Columns, Matrix
from models.scorers.lightgbm_ranker import LightGBMRanker

NAMES = ("spend", "noise", "offer.kind=tea", "days left")


def examples(count: int = 1500, days: int = 50, seed: int = 1) -> list[Example]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, 4)).astype(np.float32)
    chance = 1 / (1 + np.exp(-(2 * x[:, 0] + x[:, 2] - 2)))
    labels = (random.random(count) < chance).astype(int)
    return [
        Example(
            f"007-x-{n:012d}",
            "{007}x",
            f"offer-{n % 5}",
            n * days // count * DAY_MS,
            NAMES,
            x[n],
            int(y),
            "board",
        )
        for n, y in enumerate(labels)
    ]


def test_a_trained_model_scores_by_name_and_stays_a_probability() -> None:
    trained = train(examples())
    ranker = LightGBMRanker.from_artefact(trained.artefact(plan="p"), "1")
    assert ranker.names == NAMES
    assert trained.metrics["auc"] > 0.75
    fresh = examples(seed=2)
    _, x, y, _ = table(fresh)
    scores = ranker.score(Matrix(Columns((), NAMES), np.empty(0, dtype=np.float32), x))
    assert scores.mean() == pytest.approx(y.mean(), abs=0.03)  # not reweighted
    assert next(iter(trained.importance)) == "spend"
    assert {"examples", "positives", "validation_examples", "trees", "log_loss"} <= set(trained.metrics)
    assert lgb.Booster(model_str=trained.text).num_trees() == trained.metrics["trees"]


def test_the_same_examples_give_the_same_model() -> None:
    assert train(examples()).text == train(examples()).text
    assert train(examples()).text != train(examples(), {"seed": 2}).text


def test_validation_is_on_the_last_days() -> None:
    """Labels of the last fifth are noise: metrics must show it, as they would not on shuffled days."""
    some = examples()
    random = np.random.default_rng(5)
    spoiled = [
        each._replace(label=int(random.random() < 0.5)) if each.at >= 40 * DAY_MS else each for each in some
    ]
    metrics = train(spoiled).metrics
    assert metrics["auc"] < 0.6
    assert metrics["validation_examples"] == sum(each.at >= 40 * DAY_MS for each in some)


@pytest.mark.parametrize("label", [0, 1])
def test_too_little_to_learn_from_is_said(label: int) -> None:
    with pytest.raises(TooFew, match="expected examples, found none"):
        train([])
    with pytest.raises(TooFew, match="among the earlier days"):
        train([each._replace(label=label) for each in examples(100)])


def test_names_of_the_newest_example_lead() -> None:
    old = Example("d1", "c", "o", 1, ("a", "gone"), np.array([1, 2], dtype=np.float32), 0, "p")
    new = Example("d2", "c", "o", 2, ("b", "a"), np.array([3, 4], dtype=np.float32), 1, "p")
    names, x, y, days = table([new, old])
    assert names == ("b", "a")
    np.testing.assert_array_equal(x, [[3, 4], [np.nan, 1]])
    assert y.tolist() == [1, 0]
    assert days[0] == days[1]


def test_days_are_those_of_the_zone() -> None:
    midnight_utc = 1_483_228_800_000
    x = np.array([1], dtype=np.float32)
    evening, noon = (
        Example(str(at), "c", "o", at, ("a",), x, 0, "p")
        for at in (midnight_utc + 3_600_000, midnight_utc - 7 * 3_600_000)
    )
    assert len(set(table([evening, noon], ZoneInfo("America/New_York"))[3])) == 1
    assert len(set(table([evening, noon])[3])) == 2


def test_audit_passes_what_can_be_had_again() -> None:
    served = np.array([[1.0, np.nan], [0.1, -3.0]], dtype=np.float32)
    assert audit(["a", "b"], served, served.copy()) == 2
    assert audit(["a", "b"], served, served + np.float32(1e-4), tolerance=1e-3) == 2


def test_audit_names_every_leaking_feature_and_counts_its_rows() -> None:
    served = np.zeros((4, 3), dtype=np.float32)
    served[:, 1] = [1, 2, 0, 4]
    served[3, 2] = np.nan
    with pytest.raises(Leak) as leak:
        audit(["fine", "basket_today", "gone"], served, np.zeros((4, 3), dtype=np.float32))
    assert leak.value.features == {"basket_today": 3, "gone": 1}
    assert "basket_today: 3 of 4 rows differ, first in row 0: served 1.0, recomputed 0.0" in str(leak.value)
    assert "gone: 1 of 4 rows differ, first in row 3: served nan, recomputed 0.0" in str(leak.value)
    with pytest.raises(ValueError, match="expected two tables"):
        audit(["a"], served, served)
