"""What intake remembers beside the log, so that a crash neither loses nor repeats anything."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from events import dead_letters
from events.bus import Bus
from events.codec import decode
from events.envelope import Event
from events.topics import BEHAVIOUR, DEAD_LETTERS
from stream.bus_source import Place
from stream.outlet import tail
from stream.repeats import Repeats

KEY: Final = "kairos:intake"

RECALLED: Final = 100_000
"""More records of the log than this are never without a journal: a micro-batch has fewer."""


class Remembered(NamedTuple):
    """The journal: `read` and `marks` of each source, `wrote` of each topic written, the last tick.

    `read` is the last position whose messages are all durable; `wrote` a position of the log up to
    which everything belongs to records at or before `read`.
    """

    read: dict[Place, int]
    marks: dict[Place, int]
    wrote: dict[Place, int]
    ticked: int

    def fields(self) -> dict[str, int]:
        """The journal as fields of one Redis hash; absolute, so writing it again changes nothing."""
        fields = {"tick": self.ticked}
        for name in ("read", "marks", "wrote"):
            values: Mapping[Place, int] = getattr(self, name)
            fields |= {f"{name}:{topic}:{partition}": value for (topic, partition), value in values.items()}
        return fields


def load(redis: Any) -> Remembered:
    """The journal in Redis; empty when there is none."""
    remembered = Remembered({}, {}, {}, -1)
    ticked = -1
    for raw, value in redis.hgetall(KEY).items():
        name, _, place = raw.decode().partition(":")
        if name == "tick":
            ticked = int(value)
            continue
        topic, _, partition = place.rpartition(":")
        getattr(remembered, name)[topic, int(partition)] = int(value)
    return remembered._replace(ticked=ticked)


class Recalled(NamedTuple):
    """What is on the log already though its records will be read again: events, refusals, ticks."""

    repeats: Repeats
    refused: set[tuple[str, int, int]]
    ticks: set[tuple[int, int]]


def recall(bus: Bus, wrote: Mapping[Place, int], places: Iterable[Place]) -> Recalled:
    """Read what the log holds behind `wrote`, at most the newest `RECALLED` records of each place."""
    recalled = Recalled(Repeats(), set(), set())
    for place in places:
        topic, partition = place
        after = max(wrote.get(place, -1), bus.last(topic, partition) - RECALLED)
        for record in tail(bus, place, after):
            if topic == BEHAVIOUR:
                event = decode(record.value)
                if isinstance(event, Event):
                    recalled.repeats.is_new(event.type, event.id)
                else:
                    recalled.ticks.add((partition, event.time))
            elif topic == DEAD_LETTERS:
                try:
                    letter = dead_letters.decode(record.value)
                except msgspec.DecodeError:
                    continue
                recalled.refused.add((letter.topic, letter.partition, letter.position))
    return recalled
