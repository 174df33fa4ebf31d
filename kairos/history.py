"""What the log `behaviour` says of some customers, told again from its beginning."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from events import topics
from events.bus import Bus, Record
from events.codec import decode
from events.envelope import DECISION, Event, Tick
from events.identity import partition_of
from features.attribute_past import AttributePast
from features.fold import encode
from features.plan import Plan
from features.retelling import END, Retelling, Ticks
from features.spine import Placed

CHUNK: Final = 5_000


def everything(bus: Bus, topic: str, partitions: Iterable[int] | None = None) -> Iterator[Record]:
    """Every record on a topic, or on some of its partitions, one after the other, up to what is there now."""
    for partition in range(bus.partitions(topic)) if partitions is None else partitions:
        end, position = bus.last(topic, partition), bus.first(topic, partition) - 1
        reader = bus.reader(topic, partition, position)
        while position < end:
            for record in reader.read(CHUNK, 200):
                position = record.position
                yield record
        reader.close()


def placed(bus: Bus) -> Iterator[Placed]:
    """Every record of the log with its partition and position, as `features.spine.fold_spine` reads it."""
    for record in everything(bus, topics.BEHAVIOUR):
        yield record.partition, record.position, decode(record.value)


@dataclass(frozen=True)
class History:
    """What the log says of some customers: their events, and every tick, in log order."""

    events: Mapping[str, Sequence[tuple[int, Event]]]
    ticks: Mapping[int, Ticks]
    partitions: int

    @classmethod
    def of(cls, bus: Bus, customers: Collection[str]) -> "History":
        """Read the whole log once and keep what concerns `customers`."""
        events: dict[str, list[tuple[int, Event]]] = defaultdict(list)
        ticks: dict[int, Ticks] = defaultdict(Ticks)
        keys = {customer.encode() for customer in customers}
        for record in everything(bus, topics.BEHAVIOUR):
            if record.key in keys:
                item = decode(record.value)
                assert isinstance(item, Event)
                events[item.customer].append((record.position, item))
            elif isinstance(tick := _tick(record), Tick):
                ticks[record.partition].note(record.position, tick.time)
        return cls(events, ticks, bus.partitions(topics.BEHAVIOUR))

    def place_of(self, customer: str, decision: str) -> int:
        """Where the log holds the decision of that id; behind all of it if it does not."""
        events = self.events.get(customer, ())
        mine = (place for place, event in events if event.id == decision and event.type == DECISION)
        return next(mine, END)

    def passed(
        self,
        plan: Plan,
        customer: str,
        events: Sequence[tuple[int, Event]],
        cuts: Iterable[int],
        past: AttributePast | None = None,
    ) -> dict[int, list[tuple[int, bytes]]]:
        """The states that these of the customer's events lead to, for each position up to and with which they
        are folded: that of the last of them, and one after each look until the next; each with the position
        from which on it stood.
        """
        telling = self._telling(plan, customer, past)
        passed, done = {}, 0
        for cut in sorted(cuts):
            end = bisect_right(events, cut, key=itemgetter(0))
            telling.read(events[done:end])
            done = end
            following = events[end][0] if end < len(events) else END
            passed[cut] = [(cut, encode(plan, telling.state))]
            passed[cut] += [(tick, encode(plan, telling.state)) for tick in telling.looks(following)]
        return passed

    def state(self, plan: Plan, customer: str, past: AttributePast | None = None) -> bytes:
        """The customer's state at the end of the log, wake-ups at its ticks included, as its bytes.

        Triggers are told of attributes what `past` says; without it no batch table was ever loaded.
        """
        telling = self._telling(plan, customer, past)
        telling.read(self.events.get(customer, ()))
        for _ in telling.looks():
            pass
        return encode(plan, telling.state)

    def _telling(self, plan: Plan, customer: str, past: AttributePast | None) -> Retelling:
        partition = partition_of(customer, self.partitions)
        return Retelling(plan, customer, partition, self.ticks.get(partition, Ticks()), past)


def _tick(record: Record) -> Event | Tick | None:
    # Ticks are few and carry no customer; only what may be one is decoded.
    return decode(record.value) if len(record.value) < 32 else None
