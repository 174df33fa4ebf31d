import logging
import subprocess
import sys
from functools import cache
from typing import Any

import lightgbm as lgb
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.scorer import Columns, Matrix, Places
from models.scorers.blend import Blend, join
from models.scorers.lightgbm_ranker import LightGBMRanker, artefact
from models.scorers.prior import Prior
from models.scorers.river_propensity import RiverPropensity
from models.scorers.river_scorer import RiverScorer, Snapshot, squash

NAMES = tuple(f"f{n}" for n in range(8))


def samples(count: int, seed: int = 1, missing: float = 0.1) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Heavy-tailed values of which some are missing and the last column never varies; labels follow two."""
    random = np.random.default_rng(seed)
    x = (random.lognormal(0, 2, (count, 8)) * random.choice([-1, 0, 1], (count, 8))).astype(np.float32)
    x[:, 7] = 3.0
    logit = np.sign(x[:, 0]) - 0.5 * np.sign(x[:, 5]) - 1
    y = (random.random(count) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    x[random.random((count, 8)) < missing] = np.nan
    return x, y


def learned(count: int = 400, names: tuple[str, ...] = NAMES) -> RiverPropensity:
    model = RiverPropensity(prior=0.05)
    x, y = samples(2000)
    for values, label in zip(x[:count], y[:count], strict=True):
        model.learn(names, values, int(label))
    return model


def matrix(x: NDArray[np.float32], row: int = 0, cut: int = 3, names: tuple[str, ...] = NAMES) -> Matrix:
    """The samples as offers of the customer of one of them."""
    return Matrix(Columns(names[:cut], names[cut:]), x[row, :cut], x[:, cut:])


def test_river_scorer_agrees_with_river() -> None:
    model = learned()
    scorer = RiverScorer.from_snapshot(model.snapshot())
    x, _ = samples(300, seed=2)
    for row in range(0, 300, 50):
        shown = matrix(x, row)
        rows = shown.dense().astype(np.float32)
        expected = [model.predict(NAMES, values) for values in rows]
        np.testing.assert_allclose(scorer.score(shown), expected, rtol=0, atol=1e-12)


def test_river_scorer_finds_features_by_name() -> None:
    """Columns in another order, some unknown to the model and some gone, are scored by name."""
    model = learned()
    scorer = RiverScorer.from_snapshot(model.snapshot(), "v9")
    x, _ = samples(20, seed=3)
    names = ("new", "f5", "f0", "f7", "other", "f2", "f1", "f3")
    shown = Matrix(Columns(names[:2], names[2:]), x[0, :2], x[:, 2:])
    rows = shown.dense().astype(np.float32)
    known = [n for n, name in enumerate(names) if name in NAMES]
    expected = [model.predict([names[n] for n in known], values[known]) for values in rows]
    np.testing.assert_allclose(scorer.score(shown), expected, rtol=0, atol=1e-12)
    assert (scorer.name, scorer.version, scorer.learned) == ("river", "v9", 400)


def test_river_goes_on_from_a_snapshot_as_if_nothing_had_happened() -> None:
    whole, first = learned(400), learned(250)
    again = RiverPropensity.restore(first.snapshot())
    x, y = samples(2000)
    for values, label in zip(x[250:400], y[250:400], strict=True):
        again.learn(NAMES, values, int(label))
    assert again.snapshot() == whole.snapshot()
    assert (again.count, again.positives) == (400, int(y[:400].sum()))


def test_river_starts_at_the_prior_and_early_losses_are_sane() -> None:
    scorer = RiverScorer.from_snapshot(RiverPropensity(prior=0.02).snapshot())
    x, _ = samples(5)
    np.testing.assert_allclose(scorer.score(matrix(x)), 0.02, rtol=1e-12)
    model = RiverPropensity(prior=0.02)
    losses = []
    for values in samples(100, seed=4)[0]:
        losses.append(-np.log(1 - model.predict(NAMES, values)))
        model.learn(NAMES, values, 0)
    assert max(losses) < 0.05


def test_river_learns() -> None:
    model = learned(2000)
    x, y = samples(500, seed=9)
    scores = np.array([model.predict(NAMES, values) for values in x])
    wins = (scores[y == 1][:, None] > scores[y == 0]).mean()
    assert wins > 0.58


def test_learning_is_rivers_own_pipeline() -> None:
    """The quick parts (scale, optimiser) give the weights that River's StandardScaler and FTRL give."""
    from river import linear_model, optim, preprocessing

    scaler: Any = preprocessing.StandardScaler()
    river: Any = linear_model.LogisticRegression(
        optim.FTRLProximal(alpha=0.05, l1=0.0, l2=1.0), intercept_init=float(np.log(0.05 / 0.95))
    )
    x, y = samples(2000)
    for values, label in zip(squash(x[:300]).tolist(), y.tolist(), strict=False):
        known = {name: value for name, value in zip(NAMES, values, strict=True) if value == value}
        scaler.learn_one(known)
        scaled = {name: min(max(value, -3.0), 3.0) for name, value in scaler.transform_one(known).items()}
        river.learn_one(scaled, bool(label))
    ours = msgspec.msgpack.decode(learned(300).snapshot(), type=Snapshot)
    np.testing.assert_allclose(ours.weights, [river.weights[name] for name in ours.names], atol=1e-12)
    np.testing.assert_allclose(ours.means, [scaler.means[name] for name in ours.names], atol=1e-12)
    np.testing.assert_allclose(ours.variances, [scaler.vars[name] for name in ours.names], atol=1e-12)
    assert ours.intercept == pytest.approx(river.intercept, abs=1e-12)


