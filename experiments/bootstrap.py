"""Intervals by drawing households again: the pairs of one household are not independent."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def draws(households: int, replicates: int, seed: int) -> Floats:
    """How often each household is drawn in each replicate, (replicates, households).

    >>> draws(4, 2, seed=1).sum(axis=1).tolist()
    [4.0, 4.0]
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    chances = np.full(households, 1 / households)
    drawn: Floats = generator.multinomial(households, chances, size=replicates).astype(np.float64)
    return drawn


def ratio(numerators: Floats, denominators: Floats, weights: Floats) -> Floats:
    """In each replicate the ratio of two sums over households; NaN where the denominator is 0."""
    above, below = weights @ numerators, weights @ denominators
    replicates: Floats = np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
    return replicates


def auc_wins(labels: NDArray[Any], scores: Floats, households: Ints, count: int) -> tuple[Ints, Floats]:
    """AUC as a sum over pairs of households: (those with positives, wins of each over each).

    wins[i, h] is how many (positive of the i-th, negative of h) pairs are in the right order; ties count
    half. One walk up the sorted scores makes it; every replicate is then a product of matrices.
    """
    order = np.argsort(scores[labels == 0], kind="stable")
    negative, whose = scores[labels == 0][order], households[labels == 0][order]
    climb = np.argsort(scores[labels == 1], kind="stable")
    positive, owner = scores[labels == 1][climb], households[labels == 1][climb]
    winners, row = np.unique(owner, return_inverse=True)
    wins = np.zeros((len(winners), count))
    for side in ("left", "right"):
        below = np.zeros(count)
        reached = 0
        for place, end in zip(row.tolist(), np.searchsorted(negative, positive, side).tolist(), strict=True):
            if end > reached:
                below += np.bincount(whose[reached:end], minlength=count)
                reached = end
            wins[place] += 0.5 * below
    return winners.astype(np.int64), wins


def auc_replicates(labels: NDArray[Any], scores: Floats, households: Ints, weights: Floats) -> Floats:
    """The AUC of each replicate; `households` are columns of `weights`."""
    count = weights.shape[1]
    winners, wins = auc_wins(labels, scores, households, count)
    positives = np.bincount(households[labels == 1], minlength=count).astype(np.float64)
    negatives = np.bincount(households[labels == 0], minlength=count).astype(np.float64)
    right = ((weights[:, winners] @ wins) * weights).sum(axis=1)
    every = (weights @ positives) * (weights @ negatives)
    replicates: Floats = np.divide(right, every, out=np.full(len(right), np.nan), where=every > 0)
    return replicates


def interval(replicates: Floats) -> list[float] | None:
    """The middle 95 % of replicates, or None when none could be computed."""
    known = replicates[~np.isnan(replicates)]
    if not len(known):
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return [float(low), float(high)]
