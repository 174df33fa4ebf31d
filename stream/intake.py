"""Intake: what the domains publish becomes one ordered log of known customers' events.

`stream.admission` decides what each record becomes; here it is read, published and remembered.
"""

import logging
import threading
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final

from events.bus import Bus, connect
from events.contract import Contracts
from events.identity import Identities
from events.setup import Setup
from events.topics import BEHAVIOUR, DEAD_LETTERS, DECISIONS, OUTCOMES, layout
from features.declare import load as load_playbook
from stream import intake_journal
from stream.admission import Admission
from stream.bus_source import BusSource, Cursor, Place, PositionsDisagree
from stream.clock import SourceClock
from stream.counters import Counters
from stream.engine import Flow, run_flow
from stream.intake_journal import RECALLED, Remembered
from stream.lease import Guard, Leases, nobody_else, while_held
from stream.outlet import Outlet
from stream.patience import persist, until_stopped
from stream.steady import SteadyResolver, connect_redis, say_and_mind
from stream.taps import Poll
from stream.waiting import Resolver
from stream.wall import MACHINE, Clock

PROCESS: Final = "intake"

POLLS: Final = 8
"""So many polls at most are published together; see `RECALLED`."""

LOOK_EVERY_S: Final = 1.0

log = logging.getLogger("kairos.intake")


class IntakeStage:
    """Admits what is read, publishes it once, then writes the journal.

    The journal names the last record of each source whose messages are durable. After a crash what
    is at or below it is skipped, and what lies behind the journal's ends of the log is recognised,
    so that every record is taken in exactly once. There is one intake: it owns the log's clock.
    """

    def __init__(
        self,
        admission: Admission,
        outlet: Outlet,
        journal: Remembered,
        clock: SourceClock,
        counters: Counters,
        bus: Bus,
        stop: threading.Event,
        linking: Collection[str] = (),
        guard: Guard = nobody_else,
        machine: Clock = MACHINE,
    ) -> None:
        self._admission = admission
        self._outlet = outlet
        self._read = journal.read
        self._wrote = journal.wrote
        # Until these are read, what was recalled may still have to be recalled by the next start.
        self._again = {
            place: min(bus.last(*place), journal.read.get(place, -1) + RECALLED) for place in clock.marks
        }
        self._clock = clock
        self._counters = counters
        self._bus = bus
        self._stop = stop
        self._linking = linking
        self._guard = guard
        self._machine = machine
        self._look = 0.0

    def take(self, polls: list[Poll]) -> None:
        """Take in what was read; durable on return."""
        polls.sort(key=self._turn)  # keeps the order within each partition
        for start in range(0, len(polls), POLLS):
            self._take(polls[start : start + POLLS])

    def _take(self, polls: Sequence[Poll]) -> None:
        fresh = [new for poll in polls if (new := self._unread(poll)) is not None]
        messages = self._admission.process(fresh, self._machine.wall_ms())
        if messages:
            persist(self._guard, "looking after the lease", self._stop)
            self._outlet.publish(messages)
        records = 0
        for poll in fresh:
            if poll.records:
                records += len(poll.records)
                self._read[poll.topic, poll.partition] = poll.records[-1].position
        if records or messages or self._counters.due():
            self._save()

    def close(self) -> None:
        """Write what has been counted."""
        self._save()

    def _turn(self, poll: Poll) -> bool:
        """No order exists between topics, but who knows early who is who has fewer conflicts."""
        return poll.topic not in self._linking

    def _unread(self, poll: Poll) -> Poll | None:
        done = self._read.get((poll.topic, poll.partition), -1)
        if not poll.records or poll.records[0].position > done:
            return poll
        return poll._replace(records=[record for record in poll.records if record.position > done])

    def _save(self) -> None:
        if self._machine.monotonic() >= self._look:
            self._look = self._machine.monotonic() + LOOK_EVERY_S
            self._counters.set("lag", self._lag())
        if self._again and all(self._read.get(place, -1) >= end for place, end in self._again.items()):
            self._again = {}
        if not self._again:
            self._wrote = self._outlet.ends
        journal = Remembered(self._read, self._clock.marks, self._wrote, self._clock.ticked)
        beside = {intake_journal.KEY: journal.fields()}

        def flush() -> None:
            self._guard()
            self._counters.flush(beside)

        persist(flush, "writing intake's journal to Redis", self._stop)

    def _lag(self) -> int:
        def behind() -> int:
            return sum(self._bus.last(*place) - self._read.get(place, -1) for place in self._clock.marks)

        return persist(behind, "asking the bus how far it is", self._stop)


