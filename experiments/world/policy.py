"""What a policy is: somebody who says something, or nothing, at each moment, and learns from what comes of
it.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from experiments.world.happening import Conversion, Moment
from experiments.world.knowledge import Profile

CARD, PUSH = "card", "push"
"""The placements of the playbook: one card in the app, one message to the phone."""


class Asked(NamedTuple):
    """A moment, and the customer who is meant as Kairos knows them."""

    moment: Moment
    profile: Profile

    @property
    def placement(self) -> str:
        """Where something may be said."""
        return PUSH if self.moment.push else CARD


class Policy(Protocol):
    """Says which offer to make, by its id, or None for silence."""

    def choose(self, asked: Sequence[Asked]) -> list[str | None]:
        """An answer to each moment; they are of about the same time and of different people."""
        ...

    def learn(self, conversions: Sequence[Conversion], before: int) -> None:
        """Take in what came of it; everything up to `before` (ms) is known now."""
        ...
