"""One run: people live on, moments come, a policy answers, and time goes on in steps of simulated time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from experiments.world.happening import START, Conversion, Moment
from experiments.world.knowledge import Knowledge
from experiments.world.policy import Asked, Policy
from experiments.world.response import Deal
from experiments.world.town import Town

STEP = 15 * 60_000
"""How often policies learn, and waits that are over are looked for, ms of simulated time.

A person's own events are known as late as the run says and no later, whatever the step.
"""


@dataclass(slots=True)
class Run:
    """A policy in the town: `knowledge` is what it can know, `deals` what each offer is to people."""

    town: Town
    knowledge: Knowledge
    policy: Policy
    deals: dict[str, Deal]
    watch: Callable[[Asked, str | None], None] | None = None

    def steps(self, step: int = STEP) -> Iterator[int]:
        """Live to the end; each step's end (ms)."""
        late: list[Conversion] = []
        for until in range(START + step, self.town.end + step, step):
            while self._once(min(until, self.town.end)):
                pass
            self._woken(until)
            known = until - self.knowledge.delay
            late += self.town.conversions
            self.town.conversions = []
            told = [each for each in late if each.at <= known]
            late = [each for each in late if each.at > known]
            self.policy.learn(told, known)
            yield until
        self.town.settle()

    def _once(self, until: int) -> bool:
        happened, moments = self.town.advance(until)
        self.knowledge.take(happened)
        if not moments:
            return False
        profiles = self.knowledge.of(moments)
        fired = self.knowledge.fold(profiles, [moment.at for moment in moments])
        asked = [
            Asked(moment, profile)
            for moment, profile, ones in zip(moments, profiles, fired, strict=True)
            if ones or not moment.heard
        ]
        self._answer(asked)
        return True

    def _woken(self, until: int) -> None:
        """Answer for those whom time alone woke by now: together, but nobody twice at once."""
        asked: dict[int, Asked] = {}
        for profile, fired in self.knowledge.wake(until):
            person = profile.person
            if person >= 0 and until < self.town.end:
                if person in asked:
                    self._answer([*asked.values()])
                    asked = {}
                key = (self.town.seed, person, fired.time)
                asked[person] = Asked(Moment(until, person, profile.device, True, key), profile)
        self._answer([*asked.values()])

    def _answer(self, asked: list[Asked]) -> None:
        for each, offer in zip(asked, self.policy.choose(asked), strict=True):
            if self.watch is not None:
                self.watch(each, offer)
            self.town.answer(each.moment, None if offer is None else self.deals[offer])
