"""What each method said before the outcome was known, kept until the end for the judge."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kairos.demo.shopping import Moment

BASELINES = ("popularity", "popularity_household", "random")
MODELS = ("river", "lightgbm", "blend")
PRIOR = 0.02  # what anybody would say of a mailed coupon before seeing the data
_OFFER_WEIGHT = 50.0  # exposures worth of the overall rate that a new offer starts with
_HOUSEHOLD_WEIGHT = 20.0  # the same for a household


@dataclass
class Rates:
    """Response rates so far: of everything, of each offer, of each household; shrunk to the overall rate.

    >>> rates = Rates()
    >>> rates.seen("h1", "a", True); rates.seen("h2", "a", False)
    >>> 0.0 < rates.offer("b") < rates.offer("a") < 1.0
    True
    """

    positives: float = 1.0
    exposures: float = 50.0
    offers: dict[str, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0.0, 0.0]))
    households: dict[str, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0.0, 0.0]))

    def seen(self, household: str, offer: str, responded: bool) -> None:
        """Count one exposure whose outcome is now known."""
        self.positives += responded
        self.exposures += 1
        for counts in (self.offers[offer], self.households[household]):
            counts[0] += responded
            counts[1] += 1

    @property
    def overall(self) -> float:
        """Share of exposures that were answered."""
        return self.positives / self.exposures

    def offer(self, offer: str) -> float:
        """Popularity so far: the offer's own rate, shrunk."""
        return self._shrunk(self.offers.get(offer), _OFFER_WEIGHT)

    def household(self, household: str) -> float:
        """The household's own rate, shrunk."""
        return self._shrunk(self.households.get(household), _HOUSEHOLD_WEIGHT)

    def both(self, household: str, offer: str) -> float:
        """Popularity times how much more (or less) than others this household responds."""
        return min(self.offer(offer) * self.household(household) / self.overall, 0.95)

    def _shrunk(self, counts: Sequence[float] | None, weight: float) -> float:
        positives, exposures = counts or (0.0, 0.0)
        return (positives + weight * self.overall) / (exposures + weight)


@dataclass
class Predictions:
    """Every (moment, offer) pair with what each method predicted and, once known, the label.

    Methods without an answer (LightGBM before it is trained) hold NaN.
    """

    seed: int = 0
    days: list[int] = field(default_factory=list)
    moments: list[int] = field(default_factory=list)
    households: list[int] = field(default_factory=list)
    offers: list[str] = field(default_factory=list)
    labels: list[bool] = field(default_factory=list)
    scores: dict[str, list[float]] = field(default_factory=lambda: {m: [] for m in MODELS + BASELINES})
    _rates: Rates = field(default_factory=Rates)
    _waiting: list[tuple[str, str, bool]] = field(default_factory=list)
    _moment: int = 0

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)

    def predict(
        self,
        day: int,
        moment: Moment,
        offers: Sequence[str],
        scores: Mapping[str, NDArray[np.float64]],
        taken: frozenset[str],
    ) -> None:
        """Note what every method says now; `taken` is kept for the judge and taught only by `close_day`."""
        household = str(moment.household)
        for i, offer in enumerate(offers):
            self.days.append(day)
            self.moments.append(self._moment)
            self.households.append(moment.household)
            self.offers.append(offer)
            self.labels.append(offer in taken)
            for model in MODELS:
                known = scores.get(model)
                self.scores[model].append(float("nan") if known is None else float(known[i]))
            self.scores["popularity"].append(self._rates.offer(offer))
            self.scores["popularity_household"].append(self._rates.both(household, offer))
            # Any order, one rate: following the rate of each day would rank days against each other.
            self.scores["random"].append(PRIOR * (1 + 0.001 * (self._random.random() - 0.5)))
            self._waiting.append((household, offer, offer in taken))
        self._moment += 1

    def close_day(self) -> None:
        """Teach the baselines the day's outcomes: predict first, learn after."""
        for household, offer, taken in self._waiting:
            self._rates.seen(household, offer, taken)
        self._waiting.clear()

    def __len__(self) -> int:
        return len(self.labels)
