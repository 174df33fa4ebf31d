import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from experiments.bootstrap import auc_replicates, draws
from experiments.judgement import Predictions, curve, judge, render
from experiments.measures import auc, log_loss, ndcg

Pairs = st.lists(st.tuples(st.integers(0, 1), st.integers(1, 9)), min_size=2, max_size=40)


def made(count: int, households: int, seed: int = 1, rate: float = 0.02) -> Predictions:
    """Pairs of which some methods know more than others; scores have ties, moments one offer or more."""
    random = np.random.default_rng(seed)
    moments = np.sort(random.integers(0, count // 2, count))
    of_moment = random.integers(0, households, count)
    owners = of_moment[moments]
    pull = random.normal(size=households)[owners] + random.normal(size=count)
    labels = (pull > np.quantile(pull, 1 - rate)).astype(int)
    noisy = 1 / (1 + np.exp(-(pull + random.normal(size=count)) + 4))
    return Predictions.of(
        moments,
        owners,
        labels,
        {"good": noisy, "coarse": noisy.round(2), "flat": np.full(count, rate), "odd": pull},
    )


@given(Pairs)
def test_auc_and_log_loss_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    labels = np.array([label for label, _ in pairs])
    scores = np.array([score / 10 for _, score in pairs])
    if 0 < labels.sum() < len(labels):
        assert auc(labels, scores) == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)
    else:
        assert np.isnan(auc(labels, scores))
    assert log_loss(labels, scores) == pytest.approx(metrics.log_loss(labels, scores, labels=[0, 1]))


@given(Pairs)
def test_ndcg_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    labels = np.array([label for label, _ in pairs])
    scores = np.array([score / 10 for _, score in pairs])
    if labels.sum():
        assert ndcg(labels, scores) == pytest.approx(metrics.ndcg_score([labels], [scores]), abs=1e-12)


def test_replicates_of_auc_are_weighted_aucs() -> None:
    """A replicate is the AUC with each pair weighed by how often its household was drawn."""
    predictions = made(600, 30, rate=0.1)
    _, owners = np.unique(predictions.households, return_inverse=True)
    weights = draws(len(np.unique(owners)), 20, seed=5)
    for scores in (predictions.scores["coarse"], predictions.scores["flat"]):
        found = auc_replicates(predictions.labels, scores, owners, weights)
        expected = [
            metrics.roc_auc_score(predictions.labels, scores, sample_weight=weight[owners])
            for weight in weights
        ]
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_judge_reports_every_number() -> None:
    predictions = made(4000, 200)
    judged = judge(predictions, replicates=200, against="flat")
    assert judged["n"] == 4000
    assert judged["positives"] == predictions.labels.sum()
    assert judged["households"] == len(np.unique(predictions.households))
    good, flat = judged["good"], judged["flat"]
    assert good["auc"] == pytest.approx(metrics.roc_auc_score(predictions.labels, predictions.scores["good"]))
    assert good["auc_ci"][0] < good["auc"] < good["auc_ci"][1]
    assert good["log_loss"] == pytest.approx(metrics.log_loss(predictions.labels, predictions.scores["good"]))
    assert good["log_loss_ci"][0] < good["log_loss"] < good["log_loss_ci"][1]
    assert good["auc_gain"] == pytest.approx(good["auc"] - 0.5)
    assert good["auc_gain_ci"][0] > 0.1
    assert flat["auc"] == 0.5
    assert flat["auc_ci"] == [0.5, 0.5]
    assert judged["odd"]["log_loss"] is None  # not probabilities


def test_ndcg_counts_only_moments_with_a_choice() -> None:
    moments = [1, 1, 2, 2, 3, 4, 4, 5, 5, 5]
    labels = [1, 0, 0, 0, 1, 1, 1, 0, 0, 1]
    scores = [0.9, 0.1, 0.5, 0.4, 0.3, 0.2, 0.1, 0.5, 0.4, 0.3]
    judged = judge(Predictions.of(moments, [7] * 10, labels, {"m": scores}), replicates=10)
    # Moment 2 took nothing, 3 had one offer, 4 took both: no choice to judge. In 5 the third was taken.
    assert judged["m"]["ndcg_moments"] == 2
    assert judged["m"]["ndcg"] == pytest.approx((1 + 1 / np.log2(4)) / 2)


def test_intervals_cover_what_they_say() -> None:
    """Households of one rate: the interval of the mean loss has the width that theory gives it."""
    random = np.random.default_rng(3)
    households = np.repeat(np.arange(400), 5)
    labels = (random.random(2000) < 0.3).astype(int)
    judged = judge(
        Predictions.of(np.arange(2000), households, labels, {"flat": np.full(2000, 0.3)}), replicates=2000
    )
    low, high = judged["flat"]["log_loss_ci"]
    by_household = np.where(labels == 1, -np.log(0.3), -np.log(0.7)).reshape(400, 5).mean(axis=1)
    assert (high - low) == pytest.approx(2 * 1.96 * by_household.std() / 20, rel=0.1)


def test_intervals_know_that_a_household_is_one_witness() -> None:
    """Where the pairs of a household are all alike, five of them say no more than one."""
    random = np.random.default_rng(4)
    labels = np.repeat((random.random(400) < 0.3).astype(int), 5)
    scores = {"flat": np.full(2000, 0.3), "noisy": np.repeat(random.random(400), 5)}
    apart = judge(Predictions.of(np.arange(2000), np.arange(2000), labels, scores), replicates=2000)
    together = judge(
        Predictions.of(np.arange(2000), np.repeat(np.arange(400), 5), labels, scores), replicates=2000
    )
    for method, interval in (("flat", "log_loss_ci"), ("noisy", "log_loss_ci"), ("noisy", "auc_ci")):
        (low, high), (narrow_low, narrow_high) = together[method][interval], apart[method][interval]
        assert (high - low) / (narrow_high - narrow_low) == pytest.approx(np.sqrt(5), rel=0.15)


def test_methods_are_compared_on_the_moments_all_of_them_answered() -> None:
    scores = {"always": [0.1, 0.2, 0.3, 0.4], "late": [np.nan, 0.2, 0.3, 0.4], "never": [np.nan] * 4}
    predictions = Predictions.of([1, 1, 2, 3], [1, 1, 2, 2], [0, 1, 1, 0], scores)
    common = predictions.common()
    assert len(common) == 2
    assert set(common.scores) == {"always", "late"}
    assert len(predictions.common(["always"])) == 4
    judged = judge(predictions, replicates=10)
    assert [judged[name]["n"] for name in ("always", "late", "never")] == [4, 3, 0]
    assert judged["never"] == {
        "n": 0,
        "auc": None,
        "auc_ci": None,
        "log_loss": None,
        "log_loss_ci": None,
        "ndcg": None,
        "ndcg_ci": None,
        "ndcg_moments": 0,
    }


def test_nothing_to_judge_is_said_with_none() -> None:
    judged = judge(Predictions.of([], [], [], {"m": []}), replicates=10)
    assert (judged["n"], judged["m"]["auc"]) == (0, None)
    assert "0 pairs" in render(judged)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="expected 2 of each"):
        Predictions.of([1, 2], [1, 2], [0, 1], {"m": [0.5]})


def test_the_curve_goes_period_by_period() -> None:
    predictions = Predictions.of(
        [1, 2, 3, 4],
        [1, 2, 3, 4],
        [0, 1, 1, 0],
        {"m": [0.1, 0.2, 0.3, 0.4], "late": [np.nan] * 2 + [0.5] * 2},
    )
    january, february = curve(predictions, ["2017-01", "2017-01", "2017-02", "2017-02"])
    assert (january["period"], january["n"], january["positives"]) == ("2017-01", 2, 1)
    assert (january["m"]["auc"], february["m"]["auc"]) == (1.0, 0.0)
    assert january["late"] == {"auc": None, "log_loss": None}
    assert february["late"]["log_loss"] == pytest.approx(np.log(2))


def test_a_year_is_judged_in_seconds() -> None:
    predictions = made(65_843, 1_532, rate=0.0174)
    started = time.process_time()
    judge(predictions)
    assert time.process_time() - started < 15
