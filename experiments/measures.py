"""AUC, log loss and NDCG, as scikit-learn has them and without its price per call."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LEAST = 1e-12
"""No probability is taken to be nearer to 0 or 1: one such miss would be infinitely bad."""


def auc(labels: NDArray[Any], scores: Floats) -> float:
    """The chance that a taken pair scores above one that was not, ties counting half; NaN without both.

    >>> auc(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
    0.75
    """
    positive, negative = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    if not len(positive) or not len(negative):
        return float("nan")
    below = np.searchsorted(negative, positive, side="left").sum()
    equal = np.searchsorted(negative, positive, side="right").sum() - below
    return float((below + 0.5 * equal) / (len(positive) * len(negative)))


def log_loss(labels: NDArray[Any], scores: Floats) -> float:
    """The mean of -log(probability given to what happened).

    >>> round(log_loss(np.array([1, 0]), np.array([0.5, 0.5])), 6)
    0.693147
    """
    return float(losses(labels, scores).mean()) if len(labels) else float("nan")


def ndcg(labels: NDArray[Any], scores: Floats) -> float:
    """How near the order of scores comes to the best order of one list, gains being the labels.

    Offers with equal scores share the mean of their discounts, so no order is invented.

    >>> round(ndcg(np.array([1, 0]), np.array([0.1, 0.9])), 4)  # 1 / log2(3)
    0.6309
    """
    discounts = 1.0 / np.log2(np.arange(2, len(labels) + 2))
    _, group, sizes = np.unique(-scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(sizes)
    total = np.concatenate([[0.0], np.cumsum(discounts)])
    mean = (total[ends] - total[ends - sizes]) / sizes
    ideal = discounts[: int((labels == 1).sum())].sum()
    return float((labels * mean[group]).sum() / ideal)


def losses(labels: NDArray[Any], scores: Floats) -> Floats:
    """-log(probability given to what happened), for each pair."""
    safe = np.clip(scores, LEAST, 1 - LEAST)
    each: Floats = -np.where(labels == 1, np.log(safe), np.log1p(-safe))
    return each
