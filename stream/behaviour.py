"""Behaviour: the log folded into customer states, triggers fired, the watermark moved on.

`stream.behaviour_fold` decides what each record does; here it is read and made durable.
"""

import logging
import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, Final

from redis import RedisError

from events.bus import Bus, Message, connect
from events.counters import counters_key
from events.setup import Setup
from events.topics import BEHAVIOUR, DEAD_LETTERS, TRIGGERS, layout
from features.attribute_store import RedisAttributeStore
from features.feast_store import RedisStateStore
from features.plan import Plan
from features.store import StateStore
from stream.attributes import AttributeReader
from stream.behaviour_fold import BehaviourFold
from stream.bus_source import BusSource, Cursor, Place
from stream.counters import Counters
from stream.engine import Flow, run_flow
from stream.everybody import EverybodyKeeper
from stream.graft import Grafter
from stream.hot_change import HotPlan
from stream.lease import Guard, Leases, nobody_else, while_held
from stream.outlet import Outlet, ends
from stream.patience import Stopped, persist, until_stopped
from stream.state_cache import Entry, StateCache, newest_of
from stream.steady import SteadyStore, connect_redis, say_and_mind
from stream.swap import SwappingReader, SwappingStore, begin
from stream.taps import Poll
from stream.wall import MACHINE, Clock
from stream.worker import ALONE, Worker, register

PROCESS: Final = "behaviour"

POSITIONS: Final = "kairos:behaviour"
"""Redis hash: for each partition the last position whose effects that Redis holds."""

POLLS: Final = 4

log = logging.getLogger("kairos.behaviour")


class BehaviourStage:
    """Makes what a micro-batch comes to durable: triggers, states, wake-ups, watermarks, in that order.
    What is counted over everybody becomes durable right before the positions.

    Whatever moment a crash picks, reading on from an earlier position gives the same states; a trigger
    published just before it is published again, under the same id. Partitions share nothing but Redis:
    more workers each take some of them, with a fold of their own. `guard` is asked before every write.
    """

    def __init__(
        self,
        plan: Plan,
        folding: BehaviourFold,
        store: StateStore,
        outlet: Outlet,
        counters: Counters,
        bus: Bus,
        stop: threading.Event,
        done: Mapping[int, int],
        guard: Guard = nobody_else,
        cache: StateCache | None = None,
        grafter: Grafter | None = None,
        everybody: EverybodyKeeper | None = None,
    ) -> None:
        self._plan = plan
        self._folding = folding
        self._store = store
        self._outlet = outlet
        self._counters = counters
        self._bus = bus
        self._stop = stop
        self._done = dict(done)
        self._guard = guard
        self._cache = cache
        self._grafter = grafter
        self._everybody = everybody

    def take(self, polls: list[Poll]) -> None:
        """Fold what was read; durable on return."""
        for start in range(0, len(polls), POLLS):
            self._take(polls[start : start + POLLS])
        if self._grafter is not None:
            persist(self._grafter.step, "merging what was backfilled", self._stop)
        if self._counters.due():
            if self._cache is not None:
                self._counters.set("cached_bytes", self._cache.bytes)
            self._counters.set("lag", sum(self._last(place) - at for place, at in self._done.items()))
            self._flush()

    def close(self) -> None:
        """Write what has been counted."""
        self._flush()

    def _take(self, polls: list[Poll]) -> None:
        polls = [poll for poll in polls if poll.records]
        if not polls:
            return
        effects = self._folding.process(polls)
        self._tell(effects.messages)
        self._keep(effects.states)
        for partition, wakes in effects.wakes.items():
            self._store.set_wakes(partition, wakes)
        if self._everybody is not None and effects.watermarks:
            self._everybody.before_watermarks()
        for partition, watermark in effects.watermarks.items():
            self._store.set_watermark(partition, watermark)
        for poll in polls:
            self._done[poll.partition] = poll.records[-1].position

    def _tell(self, messages: Sequence[Message]) -> None:
        if messages:
            persist(self._guard, "looking after the lease", self._stop)
            self._outlet.publish(messages)

    def _keep(self, states: Mapping[str, Entry]) -> None:
        if states:
            rows = [
                (who, (each.recent, each.settled if each.changed else None), newest_of(each.recent))
                for who, each in states.items()
            ]
            self._store.write_many(rows)
            for entry in states.values():
                entry.changed = False

    def _last(self, partition: int) -> int:
        return persist(lambda: self._bus.last(BEHAVIOUR, partition), "asking the bus its end", self._stop)

    def _flush(self) -> None:
        if self._everybody is not None:
            self._everybody.flush()
        beside = {POSITIONS: {str(partition): position for partition, position in self._done.items()}}

        def flush() -> None:
            self._guard()
            self._counters.flush(beside)

        persist(flush, "writing counters to Redis", self._stop)


@until_stopped(PROCESS)
def run(setup: Setup, stop: threading.Event, worker: Worker = ALONE) -> None:
    """Fold this worker's partitions of `behaviour` until `stop` is set.

    Each partition is leased: while another process holds one of ours, this one waits and says so, and a
    process that has lost one begins again by waiting. Errors: `BusUnavailable` or `StoreUnavailable` when bus
    or Redis do not answer within `setup.wait_s`; `PlaybookRefused`; `NothingToDo` for a worker without
    partitions; `UnknownPlan` when states were folded under another plan.
    """
    counting: list[Any] = []

    def count(name: str) -> None:
        # Counted when nothing is read, too; the fold's own counters leave such names alone.
        for client in counting:
            with suppress(RedisError):
                client.hincrby(counters_key(worker.name), name, 1)

    hot = HotPlan(setup.playbook, stop, count)
    mine = worker.partitions(setup.partitions)
    bus = connect(setup.bus, timeout_s=setup.wait_s, waiting=say_and_mind(stop))
    counting.append(connect_redis(setup.redis, setup.wait_s, stop))
    try:
        hot.watch()
        names = [f"{PROCESS}:{partition}" for partition in mine]
        while_held(setup.redis, names, worker.name, stop, partial(_fold_plans, setup, stop, worker, hot, bus))
    finally:
        bus.close()


