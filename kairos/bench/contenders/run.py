"""One contender as a process: reads the domains' topics from their first event, twice.

`python -m kairos.bench.contenders.run competent|naive FILE SECONDS` takes `KAIROS_*` for settings and writes
what it came to as JSON: events, microseconds of processor an event (the median of thirds), by stage. The
first pass, half of the seconds, only makes its customers known, as ours are; the second one is measured.
"""

import gc
import sys
import time
from collections.abc import Iterator, Sequence
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
ENDLESS_S: Final = 1e9
AGAIN_MS: Final = 6 * 3_600_000
"""The second pass tells the same events again, six hours later."""


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


class Events:
    """What the domains have published, from the first event on, each time anew."""

    def __init__(self, bus: Bus, settings: Settings, topics: Sequence[str]) -> None:
        self._bus = bus
        self._places = [(topic, number) for topic in topics for number in range(settings.partitions)]

    def batches(self) -> Iterator[list[bytes]]:
        """Some thousands at once, until there is no more."""
        readers = [self._bus.reader(*place) for place in self._places]
        each = max(1, BATCH // len(readers))
        while batch := [record.value for reader in readers for record in reader.read(each, 1)]:
            yield batch


def decoded(questions: Questions, batch: Sequence[bytes], shift_ms: int) -> list[Told]:
    """The events of a batch, so much later than they say."""
    told = [event for raw in batch if (event := questions.decode(raw)) is not None]
    return [event._replace(time=event.time + shift_ms) for event in told] if shift_ms else told


def run_competent(settings: Settings, questions: Questions, events: Events, seconds: float) -> dict[str, Any]:
    """Batches through dict states into packed rows."""
    engine = competent.Competent(questions)
    write = competent.writer(Redis.from_url(settings.redis))

    def go(meter: Meter, most: int, shift_ms: int) -> Meter:
        for batch in events.batches():
            meter.spent("read")
            told = decoded(questions, batch, shift_ms)
            meter.spent("decode")
            engine.fold(told)
            changed = engine.changed()
            meter.spent("fold")
            write(changed)
            meter.spent("write")
            if meter.over(len(told)) or meter.events >= most:
                break
        return meter

    warm = go(Meter(seconds / 2), sys.maxsize, 0)
    return go(Meter(ENDLESS_S), warm.events, AGAIN_MS).told()


def run_naive(settings: Settings, questions: Questions, events: Events, seconds: float) -> dict[str, Any]:
    """An event at a time through `stateful_map`, a write a feature."""
    engine = naive.Naive(questions)
    meters = [Meter(seconds / 2)]

    def told(most: int, shift_ms: int) -> Iterator[Told]:
        for batch in events.batches():
            for event in decoded(questions, batch, shift_ms):
                yield event
                if meters[-1].over(1) or meters[-1].events >= most:
                    return

    def twice() -> Iterator[Told]:
        yield from told(sys.maxsize, 0)
        engine.fold_s = 0.0
        meters.append(Meter(ENDLESS_S))
        yield from told(meters[0].events, AGAIN_MS)

    naive.flow(engine, twice(), naive.writer(Redis.from_url(settings.redis)))
    meters[-1].stages["fold"] = engine.fold_s
    return meters[-1].told()


def main(name: str, file: Path, seconds: float) -> None:
    """Run the contender of that name and write what it came to."""
    settings = load()
    gc.set_threshold(*GC_THRESHOLDS)  # as our own processes have it
    playbook = load_playbook(settings.playbook)
    bus = connect(settings.bus)
    run = {"competent": run_competent, "naive": run_naive}[name]
    told = run(settings, Questions(playbook), Events(bus, settings, playbook.contracts.topics), seconds)
    file.write_bytes(orjson.dumps(told))
    bus.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))
