"""What others would do who look at the customer: LinUCB, and LightGBM trained anew every night."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from experiments.attribution import Example
from experiments.training import TooFew, train
from experiments.world.baselines import Baseline, Values
from experiments.world.happening import START
from experiments.world.knowledge import Knowledge, Situation
from experiments.world.lessons import Lesson
from experiments.world.needs import DAY
from models.assortment import Assortment
from models.catalogue import Catalogue
from models.scorers.lightgbm_ranker import LightGBMRanker
from models.scorers.river_scorer import squash


class LinUCB(Baseline):
    """LinUCB with disjoint linear models: Li, Chu, Langford and Schapire, WWW 2010, algorithm 1.

    Each arm a keeps A_a = I + sum of x x' and b_a = sum of r x over what it was shown for; with theta_a =
    A_a^-1 b_a an arm is thought to convert with theta_a' x + alpha sqrt(x' A_a^-1 x). The inverse is kept
    itself, by the formula of Sherman and Morrison. x are the cross and the customer's features, their
    logarithms' scale, and 1.
    """

    ALPHA = 0.2

    def __init__(self, knowledge: Knowledge, catalogue: Catalogue, seed: int) -> None:
        super().__init__(knowledge, catalogue, seed)
        columns = catalogue.assortment("card").columns
        cross = sum(len(each) for each in catalogue.assortment("card").families.values())
        self._width = 1 + catalogue.assortment("card").features + cross
        assert len(columns.names) >= self._width - 1
        self._inverse = np.tile(np.eye(self._width), (self.offers, 1, 1))
        self._b = np.zeros((self.offers, self._width))
        self._theta = np.zeros((self.offers, self._width))

    def worth(self, situation: Situation, assortment: Assortment) -> tuple[Values, Values | None]:
        """The upper bound of its chance, times its value."""
        able = situation.able.offers
        x = np.ones((len(able), self._width))
        x[:, 1 : 1 + len(situation.row)] = np.nan_to_num(squash(situation.row)) / 4
        x[:, 1 + len(situation.row) :] = np.nan_to_num(squash(situation.able.cross)) / 4
        inverse = self._inverse[able]
        spread = np.einsum("ni,ni->n", np.matmul(inverse, x[:, :, None])[:, :, 0], x)
        bound = np.einsum("ni,ni->n", self._theta[able], x) + self.ALPHA * np.sqrt(np.maximum(spread, 0.0))
        return bound * assortment.values[able], x

    def taught(self, lessons: Sequence[Lesson], before: int) -> None:
        """One step of Sherman and Morrison for each lesson."""
        for each in lessons:
            x = np.asarray(each.seen)
            inverse = self._inverse[each.offer]
            half = inverse @ x
            inverse -= np.outer(half, half) / (1 + x @ half)
            if each.label:
                self._b[each.offer] += x
            self._theta[each.offer] = inverse @ self._b[each.offer]


class Nightly(Baseline):
    """LightGBM, trained every midnight on all that is certain by then; one moment in twenty is left to
    chance.

    `experiments.training.train` does it, with larger steps than a model that has a week to be made.
    """

    EXPLORE = 0.05
    PARAMS: ClassVar[Mapping[str, float]] = {
        "learning_rate": 0.1,
        "num_iterations": 100,
        "min_data_in_leaf": 40,
    }
    NEWEST = 20_000

    def __init__(self, knowledge: Knowledge, catalogue: Catalogue, seed: int) -> None:
        super().__init__(knowledge, catalogue, seed)
        self.model: LightGBMRanker | None = None
        self._examples: list[Example] = []
        self._night = 0

    def worth(self, situation: Situation, assortment: Assortment) -> tuple[Values, Values | None]:
        """The model's chance times the value; chance where there is no model, and now and then."""
        able, at = situation.able, situation.moment.at
        matrix = assortment.matrix(situation.row, able.cross, able.offers, at)
        seen = matrix.dense()
        if self.model is None or self.rng.random() < self.EXPLORE:
            worth = np.zeros(len(able.offers))
            worth[int(self.rng.random() * len(worth))] = np.inf
            return worth, seen
        return self.model.score(matrix) * assortment.values[able.offers], seen

    def taught(self, lessons: Sequence[Lesson], before: int) -> None:
        """Keep lessons; train behind each midnight."""
        names = self.catalogue.assortment("card").columns.names
        for each in lessons:
            x = np.asarray(each.seen, dtype=np.float32)
            self._examples.append(
                Example(str(len(self._examples)), "", str(each.offer), each.at, names, x, each.label, "card")
            )
        night = (before - START) // DAY
        if night > self._night:
            self._night = night
            try:
                trained = train(self._examples[-self.NEWEST :], self.PARAMS)
            except TooFew:
                return
            self.model = LightGBMRanker.from_artefact(trained.artefact(), str(night))
