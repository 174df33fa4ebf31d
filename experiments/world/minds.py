"""What goes on in people: which needs they have, how ready they are, how tired. Nobody sees it but the
oracle.
"""

from collections.abc import Sequence
from math import exp

import numpy as np

from experiments.world.diary import Needs, over
from experiments.world.effects import Effects
from experiments.world.happening import Moment
from experiments.world.needs import KINDS, Curve
from experiments.world.people import People
from experiments.world.response import Chances, Deal, Mood, attention, chances

_SILENT: tuple[float, Deal | None] = (0.0, None)


class Minds:
    """The truth about everybody at any instant.

    `met` says which needs are met; `mass` how much of buying by itself a need brings about, 0 once somebody
    was put off; `moods` are people's.
    """

    def __init__(self, people: People, needs: Needs, effects: Effects, curve: Curve) -> None:
        self.effects, self.curve = effects, curve
        self.met = [False] * len(needs.person)
        self.mass: list[float] = (-np.log1p(-needs.chance)).tolist()
        self.moods = [Mood() for _ in range(len(people))]
        self.kind: list[int] = needs.kind.tolist()
        self.half_life: list[float] = needs.half_life.tolist()
        self._onset, self._strength = needs.onset.tolist(), needs.strength.tolist()
        self._over = over(needs).tolist()
        self._sense, self._touchy, self._bot = (
            each.tolist() for each in (people.sense, people.touchy, people.bot)
        )
        self._of: list[list[int]] = [[] for _ in range(len(people))]
        for number, person in enumerate(needs.person.tolist()):
            self._of[person].append(number)

    def readiness(self, need: int, at: int) -> float:
        """How ready the person of this need is to buy at an instant (ms), 0 to 1."""
        since = (at - self._onset[need]) / self.half_life[need]
        ready: float = self._strength[need] * self.curve.ready(since)
        return ready

    def need(self, person: int, kind: int, at: int) -> int | None:
        """The need of this kind that is strongest in a person now, if any is not met."""
        best, ready = None, 0.0
        for need in self._of[person]:
            if self._onset[need] >= at:
                break
            if self.kind[need] == kind and not self.met[need] and at < self._over[need]:
                now = self.readiness(need, at)
                if now > ready:
                    best, ready = need, now
        return best

    def chances(self, person: int, at: int, push: bool, deal: Deal, need: int | None) -> Chances:
        """What a contact may come to, `need` being the one that it speaks to."""
        if self._bot[person]:
            return Chances(0.0, 0.0, 0.0)
        e = self.effects
        ready = by_itself = 0.0
        if need is not None:
            since = (at - self._onset[need]) / self.half_life[need]
            ready = self._strength[need] * self.curve.ready(since)
            by_itself = 1 - exp(-self.mass[need] * (1 - self.curve.part(since)))
        attends = attention(e, self.moods[person].fatigue(at, e.recovery), push)
        price, off = KINDS[deal.kind].price, deal.discount
        return chances(e, ready, by_itself, self._sense[person], self._touchy[person], price, off, attends)

    def truth(self, moment: Moment, deals: Sequence[Deal]) -> list[float]:
        """What each deal would be worth at this moment, EUR over silence: what the oracle knows."""
        person, at = moment.person, moment.at
        if moment.push and self.moods[person].off:
            return [0.0] * len(deals)
        found = {kind: self.need(person, kind, at) for kind in sorted({deal.kind for deal in deals})}
        return [self.chances(person, at, moment.push, deal, found[deal.kind]).gain for deal in deals]

    def best(self, moment: Moment, deals: Sequence[Deal]) -> tuple[float, Deal | None]:
        """The greatest gain of a deal that speaks to a need at this moment, and that deal; None for
        silence.
        """
        person, at, found = moment.person, moment.at, _SILENT
        if not self._bot[person] and not (moment.push and self.moods[person].off):
            needs = {kind: self.need(person, kind, at) for kind in self._has(person, at)}
            for deal in deals:
                if deal.kind in needs:
                    gain = self.chances(person, at, moment.push, deal, needs[deal.kind]).gain
                    if gain > found[0]:
                        found = gain, deal
        return found

    def _has(self, person: int, at: int) -> list[int]:
        """The kinds of what a person needs now."""
        now = [n for n in self._of[person] if self._onset[n] < at < self._over[n] and not self.met[n]]
        return sorted({self.kind[need] for need in now})
