"""What a policy is taught: each offer it showed, and whether a purchase came of it in time.

The baselines learn from what `experiments.attribution` teaches the models of Kairos: a conversion as it
happens, silence once the window has closed.
"""

import heapq
from typing import NamedTuple

from experiments.world.happening import ATTRIBUTED, Moment


class Lesson(NamedTuple):
    """An offer that was shown, by its place in the assortment; `seen` is whatever the policy saw of it."""

    offer: int
    seen: object
    label: int
    at: int


class Lessons:
    """Waits for what becomes of offers; hands out what is certain, in the order in which it became so.

    >>> lessons = Lessons()
    >>> one, other = Moment(0, 1, "d", False, (1,)), Moment(5, 2, "d", False, (2,))
    >>> lessons.showed(one, 3, None); lessons.showed(other, 4, None)
    >>> lessons.converted(other, 9)
    >>> [(each.offer, each.label) for each in lessons.certain(ATTRIBUTED)]
    [(4, 1), (3, 0)]
    """

    def __init__(self) -> None:
        self._open: dict[tuple[int, ...], tuple[int, object, int]] = {}
        self._closing: list[tuple[int, tuple[int, ...], int]] = []

    def showed(self, moment: Moment, offer: int, seen: object) -> None:
        """An offer was shown."""
        self._open[moment.key] = (offer, seen, moment.at)
        heapq.heappush(self._closing, (moment.at + ATTRIBUTED, moment.key, 0))

    def converted(self, moment: Moment, at: int) -> None:
        """A purchase came of it at this instant (ms)."""
        if moment.key in self._open:
            heapq.heappush(self._closing, (at, moment.key, 1))

    def certain(self, before: int) -> list[Lesson]:
        """What is known for certain once everything up to `before` (ms) is."""
        found = []
        while self._closing and self._closing[0][0] <= before:
            _, key, label = heapq.heappop(self._closing)
            shown = self._open.pop(key, None)
            if shown is not None:
                found.append(Lesson(shown[0], shown[1], label, shown[2]))
        return found
