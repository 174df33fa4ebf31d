"""What the online learner knows at one moment, read for scoring: numpy and nothing else."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.scorer import Columns, Floats, Matrix, Places, Scores

NAME = "river"


class Snapshot(msgspec.Struct, frozen=True):
    """A learner at one moment, as MessagePack: what scoring needs and what learning goes on from.

    Lists run over `names`. A feature that was never seen is not in it.
    """

    names: list[str]
    count: int
    positives: int
    intercept: float
    iterations: int
    weights: list[float]
    counts: list[float]
    means: list[float]
    variances: list[float]
    z: list[float]
    n: list[float]
    settings: dict[str, float]


def squash(values: NDArray[Any]) -> NDArray[np.float64]:
    """Signed log1p: sums of money and days have heavy tails that a linear model would follow.

    What is not finite is missing: one infinity would spoil a running mean for ever.

    >>> squash(np.array([0.0, np.e - 1, 1 - np.e, np.inf])).tolist()
    [0.0, 1.0, -1.0, nan]
    """
    wide = np.asarray(values, dtype=np.float64)
    result: NDArray[np.float64] = np.copysign(np.log1p(np.abs(wide)), wide)
    result[np.isinf(result)] = np.nan
    return result


class _Part(NamedTuple):
    weights: NDArray[np.float64]
    means: NDArray[np.float64]
    scales: NDArray[np.float64]


@dataclass(slots=True)
class RiverScorer:
    """A snapshot read for scoring: no River on this path, and nothing but two products of arrays a matrix.

    One product is for what all offers share, one for what differs between them.
    """

    version: str
    learned: int
    intercept: float
    weights: NDArray[np.float64]
    means: NDArray[np.float64]
    scales: NDArray[np.float64]
    cap: float
    places: Places
    name: str = NAME
    _ready: tuple[Columns, _Part, _Part] | None = None

    @classmethod
    def from_snapshot(cls, packed: bytes, version: str = "") -> "RiverScorer":
        """The scorer of a snapshot; `version` defaults to the number of examples learned."""
        kept = msgspec.msgpack.decode(packed, type=Snapshot)
        variances = np.array(kept.variances)
        scale = np.divide(1.0, np.sqrt(variances), out=np.zeros_like(variances), where=variances > 0)
        return cls(
            version=version or str(kept.count),
            learned=kept.count,
            intercept=kept.intercept,
            weights=np.array(kept.weights),
            means=np.array(kept.means),
            scales=scale,
            cap=kept.settings["cap"],
            places=Places(tuple(kept.names)),
        )

    def score(self, *matrices: Matrix) -> Scores:
        """Probabilities; a feature that is missing here, or was never learned, counts as its mean."""
        shared, own = self._arrays(matrices[0].columns)
        customers = self._standard(np.stack([each.customer for each in matrices]), shared)
        offers = self._standard(np.concatenate([each.offers for each in matrices]), own)
        logit = np.empty(len(offers))
        begin = 0
        for customer, each in zip(customers, matrices, strict=True):
            # A product for each matrix: a larger one would add in another order, and differ in the last bit.
            rows = slice(begin, begin := begin + len(each))
            logit[rows] = self.intercept + customer @ shared.weights + offers[rows] @ own.weights
        result: Scores = 1.0 / (1.0 + np.exp(-logit))
        return result

    def _standard(self, values: Floats, part: _Part) -> NDArray[np.float64]:
        standard = (squash(values) - part.means) * part.scales
        # fmin and fmax would turn a missing value into the cap; it must stay missing until it is nothing.
        np.maximum(np.minimum(standard, self.cap, out=standard), -self.cap, out=standard)
        standard[np.isnan(standard)] = 0.0
        return standard

    def _arrays(self, columns: Columns) -> tuple[_Part, _Part]:
        """Weights, means and scales laid out as `columns` are; what the model does not know weighs 0."""
        if self._ready is None or self._ready[0] is not columns:
            places = self.places.of(columns)
            known = places >= 0
            laid = np.zeros((3, len(columns.names)))
            laid[:, places[known]] = np.stack([self.weights, self.means, self.scales])[:, known]
            cut = len(columns.customer)
            self._ready = (columns, _Part(*laid[:, :cut]), _Part(*laid[:, cut:]))
        return self._ready[1], self._ready[2]
