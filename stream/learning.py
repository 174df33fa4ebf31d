"""Learning: decisions and outcomes read off the log teach the online models, each example exactly once.

`stream.outcomes` decides what is learned; here it is read and made durable.
"""

import logging
import threading
from functools import partial
from typing import Any, Final

import msgspec

from events.bus import Bus, connect
from events.codec import decode
from events.contract import Contracts
from events.envelope import DECISION, OUTCOME, Tick
from events.setup import Setup
from events.topics import BEHAVIOUR, layout
from features.declare import load as load_playbook
from features.plan import compile_plan
from models.catalogue import Catalogue
from models.catalogue import load as load_catalogue
from models.online import online_key, pack
from stream.bus_source import BusSource, Place
from stream.counters import Counters
from stream.engine import Flow, run_flow
from stream.lease import Guard, Leases, nobody_else, while_held
from stream.outcomes import Learner, LearnerState
from stream.patience import persist, until_stopped
from stream.rounds import Rounds
from stream.steady import connect_redis, say_and_mind
from stream.taps import Poll
from stream.wall import MACHINE, Clock

PROCESS: Final = "learner"

KEY: Final = "kairos:learner"
"""The learner's whole state, written at the end of a round in one piece with the models made of it."""

POSITIONS_EVERY_S: Final = 10.0

log = logging.getLogger("kairos.learner")


class LearningStage:
    """Feeds complete rounds to the learner and writes its state with the models, in one transaction.

    The engine saves no cursor: the positions are part of the state, so a crash at any moment
    learns nothing twice and leaves nothing out. `guard` is asked before every write: two learners at once
    would each teach the models what the other has taught them.
    """

    def __init__(
        self,
        learner: Learner,
        redis: Any,
        counters: Counters,
        bus: Bus,
        partitions: int,
        stop: threading.Event,
        guard: Guard = nobody_else,
        machine: Clock = MACHINE,
    ) -> None:
        self._machine = machine
        self._learner = learner
        self._redis = redis
        self._counters = counters
        self._bus = bus
        self._stop = stop
        self._guard = guard
        self._rounds = Rounds(partitions, learner.learned_to, learner.applied)
        self._read = dict.fromkeys(range(partitions), -1) | dict(learner.applied)
        self._save_by = 0.0

    def take(self, polls: list[Poll]) -> None:
        """Learn the rounds that what was read completes; durable on return."""
        rounds = self._rounds
        for poll in polls:
            for record in poll.records:
                item = decode(record.value)
                if type(item) is Tick:
                    rounds.tick(record.partition, record.position, item.time)
                elif item.type == DECISION or item.type == OUTCOME:  # type: ignore[union-attr]
                    rounds.event(record.partition, item)  # type: ignore[arg-type]
            if poll.records:
                self._read[poll.partition] = poll.records[-1].position
        ticked = changed = False
        for one in rounds.complete():
            learned = self._learner.learn(one)
            ticked, changed = True, changed or learned.changed
            self._counters.add("rounds")
            self._counters.add("positives", learned.positives)
            for placement, count in learned.examples.items():
                self._counters.add("learned", count)
                self._counters.add(f"learned.{placement}", count)
        if ticked:
            # Without news only the positions move on: saved now and then, to re-read little.
            self._save(changed or self._machine.monotonic() >= self._save_by)
        if ticked or self._counters.due():
            self._count()

    def close(self) -> None:
        """Write what has been counted."""
        self._count()

    def _save(self, whole: bool) -> None:
        learner = self._learner
        models = {online_key(name): pack(model) for name, model in learner.published().items()}
        state = _pack(learner.state()) if whole else None

        def write() -> None:
            self._guard()
            pipeline = self._redis.pipeline(transaction=True)
            if state is not None:
                pipeline.set(KEY, state)
            pipeline.mset(models)
            pipeline.execute()

        persist(write, "writing what was learned to Redis", self._stop)
        if state is not None:
            self._save_by = self._machine.monotonic() + POSITIONS_EVERY_S

    def _count(self) -> None:
        counters, attribution = self._counters, self._learner.attribution
        for name, value in (attribution.counts | attribution.ignored).items():
            counters.set(f"attribution.{name}", value)
        counters.set("pending", attribution.pending)
        counters.set("learned_to_ms", self._learner.learned_to)

        def write() -> None:
            if counters.due():
                behind = (self._bus.last(BEHAVIOUR, place) - at for place, at in self._read.items())
                counters.set("lag", sum(behind))
            self._guard()
            counters.flush()

        persist(write, "writing counters to Redis", self._stop)


_pack = msgspec.msgpack.Encoder().encode


@until_stopped(PROCESS)
def run(setup: Setup, stop: threading.Event) -> None:
    """Learn from `behaviour` until `stop` is set; a second learner waits until the first is gone.

    Errors: `BusUnavailable` or `StoreUnavailable` when bus or Redis do not answer within
    `setup.wait_s`; `PlaybookRefused`.
    """
    playbook = load_playbook(setup.playbook)
    catalogue = load_catalogue(setup.playbook, compile_plan(playbook), setup.catalogue)
    bus = connect(setup.bus, timeout_s=setup.wait_s, waiting=say_and_mind(stop))
    connect_redis(setup.redis, setup.wait_s, stop).close()
    try:
        learn = partial(_learn, setup, stop, playbook.contracts, catalogue, bus)
        while_held(setup.redis, [PROCESS], PROCESS, stop, learn)
    finally:
        bus.close()


def _learn(
    setup: Setup, stop: threading.Event, contracts: Contracts, catalogue: Catalogue, bus: Bus, leases: Leases
) -> None:
    """Learn until `stop` is set. Errors: `LeaseLost`, and those of `run`."""
    redis = connect_redis(leases.address(setup.redis), setup.wait_s, stop)
    flow = assemble(setup, stop, contracts, catalogue, bus, redis, leases.guard)
    run_flow(PROCESS, flow.source, flow.stage, stop)


def assemble(
    setup: Setup,
    stop: threading.Event,
    contracts: Contracts,
    catalogue: Catalogue,
    bus: Bus,
    redis: Any,
    guard: Guard,
    machine: Clock = MACHINE,
) -> Flow:
    """The learner over a bus and a Redis that are connected, as a crash left it. Errors: those of `run`."""

    def resume() -> tuple[bytes | None, Counters]:
        bus.ensure(layout(contracts, setup.partitions))
        return redis.get(KEY), Counters(redis, PROCESS, machine)

    kept, counters = persist(resume, "reading what was learned", stop)
    learner = Learner(catalogue, msgspec.msgpack.decode(kept, type=LearnerState) if kept else None)
    stage = LearningStage(learner, redis, counters, bus, setup.partitions, stop, guard, machine)
    log.info(
        "learner: reading %s (%d partitions) from %s, models %s, learned up to %d ms",
        *(BEHAVIOUR, setup.partitions, setup.bus, ", ".join(learner.models), learner.learned_to),
    )
    applied = dict(learner.applied)

    def cursor(place: Place, saved: int | None) -> int | None:
        return applied.get(place[1])

    places = [(BEHAVIOUR, partition) for partition in range(setup.partitions)]
    return Flow(BusSource(bus, places, stop, cursor=cursor), stage, counters)
