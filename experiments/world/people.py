"""Who lives in the town: tastes, habits, price sense, and the ids by which the app and the till know them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.world.effects import Effects
from experiments.world.needs import DAY, KINDS, Floats

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class People:
    """The population, an array over people each.

    `taste` (people, kinds) is how much more of each kind somebody needs than others, `moves` (people, kinds)
    in which direction that drifts. `loyal` is the chance that a need ends in a purchase here by itself,
    `sense` the logits that a whole price taken off adds, `shift` hours by which the day is shifted.
    `signs_in` (ms after the beginning) is when the first device is linked to the account, -1 before anything
    else; `second` when another device is taken, -1 never. `stranger`: the till knows the account before.
    """

    taste: Floats
    moves: Floats
    loyal: Floats
    sense: Floats
    touchy: Flags
    shift: Floats
    bot: Flags
    signs_in: NDArray[np.int64]
    second: NDArray[np.int64]
    stranger: Flags

    def __len__(self) -> int:
        return len(self.bot)

    @classmethod
    def draw(cls, effects: Effects, rng: np.random.Generator, customers: int, days: int) -> "People":
        """So many people; what they are does not depend on what is offered to them."""
        kinds, e = len(KINDS), effects
        taste = np.exp(e.taste * rng.standard_normal((customers, kinds)) - e.taste**2 / 2)
        moves = rng.standard_normal((customers, kinds))
        loyal = np.clip(e.organic * np.exp(0.5 * rng.standard_normal(customers)), 0.0, 0.95)
        sense = e.price_sense * np.exp(0.7 * rng.standard_normal(customers))
        draw, late = rng.random(customers), rng.random(customers)
        stranger = draw < e.strangers
        later = stranger | (draw < e.strangers + e.guests)
        second = rng.random(customers) < e.second_device
        at = rng.random(customers)
        return cls(
            taste=taste,
            moves=moves,
            loyal=loyal,
            sense=sense,
            touchy=rng.random(customers) < e.touchy,
            shift=e.habit * rng.standard_normal(customers),
            bot=rng.random(customers) < e.bots,
            signs_in=np.where(later, (late * days * DAY / 2).astype(np.int64), -1),
            second=np.where(second, (at * days * DAY).astype(np.int64), -1),
            stranger=stranger,
        )


def account(person: int) -> str:
    """The id by which the till knows somebody.

    >>> account(7)
    'a00007'
    """
    return f"a{person:05d}"


def device(person: int, number: int = 1) -> str:
    """The id by which the app knows somebody's first or second device.

    >>> device(7), device(7, 2)
    ('d00007-1', 'd00007-2')
    """
    return f"d{person:05d}-{number}"