def _fold_plans(
    setup: Setup, stop: threading.Event, worker: Worker, hot: HotPlan, bus: Bus, leases: Leases
) -> None:
    """Fold by one plan after the other until `stop` is set. Errors: `LeaseLost`, and those of `run`."""
    while not stop.is_set():
        with ExitStack() as closing:
            try:
                _fold(setup, stop, worker, hot.take(), hot.over, bus, leases, closing)
            except Stopped:
                if stop.is_set():
                    raise


def _fold(
    setup: Setup,
    stop: threading.Event,
    worker: Worker,
    plan: Plan,
    over: threading.Event,
    bus: Bus,
    leases: Leases,
    closing: ExitStack,
) -> None:
    """Fold what the leases allow until `over` is set, everything read till then; `closing` ends connections.

    Whatever holds the plan is made anew by every call: states of the plan before are taken over as they are
    read. Errors: `LeaseLost`, and those of `run`.
    """
    address = leases.address(setup.redis)
    redis = connect_redis(address, setup.wait_s, stop)
    closing.callback(redis.close)
    states = RedisStateStore(address, setup.project)
    closing.callback(states.close)
    tables = RedisAttributeStore(address, setup.project) if plan.triggers.attributes else None
    if tables is not None:
        closing.callback(tables.close)
    flow = assemble(setup, stop, worker, plan, over, bus, redis, states, tables, leases.guard)
    # Redis says where to go on, so what the engine keeps is for this process alone: whoever was stopped in
    # the middle of a transaction must not keep the one that takes over from files of its own.
    positions = setup.run_dir / "positions" / worker.folder
    shutil.rmtree(positions, ignore_errors=True)
    positions = positions / str(os.getpid())
    run_flow(worker.name, flow.source, flow.stage, over, positions, counters=flow.counters)


def assemble(
    setup: Setup,
    stop: threading.Event,
    worker: Worker,
    plan: Plan,
    over: threading.Event,
    bus: Bus,
    redis: Any,
    states: RedisStateStore,
    tables: RedisAttributeStore | None,
    guard: Guard,
    machine: Clock = MACHINE,
) -> Flow:
    """A worker by one plan over a bus and a Redis that are connected, as the one before left its partitions.

    `tables` holds the batch tables that conditions read, None where none does. Errors: those of `run`.
    """
    playbook, mine = plan.playbook, worker.partitions(setup.partitions)
    store = SteadyStore(states, stop, guard)
    targets = [(TRIGGERS, partition) for partition in mine] + [(DEAD_LETTERS, 0)]

    def resume() -> tuple[dict[int, int], Counters, Outlet]:
        bus.ensure(layout(playbook.contracts, setup.partitions))
        known = {int(partition): int(position) for partition, position in redis.hgetall(POSITIONS).items()}
        done = {partition: known[partition] for partition in mine if partition in known}
        register(redis, worker)
        return done, Counters(redis, worker.name, machine), Outlet(bus, ends(bus, targets), stop)

    done, counters, outlet = persist(resume, "reading where the fold was left", stop)
    watermarks = {partition: ms for partition, ms in store.watermarks().items() if partition in mine}
    cache = StateCache(setup.cache_mb * 1_000_000)
    record = persist(lambda: begin(redis, plan, mine, done, watermarks), "telling our plan", stop)
    reader = SwappingReader(redis, plan, record, setup.partitions)
    swapping = SwappingStore(store, reader, stop)
    everybody = None
    if plan.crowd is not None:
        shared = (redis, plan.crowd, mine, done, watermarks, stop, guard)
        everybody = EverybodyKeeper(*shared, eager=setup.clock == "events")
    attributes = None if tables is None else AttributeReader(tables, plan, stop)
    folding = BehaviourFold(
        *(plan, swapping, setup.partitions, cache, counters, watermarks, everybody, attributes),
        lambda: reader.quiet,
        machine,
    )
    grafter = Grafter(redis, setup.project, plan, mine, reader, cache, counters, guard)
    stage = BehaviourStage(
        *(plan, folding, store, outlet, counters, bus, stop, done, guard, cache, grafter),
        everybody,
    )
    log.info(
        "%s: reading %s (partitions %s of %d) from %s into %s, plan %s of %s, %d features",
        *(worker.name, BEHAVIOUR, ", ".join(map(str, mine)), setup.partitions, setup.bus, setup.redis),
        *(plan.digest, playbook.name, len(plan.customer_features) + len(plan.cross_features)),
    )
    source = BusSource(bus, [(BEHAVIOUR, partition) for partition in mine], over, cursor=_cursor(done))
    return Flow(source, stage, counters)


def _cursor(done: Mapping[int, int]) -> Cursor:
    def cursor(place: Place, saved: int | None) -> int | None:
        """Where Redis is, whatever the engine remembers: other workers may have gone on, or Redis back."""
        held = done.get(place[1])
        if saved is not None and held != saved:
            log.info("%s/%d: Redis holds up to %s, the engine read up to %d", *place, held, saved)
        return held

    return cursor
