"""What an offer does to a person: the truth that no recommender knows, and the oracle does.

A contact is one offer shown to one person at one instant. With readiness r of the need that it speaks to:

    p = r x attention x appeal          they take it
    q = chance that they would have bought by themselves, from now on, had nobody said anything
    w = chance that being spoken to puts off who would have bought

A purchase is worth the margin M, less D, what the offer takes off. So the contact is worth, against silence,

    gain = p (M - D) + (1 - p) (1 - w) q M  -  q M

which is what uplift means: sure things (q near 1) bring nothing and cost D, sleeping dogs (w > 0) cost q M,
lost causes (r = 0) bring nothing. Gains add up: their sum over a run is what the run is worth more than
silence, in expectation, because what a contact leaves behind (fatigue, needs met) is in the gains that come
after it.
"""

from dataclasses import dataclass
from math import exp, log
from typing import NamedTuple

from experiments.world.effects import Effects
from experiments.world.needs import DAY, MARGIN


class Deal(NamedTuple):
    """What an offer is here: its place among all, the kind of need it speaks to, the part of the price taken
    off.
    """

    offer: str
    kind: int
    discount: float


class Chances(NamedTuple):
    """What a contact may come to: that it is taken, that it puts off; and its gain over silence, EUR."""

    take: float
    put_off: float
    gain: float


@dataclass(slots=True)
class Mood:
    """What contacts have left in a person: fatigue as of `at` (ms), and whether messages are switched off.

    >>> mood = Mood()
    >>> mood.tire(1.0, at=0, recovery=2.0)
    >>> round(mood.fatigue(2 * DAY, 2.0), 3)
    0.5
    """

    tired: float = 0.0
    at: int = 0
    off: bool = False

    def fatigue(self, at: int, recovery: float) -> float:
        """What is left of it; it halves in `recovery` days."""
        return self.tired * 2.0 ** (-(at - self.at) / (recovery * DAY)) if self.tired else 0.0

    def tire(self, by: float, at: int, recovery: float) -> None:
        """One more contact."""
        self.tired, self.at = self.fatigue(at, recovery) + by, at


def attention(effects: Effects, fatigue: float, push: bool) -> float:
    """How much of an offer gets through to a person: tired people look away."""
    return exp(-fatigue) * (effects.heard if push else 1.0)


def appeal(effects: Effects, sense: float, discount: float) -> float:
    """Who takes an offer at the height of a need: the price-minded wait for a discount, others take it as it
    is.

    `sense` is the person's, in logits for a whole price. A quarter of it is what they ask for in advance.

    >>> plain, cut = (appeal(Effects(), 15.0, discount) for discount in (0.0, 0.25))
    >>> round(plain, 2), round(cut, 2)
    (0.08, 0.78)
    """
    base = log(effects.appeal / (1 - effects.appeal))
    return 1 / (1 + exp(-(base + sense * discount - 0.25 * (sense - effects.price_sense))))


def chances(
    effects: Effects,
    ready: float,
    by_itself: float,
    sense: float,
    touchy: bool,
    price: float,
    discount: float,
    attends: float,
) -> Chances:
    """What a contact may come to and is worth; `ready` and `by_itself` are r and q of the need spoken to.

    >>> sure = chances(Effects(), 1.0, 0.95, 5.0, False, 20.0, 0.25, 1.0)
    >>> open_ = chances(Effects(), 1.0, 0.05, 5.0, False, 20.0, 0.25, 1.0)
    >>> sure.gain < 0 < open_.gain
    True
    """
    taken = attends * (ready * appeal(effects, sense, discount) + (1 - ready) * effects.impulse)
    lost = effects.put_off * attends if touchy and by_itself > 0 else 0.0
    margin, left = MARGIN * price, (MARGIN - discount) * price
    gain = taken * left + (1 - taken) * (1 - lost) * by_itself * margin - by_itself * margin
    return Chances(taken, lost, gain)


def opts_out(effects: Effects, fatigue: float) -> float:
    """The chance that a message was one too many: the more tired, the likelier.

    >>> opts_out(Effects(), 0.0)
    0.015
    """
    return min(1.0, effects.opt_out * exp(fatigue))
