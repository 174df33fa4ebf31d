"""`bench triggers`: what a thousand triggers cost on top of the fold, and how soon one that fired is told.

Micro-batches of the same events go through the stage behaviour with no, a tenth and all of the triggers in
turn, so that whatever else the machine does meets all of them alike. Beside them: *floor*, the fold of a
playbook without triggers, and *naive*, every condition evaluated in Python for every event of its type. Then
the true processes run, and somebody nobody has met does what fires a trigger.
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from events.bus import Reader
from events.envelope import Event
from events.topics import TRIGGERS
from features.declare import Playbook
from features.fold import decode
from features.plan import Plan, compile_plan
from features.plan_triggers import EVENT
from features.row import whole_row
from kairos.bench import wide_triggers
from kairos.bench.behaviour_stage import Stage, logged
from kairos.bench.cut import cut, visible
from kairos.bench.freshness import LONGEST_S, PAUSE_S, WARM, lag_of, steady_rate
from kairos.bench.measure import machine, median, per_core, revision, spread
from kairos.bench.population import Past, introduce, known
from kairos.bench.rig import BenchFailed, Rig
from kairos.bench.traffic import traffic_of

START_MS: Final = 1_760_000_000_000
NAIVE_EVENTS: Final = 60
"""So many events are judged naively: each takes milliseconds."""

MET: Final = "just_met"
_MET: Final = f"""
[[trigger]]
name = "{MET}"
meaning = "the first page that somebody looks at: what the benchmark waits for"
on = "page_viewed"
nth = 1
"""
_PAGES: Final = "web"
"""The topic of what fires it."""

Say = Callable[[str], None]


class Sizes(NamedTuple):
    """How large the benchmark is."""

    features: int = 1_000
    triggers: int = 1_000
    customers: int = 20_000
    events: int = 40_000
    history: int = 10
    batch: int = 2_000
    rate: int = 1_000
    seconds: float = 20.0


def run(sizes: Sizes, say: Say) -> dict[str, Any]:
    """Measure it; errors: `BenchFailed`."""
    if sizes.events < 2 * sizes.batch:
        raise BenchFailed(
            f"triggers: expected --events of at least {2 * sizes.batch:,}, two micro-batches of --batch, "
            f"the first to warm up with; found {sizes.events:,}"
        )
    with tempfile.TemporaryDirectory(prefix="kairos-bench-") as place:
        counts = sorted({0, sizes.triggers // 10, sizes.triggers})
        plans: dict[int, Plan] = {}
        for count in counts:
            say(f"{count:,} triggers: reading and compiling them")
            plans[count] = compile_plan(_playbook(Path(place) / str(count), count, sizes.features))
        say(f"folding the past of {sizes.customers:,} customers, {len(plans)} times")
        measured = _Measured(plans, sizes, say)
        measured.run()
        whole, told = plans[counts[-1]], measured.told()
        latency = _latency(_playbook(Path(place) / "met", counts[-1], sizes.features, _MET), sizes, say)
    judged, most, none = whole.triggers.tables, told[str(counts[-1])], told["0"]
    return {
        "bench": "triggers",
        "revision": revision(),
        "machine": machine(),
        "playbook": whole.playbook.name,
        **sizes._asdict(),
        "features": visible(whole.playbook),
        "triggers": len(whole.triggers.triggers),
        "conditions": len(judged.clauses_at) - 1,
        "by_triggers": told,
        "events_per_s_per_core": {count: each["events_per_s_per_core"] for count, each in told.items()},
        "cost_ratio": _more(most["fold_with_triggers_us"], none["fold_with_triggers_us"]),
        "stage_cost_ratio": _more(most["stage_us"], none["stage_us"]),
        "floor_us_per_event": none["fold_with_triggers_us"],
        "naive_us_per_event": measured.naive_us(counts[-1], whole),
        **latency,
    }


def _playbook(folder: Path, triggers: int, features: int, more: str = "") -> Playbook:
    wide_triggers.write(folder / "whole", triggers, more)
    return cut(folder / "whole", features, folder / "cut")


class _Measured:
    """The stage with each number of triggers, on the same events."""

    def __init__(self, plans: Mapping[int, Plan], sizes: Sizes, say: Say) -> None:
        self._sizes, self._say = sizes, say
        plan = next(iter(plans.values()))
        traffic = traffic_of(plan.playbook, sizes.customers, seed=5)
        step_ms = min(plan.playbook.lateness_ms, 86_400_000) / 2 / sizes.events
        published = [each for chunk in traffic.events(sizes.events, START_MS, step_ms) for each in chunk]
        self.events: list[Event] = list(known(plan.playbook.contracts, traffic, published))
        self._stages: dict[int, Stage] = {}
        self._states: dict[int, dict[str, bytes]] = {}
        for count, each in plans.items():
            past = Past(each, sizes.customers, sizes.history, START_MS)
            names = [traffic.minted(number) for number in range(sizes.customers)] if past.states else []
            self._states[count] = {
                name: past.states[number % len(past.states)][0] for number, name in enumerate(names)
            }
            self._stages[count] = Stage(each, self._states[count])
        self._spent: dict[int, list[dict[str, float]]] = {count: [] for count in plans}
        self._fired = dict.fromkeys(plans, 0)
        self._counted = 0

    def run(self) -> None:
        """Every micro-batch through every stage."""
        values, size = logged(self.events), self._sizes.batch
        self._say(
            f"{len(values):,} events, {size:,} at once, with {', '.join(map(str, self._stages))} triggers"
        )
        # The first quarter fills the caches and loads what is compiled.
        warm = len(values) // 4
        for at in range(0, len(values), size):
            part = values[at : at + size]
            tick = self.events[at + len(part) - 1].time
            for count, stage in self._stages.items():
                messages = stage.process(part, tick)
                if at >= warm:
                    spent = {name: 1e6 * s / len(part) for name, s in stage.spent.items()}
                    self._spent[count].append(spent)
                    self._fired[count] += messages
            self._counted += len(part) * (at >= warm)

    def told(self) -> dict[str, dict[str, Any]]:
        """By number of triggers what was measured, medians over micro-batches."""
        found: dict[str, dict[str, Any]] = {}
        for count, batches in self._spent.items():
            each = {name: median(spent[name] for spent in batches) for name in batches[0]}
            fold = median(s["columns"] + s["given"] + s["fold"] for s in batches)
            stage = median(sum(s.values()) for s in batches)
            floor = next(iter(found.values()))["cpu_us_per_event"]["fold"] if found else each["fold"]
            judged = max(each["fold"] - floor, 0.0)
            split = {
                "columns": each["columns"],
                "fold": each["fold"] - judged,
                "conditions": each["given"] + judged,
                "wake-ups": each["wake-ups"],
                "messages": each["messages"],
                "other": each["other"],
            }
            found[str(count)] = {
                "events_per_s_per_core": per_core(fold),
                "stage_events_per_s_per_core": per_core(stage),
                "fold_with_triggers_us": round(fold, 2),
                "stage_us": round(stage, 2),
                "cpu_us_per_event": {name: round(us, 2) for name, us in split.items()},
                "conditions_us": {"given": round(each["given"], 2), "judged": round(judged, 2)},
                "fired_per_event": round(self._fired[count] / max(self._counted, 1), 4),
            }
        return found

    def naive_us(self, count: int, plan: Plan) -> float:
        """Processor of an event whose conditions are evaluated one by one, its row of features in hand."""
        triggers = [each for each in plan.triggers.triggers if each.condition is not None]
        states = self._states[count]
        names = [feature.name for feature in plan.customer_features]
        found = []
        for event in self.events[:NAIVE_EVENTS]:
            blob = states.get(event.customer)
            row = whole_row(plan, decode(plan, blob), event.time + 1).tolist() if blob else []
            env: dict[str, Any] = dict(zip(names, row, strict=False))
            env |= {EVENT + name: value for name, value in event.fields.items()}
            began = time.thread_time()
            for each in triggers:
                if event.type in each.trigger.on and each.condition is not None:
                    each.condition.test(env)
            found.append(1e6 * (time.thread_time() - began))
        return round(sum(found) / len(found), 1) if found else 0.0


def _latency(playbook: Playbook, sizes: Sizes, say: Say) -> dict[str, Any]:
    """How long from before an event is published until its trigger is on the topic."""
    with tempfile.TemporaryDirectory(prefix="kairos-bench-") as place, Rig(playbook, clock="wall") as rig:
        traffic = traffic_of(playbook, sizes.customers, seed=3)
        introduce(rig.redis, traffic, [traffic.minted(n) for n in range(sizes.customers)])
        say("starting intake and behaviour")
        for name in ("intake", "behaviour"):
            rig.start(name, "-m", "kairos", name)
        steady = steady_rate(rig, sizes.rate, sizes.customers, Path(place) / "rate", say)
        say(f"{steady.rate:,} events/s: waiting for triggers, for {sizes.seconds:.0f} s")
        found = _waited(rig, sizes.seconds)
        waiting = lag_of(rig)
        rig.stop("publisher")
    return {
        "latency_events_per_s": steady.rate,
        "kept_up": steady.kept_up,
        "waiting_at_the_end": waiting,
        "event_to_trigger_ms": spread(found, 1),
        "probes": len(found),
    }


def _waited(rig: Rig, seconds: float) -> list[float]:
    """Milliseconds, of one new customer after the other."""
    traffic = traffic_of(rig.playbook, 10_000_000, seed=4, prefix="q")
    found: list[float] = []
    ends, number = time.monotonic(), 0
    readers = {
        partition: rig.bus.reader(TRIGGERS, partition, rig.bus.last(TRIGGERS, partition))
        for partition in range(rig.partitions)
    }
    try:
        while len(found) <= WARM or time.monotonic() < ends:
            number += 1
            chunk = next(iter(traffic.events(1, int(time.time() * 1000), 0.0, [number])))
            while chunk[0].topic != _PAGES:
                chunk = next(iter(traffic.events(1, int(time.time() * 1000), 0.0, [number])))
            customer = traffic.minted(number).encode()
            began = time.monotonic()
            rig.publish(chunk)
            found.append(1000 * (_met(rig, readers, customer, began) - began))
            if len(found) == WARM:
                ends = time.monotonic() + seconds
            rig.check()
            time.sleep(PAUSE_S)
    finally:
        for reader in readers.values():
            reader.close()
    return found[WARM:]


def _met(rig: Rig, readers: Mapping[int, Reader], customer: bytes, began: float) -> float:
    """When the trigger of this customer was read (monotonic s)."""
    wanted = f'"{MET}"'.encode()
    while time.monotonic() - began < LONGEST_S:
        for reader in readers.values():
            for record in reader.read(1_000, 1):
                if record.key == customer and wanted in record.value:
                    return time.monotonic()
    rig.check()
    raise BenchFailed(f"triggers: expected {MET} on topic {TRIGGERS} within {LONGEST_S:.0f} s")


def _more(with_all: float, with_none: float) -> float | None:
    return round((with_all - with_none) / with_none, 3) if with_none else None