def test_scoring_needs_no_river() -> None:
    program = (
        "import sys; import models.scorers.river_propensity, models.decision;"
        "assert not [m for m in sys.modules if m.split('.')[0] in ('river', 'lightgbm', 'mlflow')]"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def boosted() -> tuple[lgb.Booster, bytes]:
    x, y = samples(600)
    data = lgb.Dataset(x, y)
    booster = lgb.train({"objective": "binary", "verbosity": -1, "num_threads": 1, "seed": 1}, data, 20)
    return booster, artefact(booster.model_to_string(), NAMES, {"version": "3", "trained_to": 5})


def test_lightgbm_scores_are_those_of_predict() -> None:
    booster, packed = boosted()
    ranker = LightGBMRanker.from_artefact(packed)
    assert (ranker.name, ranker.version, ranker.about["trained_to"]) == ("lightgbm", "3", 5)
    shown = matrix(samples(60, seed=5)[0])
    np.testing.assert_array_equal(ranker.score(shown), booster.predict(shown.dense()))
    backwards = tuple(reversed(NAMES))
    x = samples(60, seed=6)[0]
    turned = matrix(x, names=backwards)
    np.testing.assert_array_equal(ranker.score(turned), booster.predict(turned.dense()[:, ::-1]))
    assert ranker.score(Matrix(turned.columns, turned.customer, turned.offers[:0])).shape == (0,)


def test_lightgbm_reports_missing_features_once(caplog: pytest.LogCaptureFixture) -> None:
    booster, packed = boosted()
    ranker = LightGBMRanker.from_artefact(packed, "12")
    x = samples(10, seed=7)[0]
    shown = Matrix(Columns(NAMES[:2], NAMES[2:6]), x[0, :2], x[:, 2:6])
    with caplog.at_level(logging.WARNING):
        first, second = ranker.score(shown), ranker.score(shown)
    full = np.concatenate([shown.dense(), np.full((10, 2), np.nan)], axis=1)
    np.testing.assert_array_equal(first, booster.predict(full))
    np.testing.assert_array_equal(first, second)
    (said,) = caplog.messages
    assert said == ("model lightgbm 12: 2 of its 8 features are not in the row and count as missing: f6, f7")


def test_lightgbm_artefacts_with_other_names_are_refused() -> None:
    text = boosted()[0].model_to_string()
    with pytest.raises(ValueError, match="expected 8 names, found 2"):
        LightGBMRanker.from_artefact(artefact(text, ["a", "b"], {}))


MANY = Columns(tuple(f"f{n}" for n in range(8)), tuple(f"f{n}" for n in range(8, 40)))


@given(sizes=st.lists(st.integers(0, 30), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_matrices_are_scored_together_as_each_alone(sizes: list[int], seed: int) -> None:
    """To the last bit: a decision is the same whoever else is asked for at that moment."""
    rng, width = np.random.default_rng(seed), len(MANY.customer)
    values = rng.lognormal(0, 2, (sum(sizes) + len(sizes), len(MANY.names))).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    pieces = np.split(values, np.cumsum([size + 1 for size in sizes])[:-1])
    shown = [Matrix(MANY, each[0, :width], each[1:, width:]) for each in pieces]
    both = _learned_and_trained()
    for scorer in (both.online, both.batch):
        assert scorer is not None
        alone = [scorer.score(each) for each in shown]
        np.testing.assert_array_equal(scorer.score(*shown), np.concatenate(alone))
    for together, each in zip(both.score(shown), shown, strict=True):
        (scored,) = both.score([each])
        assert together.rung == scored.rung == "full"
        np.testing.assert_array_equal(together.probability, scored.probability)
        for name, scores in scored.scores.items():
            np.testing.assert_array_equal(together.scores[name], scores)


@cache
def _learned_and_trained() -> Blend:
    """Both models, taught of many columns."""
    rng = np.random.default_rng(9)
    x = rng.lognormal(0, 2, (600, len(MANY.names))).astype(np.float32)
    y = (rng.random(600) < 0.2 + 0.3 * (x[:, 10] > 1)).astype(np.int64)
    online = RiverPropensity(prior=0.05)
    for values, label in zip(x, y, strict=True):
        online.learn(MANY.names, values, int(label))
    booster = lgb.train(
        {"objective": "binary", "verbosity": -1, "num_threads": 1, "seed": 1}, lgb.Dataset(x, y), 20
    )
    packed = artefact(booster.model_to_string(), MANY.names, {"version": "3"})
    return Blend(
        prior=Prior(0.1),
        online=RiverScorer.from_snapshot(online.snapshot()),
        batch=LightGBMRanker.from_artefact(packed),
    )


def test_join_weighs_logits() -> None:
    a, b = np.array([0.1], dtype=np.float32), np.array([0.6], dtype=np.float32)

    def logit(p: float) -> float:
        return float(np.log(p / (1 - p)))

    joined = join({"a": a, "b": b}, {"a": 3.0, "b": 1.0})
    assert logit(float(joined[0])) == pytest.approx((3 * logit(0.1) + logit(0.6)) / 4, rel=1e-6)


def test_places_follow_the_columns_they_are_shown() -> None:
    places = Places(("b", "x", "a"))
    one, two = Columns(("a",), ("b",)), Columns(("x", "a"), ("c",))
    assert places.of(one).tolist() == [1, -1, 0]
    assert places.of(two).tolist() == [-1, 0, 1]
    assert places.missing(one) == ("x",)
    assert one.digest != two.digest != Columns(("x",), ("a", "c")).digest
