"""Train on what was served: LightGBM on examples, judged on their last days."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from experiments.attribution import Example
from experiments.measures import auc, log_loss
from models.scorers.lightgbm_ranker import artefact

# Small trees, few features for each and much shrinkage, as conversions are few; compared on the grocery year
# trained on its first half: .811 AUC on the second against .805 with 15 leaves and half of the features.
PARAMS: Mapping[str, str | int | float | bool] = {
    "objective": "binary",
    "learning_rate": 0.03,
    "num_leaves": 7,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 20.0,
    "max_bin": 127,
    "seed": 20_240_229,
    "deterministic": True,
    "force_row_wise": True,
    # One thread takes 1.6 s for half of the grocery year; two on a machine that others use too have taken
    # 23 s, waiting for each other at every split. The model is the same.
    "num_threads": 1,
    "verbosity": -1,
}
ROUNDS = 600
PATIENCE = 60


class TooFew(ValueError):
    """There is not enough to learn from; the message says what was found."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model: LightGBM's own text, the names in its order, and what is known about it."""

    text: str
    names: tuple[str, ...]
    metrics: Mapping[str, float]
    params: Mapping[str, str | int | float | bool]
    importance: Mapping[str, float]

    def artefact(self, **about: str | int | float) -> bytes:
        """The bytes that a registry keeps and `LightGBMRanker.from_artefact` reads."""
        return artefact(self.text, self.names, about)


def train(
    examples: Sequence[Example],
    params: Mapping[str, Any] | None = None,
    validation: float = 0.2,
    zone: tzinfo = UTC,
) -> Trained:
    """Find the number of trees on the last `validation` share of days, then train on all with so many.

    Days are those of `zone`: cut elsewhere, the last "day" of a shop is only its evening. The metrics are
    those of the first step, on days it had not seen. Examples are not reweighted, so that the scores stay
    probabilities. The same examples give the same model. Errors: TooFew when either part has no conversion.
    """
    if not examples:
        raise TooFew("training: expected examples, found none; let some attribution windows close first")
    names, x, y, days = table(examples, zone)
    edge = _edge(days, validation)
    early, late = days < edge, days >= edge
    for part, mask in (("earlier", early), ("last", late)):
        if not 0 < int(y[mask].sum()) < int(mask.sum()):
            raise TooFew(
                f"training: expected conversions and others among the {part} days, found "
                f"{int(y[mask].sum())} conversions in {int(mask.sum())} examples; wait for more outcomes"
            )
    settings = {**PARAMS, **(params or {})}
    rounds = int(settings.pop("num_iterations", ROUNDS))
    data = lgb.Dataset(x[early], y[early], feature_name=_plain(names), params=settings, free_raw_data=False)
    held = lgb.Dataset(x[late], y[late], reference=data, params=settings, free_raw_data=False)
    booster = lgb.train(
        settings,
        data,
        num_boost_round=rounds,
        valid_sets=[held],
        callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
    )
    best = booster.best_iteration or rounds
    scores = np.asarray(booster.predict(x[late], num_iteration=best, num_threads=1), dtype=np.float64)
    every = lgb.Dataset(x, y, feature_name=_plain(names), params=settings)
    final = lgb.train(settings, every, num_boost_round=best)
    text = final.model_to_string()
    gains = final.feature_importance("gain")
    order = np.argsort(-gains, kind="stable")
    return Trained(
        text=text,
        names=names,
        metrics={
            "auc": auc(y[late], scores),
            "log_loss": log_loss(y[late], scores),
            "examples": float(len(y)),
            "positives": float(y.sum()),
            "validation_examples": float(late.sum()),
            "validation_positives": float(y[late].sum()),
            "trees": float(best),
        },
        params=settings,
        importance={names[n]: float(gains[n]) for n in order if gains[n] > 0},
    )


def table(
    examples: Sequence[Example], zone: tzinfo = UTC
) -> tuple[tuple[str, ...], NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """(names, x, y, day number) of examples; names of the newest lead, what others lack is NaN."""
    newest = max(examples, key=lambda example: (example.at, example.decision_id, example.offer))
    names = newest.names
    x = np.full((len(examples), len(names)), np.nan, dtype=np.float32)
    places: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    for n, example in enumerate(examples):
        if example.names is names or example.names == names:
            x[n] = example.x
            continue
        if example.names not in places:
            known = {name: at for at, name in enumerate(example.names)}
            places[example.names] = [(at, known[name]) for at, name in enumerate(names) if name in known]
        for into, out_of in places[example.names]:
            x[n, into] = example.x[out_of]
    y = np.array([example.label for example in examples], dtype=np.int64)
    local = (datetime.fromtimestamp(example.at / 1000, zone) for example in examples)
    days = np.array([moment.toordinal() for moment in local], dtype=np.int64)
    return names, x, y, days


def _edge(days: NDArray[np.int64], validation: float) -> int:
    """The first day that is held out: the last `validation` share of the distinct days, at least one."""
    distinct = np.unique(days)
    held = max(1, round(len(distinct) * validation))
    return int(distinct[len(distinct) - held])


def _plain(names: Sequence[str]) -> list[str]:
    """LightGBM refuses JSON's special characters in names; ours are kept beside the text."""
    return [f"f{n}" for n in range(len(names))]
