"""Behaviour: the log folded into customer states, triggers fired, the watermark moved on.

`stream.behaviour_fold` decides what each record does; here it is read and made durable.
"""

import logging
import threading
from collections.abc import Mapping
from typing import Final

from events.bus import Bus, connect
from events.setup import Setup
from events.topics import BEHAVIOUR, DEAD_LETTERS, TRIGGERS, layout
from features.declare import load as load_playbook
from features.feast_store import RedisStateStore
from features.fold import encode
from features.plan import Plan, compile_plan
from features.store import StateStore
from stream.behaviour_fold import BehaviourFold
from stream.bus_source import BusSource, Cursor, Place
from stream.counters import Counters
from stream.engine import run_flow
from stream.outlet import Outlet, ends
from stream.patience import persist, until_stopped
from stream.state_cache import StateCache
from stream.steady import SteadyStore, connect_redis, say_and_mind
from stream.taps import Poll

PROCESS: Final = "behaviour"

POSITIONS: Final = "kairos:behaviour"
"""Redis hash: for each partition the last position whose effects that Redis holds."""

POLLS: Final = 4

log = logging.getLogger("kairos.behaviour")


class BehaviourStage:
    """Makes what a micro-batch comes to durable: triggers, states, wake-ups, watermarks, in that order.

    Whatever moment a crash picks, reading on from an earlier position gives the same states; a trigger
    published just before it is published again, under the same id. Partitions share nothing but Redis:
    more workers would each take some of them, with a fold of their own.
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
    ) -> None:
        self._plan = plan
        self._folding = folding
        self._store = store
        self._outlet = outlet
        self._counters = counters
        self._bus = bus
        self._stop = stop
        self._done = dict(done)

    def take(self, polls: list[Poll]) -> None:
        """Fold what was read; durable on return."""
        for start in range(0, len(polls), POLLS):
            self._take(polls[start : start + POLLS])
        if self._counters.due():
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
        self._outlet.publish(effects.messages)
        if effects.states:
            self._store.write_many(
                [
                    (customer, encode(self._plan, state), state.newest)
                    for customer, state in effects.states.items()
                ]
            )
        for partition, wakes in effects.wakes.items():
            self._store.set_wakes(partition, wakes)
        for partition, watermark in effects.watermarks.items():
            self._store.set_watermark(partition, watermark)
        for poll in polls:
            self._done[poll.partition] = poll.records[-1].position

    def _last(self, partition: int) -> int:
        return persist(lambda: self._bus.last(BEHAVIOUR, partition), "asking the bus its end", self._stop)

    def _flush(self) -> None:
        beside = {POSITIONS: {str(partition): position for partition, position in self._done.items()}}
        persist(lambda: self._counters.flush(beside), "writing counters to Redis", self._stop)


@until_stopped(PROCESS)
def run(setup: Setup, stop: threading.Event) -> None:
    """Fold `behaviour` until `stop` is set.

    Errors: `BusUnavailable` or `StoreUnavailable` when bus or Redis do not answer within
    `setup.wait_s`; `PlaybookRefused`; `UnknownPlan` when states were folded under another plan.
    """
    playbook = load_playbook(setup.playbook)
    plan = compile_plan(playbook)
    bus = connect(setup.bus, timeout_s=setup.wait_s, waiting=say_and_mind(stop))
    redis = connect_redis(setup.redis, setup.wait_s, stop)
    store = SteadyStore(RedisStateStore(setup.redis, setup.project), stop)
    targets = [(TRIGGERS, partition) for partition in range(setup.partitions)] + [(DEAD_LETTERS, 0)]

    def resume() -> tuple[dict[int, int], Counters, Outlet]:
        bus.ensure(layout(playbook.contracts, setup.partitions))
        done = {int(partition): int(position) for partition, position in redis.hgetall(POSITIONS).items()}
        return done, Counters(redis, PROCESS), Outlet(bus, ends(bus, targets), stop)

    done, counters, outlet = persist(resume, "reading where the fold was left", stop)
    folding = BehaviourFold(plan, store, setup.partitions, StateCache(), counters, store.watermarks())
    places = [(BEHAVIOUR, partition) for partition in range(setup.partitions)]
    stage = BehaviourStage(plan, folding, store, outlet, counters, bus, stop, done)
    log.info(
        "behaviour: reading %s (%d partitions) from %s into %s, plan %s of %s, %d features",
        *(BEHAVIOUR, setup.partitions, setup.bus, setup.redis, plan.digest, playbook.name),
        len(plan.customer_features) + len(plan.cross_features),
    )
    source = BusSource(bus, places, stop, cursor=_cursor(done))
    run_flow(PROCESS, source, stage, stop, setup.run_dir / "positions" / PROCESS)
    bus.close()


def _cursor(done: Mapping[int, int]) -> Cursor:
    def cursor(place: Place, saved: int | None) -> int | None:
        """Read again what this Redis has not: it may have come back with less than it had."""
        if saved is None:
            return None
        held = done.get(place[1])
        if held is None or held < saved:
            log.info("%s/%d: Redis holds up to %s, the engine read up to %d", *place, held, saved)
        return held if held is None else min(saved, held)

    return cursor
