"""What stands behind both doors: playbook, catalogue, Redis, bus, models, decider; opened and closed once."""

import asyncio
import contextlib
import gc
import logging
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from events import bus as buses
from events.bus import Bus
from events.setup import Setup
from events.topics import DECISIONS, layout
from features.declare import Playbook, load
from features.fold import empty
from features.plan import Plan, compile_plan
from features.row import prepare
from features.store import StoreUnavailable
from models import catalogue as catalogues
from models.bits import bits_of
from models.catalogue import Catalogue
from serving.decider import Decider
from serving.everybody_room import EverybodyRoom
from serving.ledger import Ledger
from serving.metrics import Metrics
from serving.model_shelf import ONLINE_EVERY_S, ModelShelf
from serving.plan_room import PlanRoom
from serving.publisher import Publisher
from serving.redis_line import RedisAway, RedisLine
from serving.relay import Relay

DRAIN_S = 5.0
PROBE_S = 0.5
SAY_EVERY_S = 5.0

log = logging.getLogger("kairos.serving")


class Shelved(NamedTuple):
    """A playbook read and compiled, and its offers."""

    playbook: Playbook
    plan: Plan
    catalogue: Catalogue


def read(setup: Setup) -> Shelved:
    """Read the playbook whole. Errors: `PlaybookRefused`."""
    playbook = load(setup.playbook)
    plan = compile_plan(playbook)
    prepare(plan, empty(plan))
    if plan.crowd is not None:
        prepare(plan.crowd, empty(plan.crowd))
    bits_of(0, 1)  # compiled, or loaded, before a request waits for it
    return Shelved(playbook, plan, catalogues.load(setup.playbook, plan, setup.catalogue))


