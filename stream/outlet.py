"""Publishing a micro-batch once, also when the bus goes away in the middle of it."""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Final

from events.bus import Bus, Message, Record
from stream.bus_source import Place
from stream.patience import persist

_A_READ: Final = 5_000
_place: Final = itemgetter(0, 1)


class Outlet:
    """Publishes to topics whose ends it knows, so that what an unanswered publish left there is seen.

    A publish that fails may have been done in part: the records behind the last known ends are then
    read, and only what is not among them is published again. `ends` holds positions at or below
    which everything of ours is accounted for; other writers only make a look at the tail longer.
    """

    def __init__(self, bus: Bus, ends: Mapping[Place, int], stop: threading.Event) -> None:
        self._bus = bus
        self.ends: dict[Place, int] = dict(ends)
        self._stop = stop

    def publish(self, messages: Sequence[Message]) -> None:
        """Return when every message is durable, each once. Errors: `Stopped` while the bus is away."""
        if not messages:
            return
        tried = False

        def attempt() -> None:
            nonlocal tried
            rest = self._missing(messages) if tried else messages
            tried = True
            self._bus.publish(rest)

        persist(attempt, "publishing to the bus", self._stop)
        for place, count in Counter(map(_place, messages)).items():
            self.ends[place] += count

    def _missing(self, messages: Sequence[Message]) -> list[Message]:
        there: Counter[Message] = Counter(
            Message(record.topic, record.partition, record.key, record.value)
            for place in sorted({(message.topic, message.partition) for message in messages})
            for record in tail(self._bus, place, self.ends[place])
        )
        rest = []
        for message in messages:
            if there[message]:
                there[message] -= 1
            else:
                rest.append(message)
        return rest


def tail(bus: Bus, place: Place, after: int) -> Iterator[Record]:
    """The records behind position `after` up to what is the newest now."""
    last = bus.last(*place)
    after = max(after, bus.first(*place) - 1)
    if after >= last:
        return
    reader = bus.reader(*place, after)
    try:
        while after < last:
            for record in reader.read(_A_READ, 200):
                after = record.position
                if after > last:
                    return
                yield record
    finally:
        reader.close()


def ends(bus: Bus, places: Iterable[Place]) -> dict[Place, int]:
    """The newest position of each place."""
    return {place: bus.last(*place) for place in places}
