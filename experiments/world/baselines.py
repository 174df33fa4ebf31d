"""What others would do: silence, chance, popularity, Beta Thompson, and the oracle that knows the truth.

All of them see the same moments under the same rules, and are paid the same. `experiments.world.contextual`
has those that look at the customer.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from experiments.world.happening import Conversion, Moment
from experiments.world.knowledge import Knowledge, Situation
from experiments.world.lessons import Lesson, Lessons
from experiments.world.policy import Asked
from experiments.world.response import Deal
from experiments.world.town import Town
from models.assortment import Assortment
from models.catalogue import Catalogue

Values = NDArray[np.float64]


class Silence:
    """Says nothing, ever: what people buy by themselves."""

    def choose(self, asked: Sequence[Asked]) -> list[str | None]:
        """Nothing."""
        return [None] * len(asked)

    def learn(self, conversions: Sequence[Conversion], before: int) -> None:
        """Nothing to learn."""


class Baseline:
    """Chooses by a worth for each offer that may be made (EUR); silence is worth what its placement says.

    What is shown becomes a lesson; `taught` is given those that are certain.
    """

    def __init__(self, knowledge: Knowledge, catalogue: Catalogue, seed: int) -> None:
        self.knowledge, self.catalogue = knowledge, catalogue
        self.rng = np.random.Generator(np.random.PCG64([seed, 77]))
        self.lessons = Lessons()
        self.offers = len(catalogue.assortment("card"))

    def choose(self, asked: Sequence[Asked]) -> list[str | None]:
        """The offer of the greatest worth, unless silence is worth more."""
        return [self._one(each) for each in asked]

    def _one(self, asked: Asked) -> str | None:
        assortment = self.catalogue.assortment(asked.placement)
        situation = self.knowledge.situation(asked.moment, asked.profile, assortment)
        if not len(situation.able.offers):
            return None
        worth, seen = self.worth(situation, assortment)
        best = int(np.argmax(worth))
        if worth[best] <= (assortment.placement.silence or 0.0):
            return None
        offer = int(situation.able.offers[best])
        self.lessons.showed(asked.moment, offer, None if seen is None else seen[best])
        return assortment.offers[offer].id

    def worth(self, situation: Situation, assortment: Assortment) -> tuple[Values, Values | None]:
        """What each offer that may be made is thought to be worth, and what was seen of it."""
        raise NotImplementedError

    def taught(self, lessons: Sequence[Lesson], before: int) -> None:
        """Learn what is certain now."""

    def learn(self, conversions: Sequence[Conversion], before: int) -> None:
        """Hand what is certain to `taught`."""
        for each in conversions:
            self.lessons.converted(each.moment, each.at)
        self.taught(self.lessons.certain(before), before)


class Random(Baseline):
    """Any offer that may be made, or silence, all with the same chance."""

    def worth(self, situation: Situation, assortment: Assortment) -> tuple[Values, Values | None]:
        """Chance."""
        count = len(situation.able.offers)
        worth = np.zeros(count)
        pick = int(self.rng.random() * (count + 1))
        if pick < count:
            worth[pick] = np.inf
        return worth, None


class Popularity(Baseline):
    """The offer that earned most a showing so far; a new one starts with the prior of its placement."""

    WEIGHT = 50.0
    """Showings that the prior counts for."""

    def __init__(self, knowledge: Knowledge, catalogue: Catalogue, seed: int) -> None:
        super().__init__(knowledge, catalogue, seed)
        prior = catalogue.placements["card"].prior
        self.taken = np.full(self.offers, prior * self.WEIGHT)
        self.left = np.full(self.offers, (1 - prior) * self.WEIGHT)

    def taught(self, lessons: Sequence[Lesson], before: int) -> None:
        """Count."""
        for each in lessons:
            (self.taken if each.label else self.left)[each.offer] += 1

    def rates(self) -> Values:
        """The rate of each offer of the assortment."""
        rates: Values = self.taken / (self.taken + self.left)
        return rates

    def worth(self, situation: Situation, assortment: Assortment) -> tuple[Values, Values | None]:
        """Rate times value."""
        able = situation.able.offers
        return self.rates()[able] * assortment.values[able], None


class Thompson(Popularity):
    """Beta-Bernoulli Thompson sampling, an arm for each offer (Thompson, 1933; Chapelle and Li, NIPS
    2011).
    """

    WEIGHT = 20.0

    def rates(self) -> Values:
        """A draw from what is believed of each rate."""
        rates: Values = self.rng.beta(self.taken, self.left)
        return rates


class Oracle:
    """Knows every need, mood and coin's bias, and makes the offer of the greatest true gain.

    It looks one moment ahead; what a contact costs later (tired people, messages switched off) is a price of
    `CARD` or `PUSH` EUR, the best of a grid. So it is a bound for who decides moment by moment under the
    rules.
    """

    CARD, PUSH = 0.05, 0.8

    def __init__(
        self, knowledge: Knowledge, catalogue: Catalogue, town: Town, deals: dict[str, Deal]
    ) -> None:
        self._knowledge, self._catalogue, self._town, self._deals = knowledge, catalogue, town, deals

    def choose(self, asked: Sequence[Asked]) -> list[str | None]:
        """What is truly best."""
        return [self.best(each.moment, self.open_to(each)) for each in asked]

    def open_to(self, asked: Asked) -> list[Deal]:
        """The offers that rules and dates leave."""
        assortment = self._catalogue.assortment(asked.placement)
        able = self._knowledge.situation(asked.moment, asked.profile, assortment).able
        return [self._deals[assortment.offers[n].id] for n in able.offers.tolist()]

    def best(self, moment: Moment, deals: Sequence[Deal]) -> str | None:
        """The offer of the greatest true gain, None when none is worth its price."""
        gains = self._town.minds.truth(moment, deals)
        if not gains or max(gains) <= (self.PUSH if moment.push else self.CARD):
            return None
        return deals[int(np.argmax(gains))].offer

    def learn(self, conversions: Sequence[Conversion], before: int) -> None:
        """Nothing to learn."""