class Backroom:
    """Opens in the background while a door already answers; `missing` says what is not there yet, and why.

    `now` gives the wall clock's seconds. Who has a bus already, or has read the playbook, hands it in.
    Online models are looked for every `online_every_s`.
    """

    setup: Setup
    playbook: Playbook
    plan: Plan
    catalogue: Catalogue
    bus: Bus
    line: RedisLine
    aside: RedisLine
    ledger: Ledger
    publisher: Publisher
    relay: Relay
    shelf: ModelShelf
    plans: PlanRoom
    everybody: EverybodyRoom
    decider: Decider

    def __init__(
        self,
        setup: Setup,
        now: Callable[[], float] = time.time,
        bus: Bus | None = None,
        read: Callable[[Setup], Shelved] = read,
        online_every_s: float = ONLINE_EVERY_S,
    ) -> None:
        self.setup = setup
        self._connected = bus
        self._reading = read
        self._online_every_s = online_every_s
        self.now = now
        self.metrics = Metrics()
        self.missing = {
            "catalogue": f"reading {setup.playbook}",
            "redis": f"waiting for {setup.redis}",
            "bus": f"waiting for {setup.bus}",
        }
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def ready(self) -> bool:
        """Whether everything has been there once."""
        return not self.missing

    async def open(self) -> None:
        """Read the playbook, wait for Redis and the bus, start the relay and the shelf.

        Errors: `PlaybookRefused`; `StoreUnavailable` or `BusUnavailable` after `setup.wait_s`.
        """
        self.line = RedisLine(self.setup.redis)
        await asyncio.to_thread(self._read)
        await asyncio.gather(self._await_redis(), self._await_bus())
        self.ledger = Ledger(self.line)
        self.publisher = Publisher(self.bus)
        self.relay = Relay(self.line, self.publisher, self.setup.partitions)
        self.shelf = ModelShelf(self.setup, self.plan, self.catalogue, self.line, self._online_every_s)
        await self.shelf.refresh()
        self.plans = PlanRoom(self.line, self.plan, self.setup.partitions)
        await self.plans.refresh()
        # States of everybody are large: on a line of their own they hold no request up.
        self.aside = RedisLine(self.setup.redis)
        self.everybody = EverybodyRoom(
            *(self.aside, self.plan, self.catalogue, self.setup.partitions, self.setup.clock),
            metrics=self.metrics,
            now=self.now,
        )
        await self.everybody.refresh()
        self.decider = Decider(
            project=self.setup.project,
            partitions=self.setup.partitions,
            clock=self.setup.clock,
            kinds=frozenset(
                kind for each in self.playbook.contracts.types.values() for kind in each.customer
            ),
            plan=self.plan,
            catalogue=self.catalogue,
            line=self.line,
            ledger=self.ledger,
            relay=self.relay,
            shelf=self.shelf,
            plans=self.plans,
            everybody=self.everybody,
            metrics=self.metrics,
            now=self.now,
        )
        every = (self.relay.run(), self.shelf.run(), self.plans.run(), self.everybody.run())
        self._tasks = [asyncio.create_task(each) for each in every]
        for task in self._tasks:
            task.add_done_callback(_tell)
        del self.missing["bus"]

    async def close(self) -> None:
        """Let the relay finish what it holds (at most `DRAIN_S`), then hang up."""
        if self._tasks:
            relaying, *looking = self._tasks
            for each in looking:
                each.cancel()
            self.relay.stop()
            await asyncio.wait([relaying], timeout=DRAIN_S)
            if not relaying.done():
                log.warning("%d decisions stay in the outbox for the next start", self.relay.pending)
                relaying.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self.publisher.close()
            await self.shelf.close()
        for line in ("line", "aside"):
            if hasattr(self, line):
                await getattr(self, line).close()
        if hasattr(self, "bus"):
            await asyncio.to_thread(self.bus.close)

    async def absent(self) -> dict[str, str]:
        """Say what is not reachable right now; empty when all is."""
        if not self.ready:
            return dict(self.missing)
        found = {}
        try:
            await self.line.ask(("PING",), deadline_s=PROBE_S)
        except RedisAway as error:
            found["redis"] = str(error)
        try:
            async with asyncio.timeout(PROBE_S):
                await asyncio.to_thread(self.bus.last, DECISIONS, 0)
        except (buses.BusUnavailable, TimeoutError) as error:
            found["bus"] = str(error) or "no answer in time"
        return found

    def _read(self) -> None:
        self.playbook, self.plan, self.catalogue = self._reading(self.setup)
        del self.missing["catalogue"]

    async def _await_redis(self) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        said = started - SAY_EVERY_S
        while True:
            try:
                await self.line.ask(("PING",), deadline_s=PROBE_S)
                break
            except RedisAway as error:
                waited = loop.time() - started
                self.missing["redis"] = str(error)
                if waited >= self.setup.wait_s:
                    raise StoreUnavailable(
                        f"redis: expected an answer from {self.line.url} within {self.setup.wait_s:.0f} s, "
                        f"found none ({error}); start it (`make up` brings one) or set KAIROS_REDIS"
                    ) from None
                if loop.time() - said >= SAY_EVERY_S:
                    said = loop.time()
                    left = self.setup.wait_s - waited
                    log.warning("waiting for Redis at %s (%.0f s more): %s", self.line.url, left, error)
            await asyncio.sleep(0.1)
        del self.missing["redis"]

    async def _await_bus(self) -> None:
        def connect() -> Bus:
            bus = buses.connect(self.setup.bus, timeout_s=self.setup.wait_s, waiting=log.warning)
            self._ensure(bus)
            return bus

        if self._connected is None:
            self.bus = await _aside(connect)
        else:
            self.bus = self._connected
            await asyncio.to_thread(self._ensure, self.bus)

    def _ensure(self, bus: Bus) -> None:
        bus.ensure(layout(self.playbook.contracts, self.setup.partitions))


def settle_down() -> None:
    """What is loaded by now stays for good: the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


async def _aside(connect: Callable[[], Bus]) -> Bus:
    """Connect in a thread that a stop need not wait for."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Bus] = loop.create_future()

    def settle(bus: Bus | None, error: BaseException | None) -> None:
        if not future.done():
            if bus is not None:
                future.set_result(bus)
            else:
                future.set_exception(error or RuntimeError("no bus"))

    def work() -> None:
        try:
            found: tuple[Bus | None, BaseException | None] = (connect(), None)
        except Exception as error:
            found = (None, error)
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile: nobody waits
            loop.call_soon_threadsafe(settle, *found)

    threading.Thread(target=work, name="bus", daemon=True).start()
    return await future


def _tell(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("a background task ended: %r", error, exc_info=error)
