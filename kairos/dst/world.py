"""Everything there is in one simulated run, and who of it goes on next."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from kairos.dst.broken import Broken
from kairos.dst.bus import Topics
from kairos.dst.fiber import Fiber
from kairos.dst.keyspace import Keyspace
from kairos.dst.life import Crash
from kairos.dst.loop import SimulatedLoop
from kairos.dst.network import Line
from kairos.dst.redis_server import Server

EPOCH_MS: Final = 1_800_000_000_000
"""The wall clock when a run begins: 2027-01-15T08:00:00Z."""


RARE: Final = 2.0
"""A kind of write that was seen n times before is struck with a chance of this / n."""

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
        self.weather = Weather(self)
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
            held = max(part.hangs_until, 0.0)
            for runner in life.runners:
                due = runner.due()
                if due is None:
                    continue
                due = max(due, held)
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
        self.now += self.random.random() * self.weather.haste_ms


class Weather:
    """What is broken at the moment, for whom."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._away: dict[tuple[str, str], float] = {}
        self._cuts: dict[tuple[str, str], str] = {}
        self._written: dict[tuple[str, str], int] = {}
        self.haste_ms = 16.0
        self.met: Counter[str] = Counter()

    def away(self, port: str, who: str, until: float) -> None:
        """A port is out of reach for a part, or for "all"."""
        self._away[port, who] = until

    def cut(self, port: str, who: str, how: str) -> None:
        """A write to come of the part is "cut", "unanswered" or its last ("dying"), rather a rare one."""
        self._cuts[port, who] = how

    def why(self, port: str, who: str) -> str:
        """Why the port is out of reach; an empty text when it is not."""
        if not self._away:
            return ""
        now = self._world.now
        for each in (who, "all"):
            until = self._away.get((port, each))
            if until is not None:
                if now < until:
                    self.met[f"{port} away"] += 1
                    return f"{port} is away for {each}"
                del self._away[port, each]
        return ""

    def broken(self, port: str, who: str, kind: str) -> str:
        """How this write breaks, if it does; else what is written all the time would be all that breaks."""
        self._written[who, kind] = seen = self._written.get((who, kind), 0) + 1
        if (port, who) not in self._cuts or self._world.random.random() * seen > RARE:
            return ""
        how = self._cuts.pop((port, who))
        self.met[f"{port} {how}"] += 1
        return how

    def clear(self) -> None:
        """All is well again."""
        self._away.clear()
        self._cuts.clear()
        self._world.redis.keys.full = False


class Runner:
    """Something of a life that can go on by itself: a fiber, or an event loop."""

    def __init__(self, due: Callable[[], float | None], go: Callable[[], None]) -> None:
        self.due = due
        self.go = go


