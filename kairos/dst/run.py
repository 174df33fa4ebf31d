"""One schedule from its first step until everything has come to rest."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import redis

from events.topics import layout
from kairos.dst.bus import SimulatedBus
from kairos.dst.broken import Broken
from kairos.dst.invariants import Invariants
from kairos.dst.outside import Outside
from kairos.dst.doors import push_part, serve_part
from kairos.dst.life import Undisturbed
from kairos.dst.parts import PARTITIONS, stream_parts
from kairos.dst.schedule import Breakage, Schedule
from kairos.dst.stall import stall
from kairos.dst.witness import Witness
from kairos.dst.world import Told, World
from stream.behaviour import POSITIONS

PATIENCE: Final = 40_000
"""Steps within which a run without faults comes to rest, or never will."""

QUIET_MS: Final = 9_000
"""So long after the last errand nothing waits any more: every window and absence of the stall is over."""


class Outcome(NamedTuple):
    """What a run came to: the broken rule (None: none) and how, its steps, its trace, what faults met."""

    rule: str | None
    what: str
    steps: int
    trace: list[Told]
    met: dict[str, int]


def undergo(schedule: Schedule) -> Outcome:
    """Run a schedule; the same one always comes to the same."""
    world = World(schedule.seed)
    nobody = Undisturbed(lambda: 0.0, lambda _: None)
    SimulatedBus(world.topics, nobody).ensure(layout(stall().playbook.contracts, PARTITIONS))
    parts = [*stream_parts(world, schedule.workers), serve_part(world), push_part(world)]
    world.parts = {part.name: part for part in parts}
    outside = Outside(world)
    witness = Witness(world, outside)
    invariants = Invariants(witness)
    broken: Broken | None = None
    with _quiet_log():
        try:
            _run(schedule, world, outside, invariants)
            world.weather.clear()
            _rest(world, outside, invariants, witness)
            invariants.at_rest()
        except Broken as found:
            broken = found
            world.tell("judge", f"! {found}")
        finally:
            for part in world.parts.values():
                if part.life is not None:
                    part.life.end()
    met = dict(world.weather.met)
    return Outcome(broken and broken.rule, broken.what if broken else "", world.step, world.trace, met)


def _run(schedule: Schedule, world: World, outside: Outside, invariants: Invariants) -> None:
    errands, faults = list(reversed(schedule.errands)), list(reversed(schedule.faults))
    while world.step < schedule.steps:
        while errands and errands[-1].step <= world.step:
            outside.begin(errands.pop())
        while faults and faults[-1].step <= world.step:
            strike(world, outside, faults.pop())
        _turn(world, outside, invariants)


def _turn(world: World, outside: Outside, invariants: Invariants) -> None:
    outside.turn()
    world.turn()
    invariants.after_step()
    for part in world.parts.values():
        while part.faults:
            fault = part.faults.pop()
            if not _expected(fault):
                raise Broken(
                    "A part dies of a crash alone", f"{part.name} ended with {type(fault).__name__}: {fault}"
                ) from fault


def _rest(world: World, outside: Outside, invariants: Invariants, witness: Witness) -> None:
    """All is well: let everything be read and done, then stop intake, whose clock would never rest."""
    world.weather.haste_ms = 30.0
    for part in world.parts.values():
        part.skew_ms, part.hangs_until = 0, 0.0
    ends = world.step + PATIENCE
    quiet_at = world.now + QUIET_MS
    stopped = False
    while True:
        if world.step > ends:
            raise Broken("What is well comes to rest", f"after {PATIENCE} steps {_waits(world, witness)}")
        before = len(witness.log[0]) + len(witness.log[1])
        _turn(world, outside, invariants)
        if outside.busy:
            quiet_at = world.now + QUIET_MS
        if not stopped and world.now > quiet_at and _all_read(world, witness):
            intake = world.parts["intake"]
            intake.retired = stopped = True
            if intake.life is not None:
                intake.life.stop()
        if stopped and world.parts["intake"].life is None and not _waits(world, witness):
            return
        del before


def _all_read(world: World, witness: Witness) -> bool:
    journal = witness.hash("kairos:intake")
    for topic, partitions in world.topics.partitions.items():
        for number, held in enumerate(partitions):
            name = f"read:{topic}:{number}".encode()
            if name in journal and int(journal[name]) < held.last:
                return False
            if name not in journal and topic in ("till", "web", "club") and held.last >= 0:
                return False
    return True


def _waits(world: World, witness: Witness) -> str:
    """Who has not come to the end of what it reads; empty when nobody."""
    if not _all_read(world, witness):
        return "intake has not read all there is"
    done = witness.hash(POSITIONS)
    for partition in range(PARTITIONS):
        if int(done.get(b"%d" % partition, b"-1")) < world.topics.partitions["behaviour"][partition].last:
            return f"partition {partition} of the log is not folded to its end"
    return ""


def strike(world: World, outside: Outside, fault: Breakage) -> None:
    """Let something break."""
    part = world.parts.get(fault.who)
    if part is None and fault.who != "all":
        return
    world.tell("fault", f"! {fault.what} {fault.who}" + (f" {fault.ms} ms" if fault.ms else ""))
    match fault.what.split():
        case ["crash"] if part is not None:
            part.crash()
        case [port, "away"]:
            world.weather.away(port, fault.who, world.now + fault.ms)
        case ["redis", "killed"]:
            world.redis.kill()
            world.weather.away("redis", "all", world.now + fault.ms)
        case ["redis", "full"]:
            world.redis.keys.full = True
            world.later(fault.ms, world.redis.keys.drain)
        case [port, how]:
            world.weather.cut(port, fault.who, how)
        case ["hang"] if part is not None:
            part.hangs_until = world.now + fault.ms
        case ["skew"] if part is not None:
            part.skew_ms = fault.ms
        case ["twice"]:
            outside.twice()


def _expected(fault: BaseException) -> bool:
    """Whether a process may end so; it is then started again. A full Redis is said to be full."""
    return isinstance(fault, redis.exceptions.OutOfMemoryError) or "OOM" in str(fault)


@contextmanager
def _quiet_log() -> Iterator[None]:
    """What the parts say of their faults would be thousands of lines; the trace says it better."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
