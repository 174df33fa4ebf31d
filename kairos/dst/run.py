"""One schedule from its first step until everything has come to rest."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import orjson

from events.topics import BEHAVIOUR, TRIGGERS, layout
from kairos.dst.broken import Broken
from kairos.dst.bus import SimulatedBus
from kairos.dst.doors import push_part, serve_part
from kairos.dst.invariants import Invariants
from kairos.dst.life import Undisturbed
from kairos.dst.outside import Outside
from kairos.dst.processes import PARTITIONS, stream_parts
from kairos.dst.schedule import Breakage, Schedule
from kairos.dst.stall import stall
from kairos.dst.witness import Witness
from kairos.dst.world import Told, World
from models.online import online_key, unpack
from serving.push import CURSOR
from stream.behaviour import POSITIONS
from stream.intake import places
from stream.intake_journal import KEY as JOURNAL

PATIENCE: Final = 8_000
"""Steps within which a run without faults comes to rest, or never will."""

QUIET_MS: Final = 2_500
"""So long after the last errand nothing waits any more: every window and absence of the stall is over."""


class Outcome(NamedTuple):
    """What a run came to: the broken rule (None: none) and how, its steps, its trace.

    `met` says how often each kind of fault changed what somebody did: a process that ended, a write that
    broke, a port that was not there, a step that was held back, a clock that was read while it was off.
    """

    rule: str | None
    what: str
    steps: int
    trace: list[Told]
    met: dict[str, int]


def undergo(schedule: Schedule, *, rest: bool = True) -> Outcome:
    """Run a schedule, with `rest` until all has come to rest; the same one always comes to the same."""
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
            if rest:
                world.weather.clear()
                world.redis.keys.drain()
                _rest(world, outside, invariants, witness)
                invariants.at_rest()
        except Broken as found:
            broken = found
            world.tell("judge", f"! {found}")
        finally:
            for part in world.parts.values():
                if part.life is not None:
                    part.life.end()
    world.weather.met["redis full"] += world.redis.keys.refused
    met = {name: count for name, count in world.weather.met.items() if count}
    rule, what = (None, "") if broken is None else (broken.rule, broken.what)
    return Outcome(rule, what, world.step, world.trace, met)


def _run(schedule: Schedule, world: World, outside: Outside, invariants: Invariants) -> None:
    errands, faults = list(reversed(schedule.errands)), list(reversed(schedule.faults))

    def between() -> None:
        """What lies between two steps."""
        invariants.after_step()
        while errands and errands[-1].step <= world.step:
            outside.begin(errands.pop())
        while faults and faults[-1].step <= world.step:
            strike(world, outside, faults.pop())
        outside.turn()

    world.between, world.until = between, schedule.steps
    while world.step < schedule.steps:
        _turn(world)


def _turn(world: World) -> None:
    world.between()
    world.turn()
    if world.broken is not None:
        raise world.broken
    for part in world.parts.values():
        while part.faults:
            fault = part.faults.pop()
            what = f"{part.name} ended with {type(fault).__name__}: {fault}"
            raise Broken("A part dies of a crash alone", what) from fault


def _rest(world: World, outside: Outside, invariants: Invariants, witness: Witness) -> None:
    """All is well: let everything be read and done, then stop intake, whose clock would never rest."""

    quiet_at = world.now + QUIET_MS

    def between() -> None:
        nonlocal quiet_at
        invariants.after_step()
        outside.turn()
        if outside.busy:
            quiet_at = world.now + QUIET_MS

    # What is left to wait for lasts seconds, leases and windows: looking for more to do would be most of it.
    world.haste_ms, world.leisure = 30.0, 10.0
    for part in world.parts.values():
        part.skew_ms, part.hangs_until = 0, 0.0
    world.between, world.until = between, world.step + PATIENCE
    intake, written = world.parts["intake"], (-1, -1)
    while True:
        if world.step >= world.until:
            what = _unread(world, witness) or _unfolded(world, witness) or "an errand is never done"
            raise Broken("What is well comes to rest", f"after {PATIENCE} steps {what}")
        _turn(world)
        if world.now < quiet_at or written == (written := (world.topics.version, world.redis.keys.version)):
            continue
        if not intake.retired and not _unread(world, witness):
            intake.retired = True
            if intake.life is not None:
                intake.life.stop()
        if intake.retired and intake.life is None and not _unfolded(world, witness):
            invariants.after_step()
            return


def _unread(world: World, witness: Witness) -> str:
    """What intake and the push door have not read; empty when they have read all there is."""
    journal = witness.hash(JOURNAL)
    for topic, number in places(stall().playbook.contracts, PARTITIONS):
        last = world.topics.partitions[topic][number].last
        if int(journal.get(f"read:{topic}:{number}".encode(), b"-1")) < last:
            return f"intake has not read {topic}/{number} to its end"
    return _unpushed(world, witness)


def _unpushed(world: World, witness: Witness) -> str:
    """What the doors have not done; empty when nothing."""
    cursors = witness.hash(CURSOR)
    for partition in range(PARTITIONS):
        done = orjson.loads(cursors.get(b"%d" % partition, b"[-1, -1]"))[0]
        if done < world.topics.partitions[TRIGGERS][partition].last:
            return f"partition {partition} of the triggers is not pushed to its end"
    if any(world.redis.keys.held(key, dict) for key in world.redis.keys.named(b"outbox")):
        return "decisions wait in an outbox"
    return ""


def _unfolded(world: World, witness: Witness) -> str:
    """What the workers and the learner have not read; empty when they have read all there is."""
    done = witness.hash(POSITIONS)
    for partition in range(PARTITIONS):
        if int(done.get(b"%d" % partition, b"-1")) < world.topics.partitions[BEHAVIOUR][partition].last:
            return f"partition {partition} of the log is not folded to its end"
    ticked = min(max(witness.ticks(partition), default=-1) for partition in range(PARTITIONS))
    packed = witness.text(online_key("feed"))
    if packed is None or unpack(packed).learned_to < ticked:
        return "the learner has not learned the log to its end"
    return _unpushed(world, witness)


def strike(world: World, outside: Outside, fault: Breakage) -> None:
    """Let something break."""
    part = world.parts.get(fault.who)
    if part is None and fault.who != "all":
        return
    world.tell("fault", "! " + str(fault).partition(": ")[2])
    match fault.what.split():
        case ["crash"] if part is not None:
            world.weather.met["crash"] += part.life is not None
            part.crash()
        case [port, "away"]:
            world.weather.away(port, fault.who, world.now + fault.ms)
        case ["redis", "killed"]:
            world.weather.met["redis killed"] += world.redis.kill()
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
            world.weather.met["twice"] += outside.twice()


@contextmanager
def _quiet_log() -> Iterator[None]:
    """What the parts say of their faults would be thousands of lines; the trace says it better."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