def open_stage(
    bus: Bus,
    redis: Any,
    resolver: Resolver,
    contracts: Contracts,
    setup: Setup,
    stop: threading.Event,
    guard: Guard = nobody_else,
    machine: Clock = MACHINE,
) -> tuple[IntakeStage, Remembered, Counters]:
    """The stage as a crash or a stop left it, and the journal it goes on from."""
    sources = places(contracts, setup.partitions)
    targets = [(BEHAVIOUR, n) for n in range(setup.partitions)] + [(DEAD_LETTERS, 0)]
    journal = intake_journal.load(redis)
    recalled = intake_journal.recall(bus, journal.wrote, targets)
    clock = SourceClock(sources, by_marks=setup.clock == "events", marks=journal.marks, ticked=journal.ticked)
    counters = Counters(redis, PROCESS, machine)
    admission = Admission(contracts, resolver, setup.partitions, clock, counters, recalled)
    linking = {kind.topic for kind in contracts.types.values() if kind.link}
    outlet = Outlet(bus, {place: bus.last(*place) for place in targets}, stop)
    stage = IntakeStage(admission, outlet, journal, clock, counters, bus, stop, linking, guard, machine)
    return stage, journal, counters


def places(contracts: Contracts, partitions: int) -> list[Place]:
    """Every partition that intake reads: the domains' topics, decisions and outcomes."""
    topics = sorted({*contracts.topics, DECISIONS, OUTCOMES})
    return [(topic, partition) for topic in topics for partition in range(partitions)]


@until_stopped(PROCESS)
def run(setup: Setup, stop: threading.Event) -> None:
    """Take in events until `stop` is set; a second intake waits until the first is gone.

    Errors: `BusUnavailable` or `StoreUnavailable` when bus or Redis do not answer within
    `setup.wait_s`; `PlaybookRefused`; `PositionsDisagree` when log and Redis are not of one run.
    """
    playbook = load_playbook(setup.playbook)
    bus = connect(setup.bus, timeout_s=setup.wait_s, waiting=say_and_mind(stop))
    connect_redis(setup.redis, setup.wait_s, stop).close()
    try:
        take_in = partial(_take_in, setup, stop, playbook.contracts, bus)
        while_held(setup.redis, [PROCESS], PROCESS, stop, take_in)
    finally:
        bus.close()


def _take_in(setup: Setup, stop: threading.Event, contracts: Contracts, bus: Bus, leases: Leases) -> None:
    """Take in events until `stop` is set. Errors: `LeaseLost`, and those of `run`."""
    redis = connect_redis(leases.address(setup.redis), setup.wait_s, stop)
    flow = assemble(setup, stop, contracts, bus, redis, leases.guard)
    positions = setup.run_dir / "positions" / PROCESS
    run_flow(PROCESS, flow.source, flow.stage, stop, positions, counters=flow.counters)


def assemble(
    setup: Setup,
    stop: threading.Event,
    contracts: Contracts,
    bus: Bus,
    redis: Any,
    guard: Guard,
    machine: Clock = MACHINE,
) -> Flow:
    """Intake over a bus and a Redis that are connected, as a crash left it. Errors: those of `run`."""
    resolver = SteadyResolver(Identities(redis), stop)

    def resume() -> tuple[IntakeStage, Remembered, Counters]:
        bus.ensure(layout(contracts, setup.partitions))
        return open_stage(bus, redis, resolver, contracts, setup, stop, guard, machine)

    stage, journal, counters = persist(resume, "reading where intake was left", stop)
    sources = places(contracts, setup.partitions)
    log.info(
        "intake: reading %s (%d partitions each) from %s, clock %s, %d positions known",
        *(", ".join(sorted({topic for topic, _ in sources})), setup.partitions, setup.bus),
        *(setup.clock, len(journal.read)),
    )
    return Flow(BusSource(bus, sources, stop, cursor=_cursor(journal.read, setup.redis)), stage, counters)


def _cursor(read: Mapping[Place, int], url: str) -> Cursor:
    known = dict(read)

    def cursor(place: Place, saved: int | None) -> int | None:
        """Redis may have come back with less than it had: then read again what it has forgotten."""
        if saved is not None and saved >= 0 and not known:
            raise PositionsDisagree(
                f"{place[0]}/{place[1]}: expected the Redis at {url} to hold intake's journal "
                f"({intake_journal.KEY}), since {saved + 1} records were read before; found none, so who "
                "is who is forgotten too. Restore that Redis, or start anew with an empty KAIROS_RUN_DIR "
                "and an empty bus"
            )
        remembered = known.get(place)
        return remembered if saved is None or remembered is None else min(saved, remembered)

    return cursor
