"""One contender as a process: reads the domains' topics from their first event for so many seconds.

`python -m kairos.bench.contenders.run competent|naive FILE SECONDS` takes `KAIROS_*` for settings and writes
what it came to as JSON: events, microseconds of processor an event (the median of thirds), by stage.
"""

import gc
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import orjson
from redis import Redis

from events.bus import Bus, connect
from features.declare import load as load_playbook
from kairos.bench.contenders import competent, naive
from kairos.bench.contenders.questions import Questions, Told
from kairos.bench.measure import median
from kairos.settings import Settings, load
from stream.engine import GC_THRESHOLDS

BATCH: Final = 4_000
PARTS: Final = 3


class Meter:
    """Processor time of this process by events done."""

    def __init__(self, seconds: float) -> None:
        self.events = 0
        self.stages: dict[str, float] = {}
        self._readings: list[tuple[int, float]] = [(0, time.process_time())]
        self._last = time.process_time()
        self._began = time.monotonic()
        self._ends = self._began + seconds

    def spent(self, stage: str) -> None:
        """Charge what was spent since the last call to a stage."""
        now = time.process_time()
        self.stages[stage] = self.stages.get(stage, 0.0) + now - self._last
        self._last = now

    def over(self, events: int) -> bool:
        """So many more are done; whether time is up."""
        self.events += events
        self._readings.append((self.events, time.process_time()))
        return time.monotonic() >= self._ends

    def told(self) -> dict[str, Any]:
        """What it came to."""
        wall = time.monotonic() - self._began
        each = [1e6 * (b[1] - a[1]) / (b[0] - a[0]) for a, b in _thirds(self._readings)]
        stages = {name: round(1e6 * s / max(self.events, 1), 2) for name, s in self.stages.items()}
        return {
            "events": self.events,
            "seconds": round(wall, 2),
            "cpu_us_per_event": round(median(each), 2) if each else None,
            "cpu_us_by_stage": stages,
        }


def _thirds(readings: list[tuple[int, float]]) -> Iterator[tuple[tuple[int, float], tuple[int, float]]]:
    places = sorted({round(n * (len(readings) - 1) / PARTS) for n in range(PARTS + 1)})
    for a, b in pairwise(places):
        if readings[b][0] > readings[a][0]:
            yield readings[a], readings[b]


def batches(bus: Bus, settings: Settings, topics: tuple[str, ...]) -> Iterator[list[bytes]]:
    """What the domains have published, some thousands at once, until there is no more."""
    count = len(topics) * settings.partitions
    readers = [bus.reader(topic, number) for topic in topics for number in range(settings.partitions)]
    while True:
        batch = [r.value for reader in readers for r in reader.read(max(1, BATCH // count), 1)]
        if not batch:
            return
        yield batch


def run_competent(
    settings: Settings, questions: Questions, source: Iterator[list[bytes]], seconds: float
) -> dict[str, Any]:
    """Batches through dict states into packed rows."""
    engine = competent.Competent(questions)
    write = competent.writer(Redis.from_url(settings.redis))
    meter = Meter(seconds)
    for batch in source:
        meter.spent("read")
        told = [event for raw in batch if (event := questions.decode(raw)) is not None]
        meter.spent("decode")
        engine.fold(told)
        changed = engine.changed()
        meter.spent("fold")
        write(changed)
        meter.spent("write")
        if meter.over(len(told)):
            break
    return meter.told()


def run_naive(
    settings: Settings, questions: Questions, source: Iterator[list[bytes]], seconds: float
) -> dict[str, Any]:
    """An event at a time through `stateful_map`, a write a feature."""
    engine = naive.Naive(questions)
    meter = Meter(seconds)

    def told() -> Iterator[Told]:
        for batch in source:
            for raw in batch:
                event = questions.decode(raw)
                if event is not None:
                    yield event
                    if meter.over(1):
                        return

    naive.flow(engine, told(), naive.writer(Redis.from_url(settings.redis)))
    meter.stages["fold"] = engine.fold_s
    return meter.told()


def main(name: str, file: Path, seconds: float) -> None:
    """Run the contender of that name and write what it came to."""
    settings = load()
    gc.set_threshold(*GC_THRESHOLDS)  # as our own processes have it
    playbook = load_playbook(settings.playbook)
    bus = connect(settings.bus)
    source = batches(bus, settings, playbook.contracts.topics)
    run = {"competent": run_competent, "naive": run_naive}[name]
    file.write_bytes(orjson.dumps(run(settings, Questions(playbook), source, seconds)))
    bus.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))
