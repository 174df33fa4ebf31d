"""The models of a placement together: which of them answer, and how their answers are joined."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from models.scorer import Floats, Matrix, Scorer, Scores

# What is recorded is float32; scores are held inside the open interval before they are rounded to it.
LEAST, MOST = 1e-7, 1 - 1e-6

FULL, BATCH, ONLINE, STATIC = "full", "batch", "online", "static"


@dataclass(frozen=True, slots=True)
class Scored:
    """What the models said: `scores` float32 (n,) by model, joined into `probability`.

    `rung` says how much of the ladder stood: `full` both models, `batch` or `online` one of them,
    `static` only the declared prior.
    """

    rung: str
    scores: Mapping[str, Floats]
    weights: Mapping[str, float]
    probability: Scores


@dataclass(frozen=True, slots=True)
class Blend:
    """The scorers that a placement has right now, and the weight of each in the blend.

    Make a new one when a model is swapped: a decision then sees one state of affairs throughout.
    """

    prior: Scorer
    online: Scorer | None = None
    batch: Scorer | None = None
    online_weight: float = 0.5
    batch_weight: float = 0.5

    @property
    def rung(self) -> str:
        """How much of the ladder stands."""
        if self.online and self.batch:
            return FULL
        return ONLINE if self.online else BATCH if self.batch else STATIC

    @property
    def versions(self) -> dict[str, str]:
        """The version of each model that would answer now."""
        return {scorer.name: scorer.version for scorer, _ in self._answering()}

    def score(self, matrices: Sequence[Matrix]) -> list[Scored]:
        """Score the offers of each matrix with each model that answers; join by a weighted mean of logits."""
        answering = self._answering()
        weights = {scorer.name: weight for scorer, weight in answering}
        every = {
            scorer.name: np.clip(scorer.score(*matrices), LEAST, MOST).astype(np.float32)
            for scorer, _ in answering
        }
        joined, rung = join(every, weights), self.rung
        found = []
        for begin, end in pairwise(accumulate(map(len, matrices), initial=0)):
            scores = {name: each[begin:end] for name, each in every.items()}
            found.append(Scored(rung, scores, weights, joined[begin:end]))
        return found

    def _answering(self) -> list[tuple[Scorer, float]]:
        if self.online and self.batch:
            return [(self.online, self.online_weight), (self.batch, self.batch_weight)]
        return [(self.online or self.batch or self.prior, 1.0)]


def join(scores: Mapping[str, Floats], weights: Mapping[str, float]) -> Scores:
    """The weighted mean of logits, as a probability; one model alone is passed through.

    >>> half = {"a": np.array([0.2], dtype=np.float32), "b": np.array([0.8], dtype=np.float32)}
    >>> join(half, {"a": 0.5, "b": 0.5}).round(6).tolist()
    [0.5]
    """
    if len(scores) == 1:
        (alone,) = scores.values()
        return alone.astype(np.float64)
    logit: Scores = np.zeros(1)
    for name, each in scores.items():
        p = each.astype(np.float64)
        logit = logit + weights[name] * np.log(p / (1.0 - p))
    joined: Scores = 1.0 / (1.0 + np.exp(-logit / sum(weights.values())))
    return joined
