"""What people need: how a need rises and decays, and the kinds of needs there are.

Readiness to buy is a difference of two exponentials, which rises fast and decays with a half-life: r(s) = C
(2^-s - 2^(-s/rise)) with s in half-lives and C such that its height is 1. Whatever a person does about a need
(visits, looks, a purchase without any offer) happens at a rate in proportion to it, so one curve,
`Curve.part`, says how much of all that has happened after s half-lives.
"""

from dataclasses import dataclass
from math import log2
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


class Kind(NamedTuple):
    """A kind of need: `half_life` (ms), its share of all needs, a usual price (EUR), when in the day it
    rises.

    `weekend` 1 has the whole effect of a weekend, -1 the opposite; `summer` likewise for the year.
    """

    name: str
    half_life: int
    share: float
    price: float
    hours: tuple[tuple[float, float], ...]
    weekend: float
    summer: float


KINDS: Final = (
    Kind("lunch", 45 * MINUTE, 0.34, 22.0, ((12.0, 0.7), (19.0, 0.9)), -0.6, 0.0),
    Kind("ride", 20 * MINUTE, 0.285, 15.0, ((8.3, 0.6), (18.0, 0.8), (23.0, 1.2)), 0.3, -0.5),
    Kind("bike", 1 * HOUR, 0.14, 12.0, ((9.0, 1.0), (16.0, 2.0)), 0.8, 1.0),
    Kind("cinema", 3 * HOUR, 0.09, 30.0, ((18.0, 1.5),), 1.0, -0.8),
    Kind("groceries", 8 * HOUR, 0.1, 40.0, ((10.0, 1.5), (17.5, 1.5)), 0.8, 0.0),
    Kind("shoes", 2 * DAY, 0.03, 60.0, ((20.0, 2.0),), 0.5, 0.2),
    Kind("gadget", 5 * DAY, 0.01, 100.0, ((21.0, 1.5),), 0.2, -0.6),
    Kind("travel", 10 * DAY, 0.005, 120.0, ((20.5, 2.0),), 0.4, 0.6),
)
"""Of what people would spend 57 % goes to needs that last minutes, 28 % to hours, 14 % to days. Those that
last are easier to catch, so of what an oracle captures it is about a third each."""

MARGIN: Final = 0.4
"""What is left of a price, before anything is taken off."""

LONGEST: Final = 14.0
"""Half-lives after which a need is over."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The course of a need, over its height; `s` is time in half-lives of its decay.

    >>> curve = Curve.of(rise=0.1)
    >>> [round(curve.ready(s), 2) for s in (0.0, 0.37, 1.37, 2.37)]
    [0.0, 1.0, 0.56, 0.28]
    >>> round(float(curve.when(np.array(curve.part(2.0)))), 3)
    2.0
    """

    rise: float
    height: float
    grid: Floats
    parts: Floats

    @classmethod
    def of(cls, rise: float) -> "Curve":
        """The curve that rises with a half-life of `rise` times that of its decay."""
        peak = log2(1 / rise) * rise / (1 - rise)
        height = 1 / (2.0**-peak - 2.0 ** (-peak / rise))
        grid = np.concatenate([np.linspace(0, 2, 400), np.linspace(2, LONGEST, 400)[1:]])
        parts = ((1 - 2.0**-grid) - rise * (1 - 2.0 ** (-grid / rise))) / (1 - rise)
        return cls(rise, height, grid, parts / parts[-1])

    def ready(self, s: float) -> float:
        """Readiness after `s` half-lives, 0 to 1."""
        if not 0 < s < LONGEST:
            return 0.0
        ready: float = self.height * (2.0**-s - 2.0 ** (-s / self.rise))
        return ready

    def part(self, s: float) -> float:
        """How much of what a need brings about has happened after `s` half-lives, 0 to 1."""
        s = min(max(s, 0.0), LONGEST)
        done: float = ((1 - 2.0**-s) - self.rise * (1 - 2.0 ** (-s / self.rise))) / (1 - self.rise)
        return min(1.0, done)

    def when(self, part: Floats) -> Floats:
        """The half-lives after which so much of it has happened: the inverse of `part`."""
        return np.interp(part, self.parts, self.grid)
