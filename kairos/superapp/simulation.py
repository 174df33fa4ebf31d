"""The simulated customers' events fed to a running stack, a step of event time after the other."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from events import topics
from events.bus import Bus, Message
from kairos.demo.publisher import Publisher
from kairos.superapp.diary import MINUTE, Published
from kairos.superapp.life import events, midnight

TOPICS: Final = ("payments", "content", "shop", "support", topics.DECISIONS, topics.OUTCOMES)
STEP_MS: Final = 10 * MINUTE
STEPS_A_DAY: Final = 144
SEED: Final = 1
DAYS: Final = 60


class Fed(NamedTuple):
    """So far: everything that is sent before `until` (ms), `published` messages of this start among it."""

    until: int
    published: int


class Simulation:
    """Publishes `days` days of the events of `customers` simulated customers, and marks how far they are.

    How far it has come stays in `place`, so that a second start of the same simulation goes on from there;
    what a crash in between publishes twice is recognised as a repeat downstream.
    """

    def __init__(
        self, bus: Bus, partitions: int, place: Path, *, customers: int, seed: int = SEED, days: int = DAYS
    ) -> None:
        self._publisher = Publisher(bus, partitions)
        self._partitions = partitions
        self._place = place
        self._told = {"seed": seed, "customers": customers, "days": days}
        self._events = events(seed, customers, days)
        self._end = midnight(days)

    def steps(self, step_ms: int = STEP_MS) -> Iterator[Fed]:
        """Publish step after step, each durable when it is told of, until the days are over."""
        begun = self._begun()
        until, batch = begun + step_ms, list[Published]()
        for each in self._events:
            if each.sent < begun:
                continue
            while each.sent >= until:
                yield self._publish(batch, until)
                until, batch = until + step_ms, []
            batch.append(each)
        while until <= self._end:
            yield self._publish(batch, until)
            until, batch = until + step_ms, []

    def _publish(self, batch: Sequence[Published], until: int) -> Fed:
        self._publisher.publish([self._message(each) for each in batch])
        self._publisher.mark(TOPICS, until)
        self._place.write_text(json.dumps({**self._told, "until": until}))
        return Fed(until, self._publisher.published)

    def _begun(self) -> int:
        """Until when an earlier start of this very simulation has published; the first midnight otherwise."""
        if self._place.exists():
            told = json.loads(self._place.read_text())
            if told.items() >= self._told.items():
                return int(told["until"])
        return midnight(0)

    def _message(self, each: Published) -> Message:
        return Message(each.topic, crc32(each.key) % self._partitions, each.key, each.value)
