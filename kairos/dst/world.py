"""Everything there is in one simulated run, and who of it goes on next."""

import random
from collections.abc import Callable
from typing import Final, NamedTuple

from kairos.dst.broken import Broken
from kairos.dst.bus import Topics
from kairos.dst.keyspace import Keyspace
from kairos.dst.part import Incarnation, Part, Runner
from kairos.dst.redis_server import Server
from kairos.dst.weather import Weather

EPOCH_MS: Final = 1_800_000_000_000
"""The wall clock when a run begins: 2027-01-15T08:00:00Z."""


STAYS: Final = 0.6
"""How often who goes on next is who has just gone on: changing over is what a step costs most."""


class Told(NamedTuple):
    """One line of the trace: at which step and instant (ms since the beginning) who did what."""

    step: int
    at: int
    who: str
    what: str


class World:
    """Bus, Redis, time and parts of one run. All chance comes from one generator, so a seed says it all."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.step = 0
        self.topics = Topics()
        self.redis = Server(Keyspace(lambda: int(self.now)))
        self.parts: dict[str, Part] = {}
        self.trace: list[Told] = []
        self.weather = Weather(self.random, lambda: self.now)
        self.haste_ms = 16.0
        """How long (ms) a step takes at most."""
        self.leisure = 1.0
        """How many times as long as it says who has nothing to do waits."""
        self.until = 0
        self.between: Callable[[], None] = lambda: None
        self.broken: Broken | None = None
        self._later: list[tuple[float, Callable[[], None]]] = []

    def wall_ms(self) -> int:
        """The true wall clock, which those of the parts differ from by their skew."""
        return EPOCH_MS + int(self.now)

    def tell(self, who: str, what: str) -> None:
        """Note a line of the trace."""
        self.trace.append(Told(self.step, int(self.now), who, what))

    def later(self, ms: float, what: Callable[[], None]) -> None:
        """Do something when so much time has passed."""
        self._later.append((self.now + ms, what))

    def stays(self) -> bool:
        """Whether whoever has just met the world is the one that goes on next; that, too, is a step.

        Errors: `Crash` of a life that this step ends.
        """
        if self.random.random() > STAYS or self.step >= self.until:
            return False
        self.pass_time()
        try:
            self.between()
            self.begin_step()
        except Broken as broken:
            self.broken = broken
            return False
        return True

    def begin_step(self) -> None:
        """Let happen what is due."""
        self.step += 1
        if self._later:
            for each in [each for each in self._later if each[0] <= self.now]:
                self._later.remove(each)
                each[1]()

    def turn(self) -> None:
        """One step: somebody who can goes on to its next meeting with the world; time passes."""
        self.begin_step()
        now = self.now
        ready: list[tuple[Incarnation, Runner]] = []
        soonest = float("inf")
        for part in self.parts.values():
            life = part.life
            if life is None:
                if part.retired:
                    continue
                if part.starts_at <= now:
                    part.start()
                    return
                soonest = min(soonest, part.starts_at)
                continue
            for runner in life.runners:
                due = runner.due()
                if due is None:
                    continue
                if due <= now < part.hangs_until:
                    self.weather.met["hang"] += 1
                due = max(due, part.hangs_until)
                if due <= now:
                    ready.append((life, runner))
                else:
                    soonest = min(soonest, due)
        if not ready:
            if soonest < float("inf"):
                self.now = soonest
            return
        life, runner = ready[int(self.random.random() * len(ready))]
        life.go(runner)
        self.pass_time()

    def pass_time(self) -> None:
        """What was done has taken a while."""
        self.now += self.random.random() * self.haste_ms