class Incarnation:
    """One life of a part; satisfies `kairos.dst.life.Life`."""

    def __init__(self, world: World, part: "Part", number: int) -> None:
        self.world, self.part, self.number = world, part, number
        self.name = part.name
        self.runners: list[Runner] = []
        self.lines: list[Line] = []
        self.dead = False
        self.fault: BaseException | None = None
        self.loop: SimulatedLoop | None = None
        self.stop: Callable[[], None] = self.end
        self.door: Any = None
        self._fibers: list[_Standing] = []
        self._running: _Standing | None = None

    def block(self, target: Callable[[], None], last: bool = False) -> None:
        """Run something that may stand still; with `last` the life ends with it."""
        standing = _Standing(self, target, last)
        self._fibers.append(standing)
        self.runners.append(standing.runner)

    def think(self) -> SimulatedLoop:
        """Give the life an event loop."""
        loop = SimulatedLoop(self.monotonic, self._connect, self.block)  # type: ignore[abstract]

        def due() -> float | None:
            at = loop.due()
            return None if at is None else at * 1_000

        self.loop = loop
        self.runners.append(Runner(due, loop.step))
        return loop

    def go(self, runner: Runner) -> None:
        """Let one of the runners go on; what ends the life ends it here."""
        try:
            runner.go()
            if self.part.doomed:
                self.end()
        except Crash:
            self.end()
        except BaseException as fault:
            self.fault = fault
            self.end()

    def end(self) -> None:
        """Die: nothing of it reaches the world from now on."""
        if self.dead:
            return
        self.dead = True
        for line in self.lines:
            line.lose()
        self.lines.clear()
        if self.loop is not None:
            self.loop.bury()
        for standing in list(self._fibers):
            if standing is not self._running:
                standing.unwind()
        self.runners.clear()
        self.part.ended(self)

    def lives(self) -> bool:
        """Whether it may still touch the world."""
        return not (self.dead or self.part.doomed)

    def pause(self, what: str) -> None:
        """See `Life.pause`."""
        if not self.lives():
            raise Crash(what)
        if self._running is not None:
            self.world.tell(self.name, what)
            if not self.world.stays():
                self._running.stand(self.world.now)
            elif not self.lives():
                raise Crash(what)

    def away(self, port: str) -> str:
        """See `Life.away`."""
        return self.world.weather.why(port, self.name)

    def through(self, port: str, kind: str, count: int) -> int | None:
        """See `Life.through`."""
        how = self.world.weather.broken(port, self.name, kind)
        if not how:
            return None
        through = count if how == "unanswered" else self.world.random.randrange(max(count, 1))
        self.world.tell(self.name, f"! {port}: {how}, {through} of {count} arrive")
        if how == "dying":
            self.part.doomed = True
        return through

    def monotonic(self) -> float:
        """See `Life.monotonic`."""
        return self.world.now / 1_000

    def wall_ms(self) -> int:
        """See `Life.wall_ms`."""
        return EPOCH_MS + int(self.world.now) + self.part.skew_ms

    def wait(self, seconds: float) -> None:
        """See `Life.wait`."""
        if not self.lives():
            raise Crash
        if self._running is not None:
            self._running.stand(self.world.now + seconds * 1_000)

    def _connect(self, loop: SimulatedLoop, protocol: Any) -> Line:
        line = Line(self.world.redis, self, loop, protocol, self.world.random)
        self.lines.append(line)
        return line


class _Standing:
    """A fiber of a life, and until when it stands still."""

    def __init__(self, life: Incarnation, target: Callable[[], None], last: bool) -> None:
        self._life, self._last = life, last
        self._fiber = Fiber(target)
        self._until = 0.0
        self.runner = Runner(lambda: self._until, self.go)

    def stand(self, until: float) -> None:
        """Called in the fiber. Errors: `Crash` when the life has ended meanwhile."""
        self._until = until
        self._fiber.stand()
        if self._life.dead:
            raise Crash

    def go(self) -> None:
        """Go on to where it stands still next. Errors: what ended it."""
        self._life._running = self
        try:
            self._fiber.resume()
        finally:
            self._life._running = None
        if self._fiber.over:
            self._leave()
            if self._fiber.fault is not None:
                raise self._fiber.fault
            if self._last:
                raise Crash

    def unwind(self) -> None:
        """End it, whatever it is at."""
        for _ in range(1_000):
            if self._fiber.over:
                break
            self._fiber.resume()
        self._leave()

    def _leave(self) -> None:
        if self in self._life._fibers:
            self._life._fibers.remove(self)
        if self.runner in self._life.runners:
            self._life.runners.remove(self.runner)


class Part:
    """One process of the system through all its lives: what starts it, and what it keeps on its own disk."""

    def __init__(self, world: World, name: str, begin: Callable[[Incarnation], None]) -> None:
        self.world, self.name, self._begin = world, name, begin
        self.life: Incarnation | None = None
        self.lives = 0
        self.starts_at = 0.0
        self.hangs_until = 0.0
        self.skew_ms = 0
        self.doomed = False
        self.retired = False
        self.disk: dict[str, Any] = {}
        self.faults: list[BaseException] = []

    def start(self) -> None:
        """Begin a new life."""
        self.lives += 1
        self.doomed = False
        self.hangs_until = 0.0
        self.life = Incarnation(self.world, self, self.lives)
        self.world.tell(self.name, f"* starts, life {self.lives}")
        self._begin(self.life)

    def crash(self) -> None:
        """Be gone at this moment; the supervisor starts it again."""
        if self.life is not None:
            self.world.tell(self.name, "! crashes")
            self.life.end()

    def ended(self, life: Incarnation) -> None:
        """A life is over, by crash, by fault or by itself."""
        self.life = None
        self.starts_at = self.world.now + self.world.random.random() * 1_000
        if life.fault is not None:
            self.faults.append(life.fault)
            self.world.tell(self.name, f"! ends with {type(life.fault).__name__}: {life.fault}")
