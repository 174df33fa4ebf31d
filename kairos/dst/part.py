"""A process of the system through all its lives: what starts it, what it keeps, and what ends it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kairos.dst.fiber import Fiber
from kairos.dst.life import Crash
from kairos.dst.loop import SimulatedLoop
from kairos.dst.network import Line

if TYPE_CHECKING:  # a world has parts, and a part is of a world
    from kairos.dst.world import World


class Runner:
    """Something of a life that can go on by itself: a fiber, or an event loop."""

    def __init__(self, due: Callable[[], float | None], go: Callable[[], None]) -> None:
        self.due = due
        self.go = go


class Incarnation:
    """One life of a part; satisfies `kairos.dst.life.Life`."""

    def __init__(self, world: "World", part: "Part", number: int) -> None:
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
        leisure = lambda: self.world.leisure  # noqa: E731
        loop = SimulatedLoop(self.monotonic, self._connect, self.block, leisure)  # type: ignore[abstract]

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
        self.world.tell(self.name, what)
        if self._running is not None:
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
        if self.part.skew_ms:
            self.world.weather.met["skew"] += 1
        return self.world.wall_ms() + self.part.skew_ms

    def wait(self, seconds: float) -> None:
        """See `Life.wait`."""
        if not self.lives():
            raise Crash
        if self._running is not None:
            self._running.stand(self.world.now + seconds * 1_000)

    def idle(self, seconds: float, more: Callable[[], bool] = lambda: False) -> None:
        """See `Life.idle`."""
        if not self.lives():
            raise Crash
        if self._running is not None:
            self._running.stand(self.world.now + seconds * self.world.leisure * 1_000, more)

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
        self._sooner: Callable[[], bool] | None = None
        self.runner = Runner(self._due, self.go)

    def _due(self) -> float:
        return 0.0 if self._sooner is not None and self._sooner() else self._until

    def stand(self, until: float, sooner: Callable[[], bool] | None = None) -> None:
        """Called in the fiber: stand still until an instant (ms), or until `sooner` says so.

        Errors: `Crash` when the life has ended meanwhile.
        """
        self._until, self._sooner = until, sooner
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

    def __init__(self, world: "World", name: str, begin: Callable[[Incarnation], None]) -> None:
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
