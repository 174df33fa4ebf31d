"""`bench stream`: from the domains' topics to rows in Redis, stage by stage, and the fold alone.

All is measured in one run on the same events: the true processes on servers of the benchmark's own, then
the two contenders, each for a while. Events are on the bus before the clock starts.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from features.declare import Playbook
from features.feast_store import FIELDS, RedisStateStore, feast_key
from features.plan import compile_plan
from kairos.bench.cut import cut, visible
from kairos.bench.fold_alone import FoldCost, fold_alone
from kairos.bench.measure import Reading, machine, median, per_core, revision, steady_us
from kairos.bench.population import Past, introduce, known
from kairos.bench.rig import Rig
from kairos.bench.stream_figures import PROCESSES, bytes_of, figures
from kairos.bench.traffic import traffic_of
from kairos.bench.wide_events import Published, Skew

START_MS: Final = 1_700_000_000_000
"""When the first event happens; the same in every run."""

MARK_EVERY: Final = 20_000
PATIENCE_S: Final = 900.0
FOLDED_MOST: Final = 400_000
"""So many events at most are folded alone: they have to fit into memory, decoded."""

Say = Callable[[str], None]


class Sizes(NamedTuple):
    """How large the benchmark is."""

    features: int = 1_000
    customers: int = 100_000
    events: int = 200_000
    keys: Skew = "uniform"
    workers: int = 1
    history: int = 10
    seconds: float = 8.0
    restarts: int = 3


def run(folder: Path, sizes: Sizes, say: Say) -> dict[str, Any]:
    """Measure it all; errors: `BenchFailed`, `PlaybookRefused`."""
    with tempfile.TemporaryDirectory(prefix="kairos-bench-") as place:
        playbook = cut(folder, sizes.features, Path(place) / "playbook")
        return _Stream(playbook, sizes, say, Path(place)).measure()


class _Stream:
    def __init__(self, playbook: Playbook, sizes: Sizes, say: Say, folder: Path) -> None:
        self._playbook = playbook
        self._plan = compile_plan(playbook)
        self._sizes = sizes
        self._say = say
        self._folder = folder
        self._warm = max(1_000, sizes.events // 10)
        self._again = max(1_000, sizes.events // 4)
        every = self._warm + sizes.events + self._again + sizes.restarts
        self._step_ms = min(playbook.lateness_ms, 86_400_000) / 2 / every
        self._traffic = traffic_of(playbook, sizes.customers, sizes.keys)
        self._customers = [self._traffic.minted(number) for number in range(sizes.customers)]
        self._published = 0
        self._kept: list[Published] = []

    def measure(self) -> dict[str, Any]:
        sizes, say = self._sizes, self._say
        say(f"{visible(self._playbook):,} features, {sizes.customers:,} customers: folding their past")
        self._past = Past(self._plan, sizes.customers, sizes.history, START_MS)
        with Rig(self._playbook, partitions=max(2, sizes.workers)) as rig:
            say(f"telling Redis who is who, and writing {sizes.customers:,} states")
            self._settle(rig)
            say(f"publishing {self._warm + sizes.events:,} events, {sizes.keys} customers")
            self._publish(rig, self._warm + sizes.events)
            whole = self._whole_path(rig)
            whole["bytes"] = bytes_of(rig, self._customers)
            say("killing the fold and starting it again")
            whole["restart_s"] = self._restart(rig)
            say("the same processes again, watched where their time goes")
            whole["watched"] = self._watched(rig)
            workers = self._workers(rig) if sizes.workers > 1 else None
            contenders = {name: self._contender(rig, name) for name in ("competent", "naive")}
        sizes_seen = whole["watched"]["behaviour"]["records"]
        # As an event sees it: a stream that has caught up takes many small ones at the end.
        batch = round(sum(n * n for n in sizes_seen) / max(sum(sizes_seen), 1)) or 1
        say(f"the fold alone, {batch:,} events at once as the stream had")
        fold = self._fold_alone(batch)
        return {
            "bench": "stream",
            "revision": revision(),
            "machine": machine(),
            "playbook": self._playbook.name,
            **sizes._asdict(),
            "features": visible(self._playbook),
            **figures(whole, fold, contenders),
            **({"second_worker": workers} if workers else {}),
        }

    def _settle(self, rig: Rig) -> None:
        """Every customer has ids and a past."""
        introduce(rig.redis, self._traffic, self._customers)
        self._past.store(RedisStateStore(rig.settings.redis, rig.settings.project), self._customers)

    def _publish(self, rig: Rig, count: int, keep: bool = True) -> None:
        for at in range(0, count, MARK_EVERY):
            size = min(MARK_EVERY, count - at)
            for chunk in self._traffic.events(size, self._now(), self._step_ms):
                self._published += rig.publish(chunk)
                if keep and len(self._kept) < FOLDED_MOST:
                    self._kept += chunk
            rig.mark(self._now())

    def _now(self) -> int:
        return START_MS + int(self._published * self._step_ms)

    def _start(self, rig: Rig, *argv: str) -> dict[str, int]:
        return {name: rig.start(name, *argv, *_module(argv, name, self._folder)) for name in PROCESSES}

    def _whole_path(self, rig: Rig) -> dict[str, Any]:
        servers = rig.server_cpu_s()
        pids = self._start(rig)
        readings = self._watch(rig, pids)
        after = rig.server_cpu_s()
        warm = self._warm
        spent = {name: steady_us(each, warm) for name, each in readings.items()}
        spent |= {name: 1e6 * (after[name] - servers[name]) / self._published for name in servers}
        began = next(reading.at for reading in readings["behaviour"] if reading.done >= warm)
        ended = readings["behaviour"][-1]
        done = ended.done - next(r.done for r in readings["behaviour"] if r.done >= warm)
        return {
            "by_process": {name: round(us, 2) for name, us in spent.items()},
            "events_per_s": round(done / (ended.at - began)) if ended.at > began else None,
            "dead_letters": _dead(rig),
        }

    def _watch(self, rig: Rig, pids: dict[str, int]) -> dict[str, list[Reading]]:
        return rig.watch(
            {
                "intake": (rig.taken_in, lambda: self._published, [pids["intake"]]),
                "behaviour": (
                    rig.folded,
                    lambda: rig.logged() if rig.taken_in() >= self._published else 1 << 62,
                    [pids["behaviour"]],
                ),
            },
            PATIENCE_S,
            self._say,
        )

    def _restart(self, rig: Rig) -> float:
        found = []
        for number in range(self._sizes.restarts):
            customer = number % self._sizes.customers
            rig.kill("behaviour")
            key = feast_key(rig.settings.project, self._customers[customer])
            before = rig.redis.hget(key, FIELDS[0])
            for chunk in self._traffic.events(1, self._now(), self._step_ms, [customer]):
                self._published += rig.publish(chunk)
            while rig.taken_in() < self._published:
                rig.check()
                time.sleep(0.01)
            began = time.monotonic()
            rig.start("behaviour", "-m", "kairos", "behaviour")
            while rig.redis.hget(key, FIELDS[0]) == before:
                rig.check()
                time.sleep(0.005)
            found.append(time.monotonic() - began)
        return round(median(found), 2)

    def _watched(self, rig: Rig) -> dict[str, Any]:
        for name in PROCESSES:
            rig.stop(name)
        self._publish(rig, self._again, keep=False)
        pids = self._start(rig, "-m", "kairos.bench.sampled")
        self._watch(rig, pids)
        for name in PROCESSES:
            rig.stop(name)
        return {name: orjson.loads((self._folder / f"{name}.json").read_bytes()) for name in PROCESSES}

    def _contender(self, rig: Rig, name: str) -> dict[str, Any]:
        rig.fresh_state()
        self._say(f"{name}, for {self._sizes.seconds:.0f} s")
        servers = rig.server_cpu_s()
        file = self._folder / f"{name}.json"
        rig.start(name, "-m", "kairos.bench.contenders.run", name, str(file), str(self._sizes.seconds))
        rig.finished(name, self._sizes.seconds + 120)
        told: dict[str, Any] = orjson.loads(file.read_bytes())
        after = rig.server_cpu_s()
        events = max(told["events"], 1)
        told["servers_cpu_us_per_event"] = round(
            1e6 * sum(after[server] - servers[server] for server in servers) / events, 2
        )
        told["events_per_s_per_core"] = per_core(told["cpu_us_per_event"])
        told["fold_events_per_s_per_core"] = per_core(told["cpu_us_by_stage"].get("fold"))
        return told

    def _workers(self, rig: Rig) -> dict[str, Any]:
        """Processor time an event of one fold, then of several that share the partitions of the same log."""
        count = self._sizes.workers
        found = {}
        for workers in (1, count):
            self._say(f"the same log, folded by {workers} worker{'s' * (workers > 1)}")
            rig.fresh_state()
            self._settle(rig)
            words = [[]] if workers == 1 else [["--worker", f"{n}/{workers}"] for n in range(workers)]
            names = [f"behaviour-{n}" for n in range(workers)]
            pids = [
                rig.start(name, "-m", "kairos", "behaviour", *each)
                for name, each in zip(names, words, strict=True)
            ]
            readings = rig.watch({"workers": (rig.folded, rig.logged, pids)}, PATIENCE_S, self._say)
            for name in names:
                rig.stop(name)
            found[workers] = round(steady_us(readings["workers"], self._warm), 2)
        rise = found[count] / found[1] - 1 if found[1] else None
        return {
            "cpu_us_per_event": {str(workers): us for workers, us in found.items()},
            "rise": None if rise is None else round(rise, 3),
        }

    def _fold_alone(self, batch: int) -> FoldCost:
        events = list(known(self._playbook.contracts, self._traffic, self._kept))
        count = len(self._past.states)
        states = {
            name: self._past.states[number % count][0]
            for number, name in enumerate(self._customers if count else ())
        }
        met = {event.customer for event in events}
        states = {name: blob for name, blob in states.items() if name in met}
        return fold_alone(self._plan, events, max(2, self._sizes.workers), states, batch)


def _module(argv: Sequence[str], name: str, folder: Path) -> list[str]:
    return [str(folder / f"{name}.json"), name] if argv else ["-m", "kairos", name]


def _dead(rig: Rig) -> int:
    return sum(int(rig.redis.hget(f"kairos:counters:{name}", "dead_letters") or 0) for name in PROCESSES)
