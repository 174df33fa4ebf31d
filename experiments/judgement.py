"""How good were the predictions: ranking, calibration, the order within a moment; with honest intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from experiments.bootstrap import auc_replicates, draws, interval, ratio
from experiments.measures import auc, log_loss, losses, ndcg

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Predictions:
    """Pairs of (moment, offer): who it was, whether the offer was taken, and each method's score.

    Arrays run over pairs. `moments` and `households` are any integers that tell them apart. A score that
    a method did not give is NaN.
    """

    moments: Ints
    households: Ints
    labels: Ints
    scores: Mapping[str, Floats]

    @classmethod
    def of(
        cls,
        moments: ArrayLike,
        households: ArrayLike,
        labels: ArrayLike,
        scores: Mapping[str, ArrayLike],
    ) -> "Predictions":
        """Predictions from anything array-like; ValueError when lengths differ."""
        made = cls(
            np.asarray(moments, dtype=np.int64),
            np.asarray(households, dtype=np.int64),
            np.asarray(labels, dtype=np.int64),
            {name: np.asarray(each, dtype=np.float64) for name, each in scores.items()},
        )
        lengths = {name: len(each) for name, each in made.scores.items()}
        lengths |= {"moments": len(made.moments), "households": len(made.households)}
        if set(lengths.values()) - {len(made.labels)}:
            raise ValueError(f"predictions: expected {len(made.labels)} of each, found {lengths}")
        return made

    def __len__(self) -> int:
        return len(self.labels)

    def where(self, mask: NDArray[np.bool_]) -> "Predictions":
        """Only the pairs where `mask` is true."""
        scores = {name: each[mask] for name, each in self.scores.items()}
        return Predictions(self.moments[mask], self.households[mask], self.labels[mask], scores)

    def common(self, methods: Sequence[str] | None = None) -> "Predictions":
        """Only the moments in which each of `methods` (default: all that ever answered) scored every pair.

        Methods that never answered are dropped.
        """
        answered = [name for name, each in self.scores.items() if not np.isnan(each).all()]
        chosen = [name for name in (methods or answered) if name in answered]
        gap = np.zeros(len(self), dtype=np.bool_)
        for name in chosen:
            gap |= np.isnan(self.scores[name])
        kept = self.where(~np.isin(self.moments, np.unique(self.moments[gap])))
        return Predictions(kept.moments, kept.households, kept.labels, {n: kept.scores[n] for n in chosen})


def judge(
    predictions: Predictions, *, replicates: int = 1000, seed: int = 0, against: str | None = None
) -> dict[str, Any]:
    """Each method's AUC, log loss and NDCG with 95 % intervals, and how much they rest on.

    `{"n", "positives", "households", method: {"auc", "auc_ci", "log_loss", "log_loss_ci", "ndcg", "ndcg_ci",
    "ndcg_moments", "n"}}`. A method is judged on the pairs it scored; judge `predictions.common()` to compare
    methods on the same pairs. Log loss is None for scores that are no probabilities. NDCG is the
    mean over moments in which some of two or more offers were taken, not all. With `against`, `auc_gain` and
    `auc_gain_ci` are the paired difference to that method on the pairs both scored. Numbers that
    cannot be had are None.
    """
    told: dict[str, Any] = {
        "n": len(predictions),
        "positives": int(predictions.labels.sum()),
        "households": len(np.unique(predictions.households)),
    }
    _, households = np.unique(predictions.households, return_inverse=True)
    weights = draws(told["households"], replicates, seed) if len(predictions) else np.empty((replicates, 0))
    for method, scores in predictions.scores.items():
        told[method] = _judge_one(predictions, households, scores, weights)
        if against and against != method and against in predictions.scores:
            other = predictions.scores[against]
            both = ~np.isnan(scores) & ~np.isnan(other)
            told[method] |= _gain(
                predictions.labels[both], households[both], scores[both], other[both], weights
            )
    return told


def _judge_one(predictions: Predictions, households: Ints, scores: Floats, weights: Floats) -> dict[str, Any]:
    known = ~np.isnan(scores)
    labels, owners, given = predictions.labels[known], households[known], scores[known]
    count = weights.shape[1]
    row: dict[str, Any] = {"n": int(known.sum())}
    row["auc"] = _number(auc(labels, given))
    row["auc_ci"] = None
    if row["auc"] is not None:
        row["auc_ci"] = interval(auc_replicates(labels, given, owners, weights))
    row["log_loss"], row["log_loss_ci"] = None, None
    if len(given) and given.min() >= 0 and given.max() <= 1:
        lost = np.bincount(owners, losses(labels, given), minlength=count).astype(np.float64)
        sizes = np.bincount(owners, minlength=count).astype(np.float64)
        row["log_loss"] = float(lost.sum() / sizes.sum())
        row["log_loss_ci"] = interval(ratio(lost, sizes, weights))
    gains, moments = _ndcg_by_household(predictions.moments[known], labels, owners, given, count)
    row["ndcg_moments"] = int(moments.sum())
    row["ndcg"], row["ndcg_ci"] = None, None
    if moments.sum():
        row["ndcg"] = float(gains.sum() / moments.sum())
        row["ndcg_ci"] = interval(ratio(gains, moments, weights))
    return row


def _gain(labels: Ints, households: Ints, scores: Floats, other: Floats, weights: Floats) -> dict[str, Any]:
    gain = _number(auc(labels, scores) - auc(labels, other))
    if gain is None:
        return {"auc_gain": None, "auc_gain_ci": None}
    replicates = auc_replicates(labels, scores, households, weights)
    return {
        "auc_gain": gain,
        "auc_gain_ci": interval(replicates - auc_replicates(labels, other, households, weights)),
    }


def _ndcg_by_household(
    moments: Ints, labels: Ints, households: Ints, scores: Floats, count: int
) -> tuple[Floats, Floats]:
    """For each household the sum of NDCG over its moments with a choice, and how many those are."""
    gains, counts = np.zeros(count), np.zeros(count)
    for pairs in _choices(moments, labels):
        gains[households[pairs[0]]] += ndcg(labels[pairs], scores[pairs])
        counts[households[pairs[0]]] += 1
    return gains, counts


def _choices(moments: Ints, labels: Ints) -> list[NDArray[np.intp]]:
    """The pairs of each moment in which some offers were taken and some were not."""
    if not len(moments):
        return []
    order = np.argsort(moments, kind="stable")
    starts = np.flatnonzero(np.diff(moments[order], prepend=moments[order[0]] - 1))
    sizes = np.diff(np.append(starts, len(order)))
    taken = np.add.reduceat(labels[order], starts)
    mixed = (taken > 0) & (taken < sizes)
    return [order[start : start + size] for start, size in zip(starts[mixed], sizes[mixed], strict=True)]


def curve(predictions: Predictions, periods: Sequence[str]) -> list[dict[str, Any]]:
    """How each method did period by period (a label for each pair, such as its month), in sorted order.

    Each entry is `{"period", "n", "positives", method: {"auc", "log_loss"}}`.
    """
    labels = np.asarray(periods)
    told = []
    for period in np.unique(labels):
        part = predictions.where(labels == period)
        entry: dict[str, Any] = {
            "period": str(period),
            "n": len(part),
            "positives": int(part.labels.sum()),
        }
        for method, scores in part.scores.items():
            known = ~np.isnan(scores)
            taken, given = part.labels[known], scores[known]
            probable = len(given) and given.min() >= 0 and given.max() <= 1
            entry[method] = {
                "auc": _number(auc(taken, given)),
                "log_loss": _number(log_loss(taken, given)) if probable else None,
            }
        told.append(entry)
    return told


def render(judged: Mapping[str, Any]) -> str:
    """A judgement as a table for a terminal.

    >>> print(render({"n": 2, "positives": 1, "households": 1, "river": {
    ...     "auc": 0.75, "auc_ci": [0.7, 0.8], "log_loss": 0.08, "ndcg": None, "ndcg_moments": 0}}))
    method                  AUC  95 %            log loss   NDCG
    river                 0.750  0.700 to 0.800    0.0800      -
    2 pairs, 1 taken, 1 households; NDCG over 0 moments with a choice
    """
    lines = [f"{'method':<20} {'AUC':>6}  {'95 %':<14}  {'log loss':>8}  {'NDCG':>5}"]
    moments = 0
    for method, row in judged.items():
        if not isinstance(row, dict):
            continue
        ci = row["auc_ci"]
        between = f"{ci[0]:.3f} to {ci[1]:.3f}" if ci else "-"
        cells = [f"{row['auc']:.3f}" if row["auc"] is not None else "-"]
        cells += [between, f"{row['log_loss']:.4f}" if row["log_loss"] is not None else "-"]
        cells += [f"{row['ndcg']:.3f}" if row["ndcg"] is not None else "-"]
        lines.append(f"{method:<20} {cells[0]:>6}  {cells[1]:<14}  {cells[2]:>8}  {cells[3]:>5}")
        moments = max(moments, row["ndcg_moments"])
    lines.append(
        f"{judged['n']:,} pairs, {judged['positives']:,} taken, {judged['households']:,} households; "
        f"NDCG over {moments:,} moments with a choice"
    )
    return "\n".join(lines)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
