"""A bus of one process: what it acknowledged it keeps; what it did not, it may keep, or keep in part."""

from collections.abc import Mapping, Sequence
from typing import Final

from events.bus import MAX_MESSAGE_BYTES, BusUnavailable, Message, PositionLost, Record, UnknownTopic
from kairos.dst.life import Life

ADDRESS: Final = "simulated://bus"


class _Partition:
    """Records from position `first` on."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.first = 0

    @property
    def last(self) -> int:
        return self.first + len(self.records) - 1


class Topics:
    """What the bus holds, whoever is connected."""

    def __init__(self) -> None:
        self.partitions: dict[str, list[_Partition]] = {}
        self.version = 0
        """Counts what was kept."""

    def keep(self, message: Message) -> None:
        """Append one message."""
        partition = self.partitions[message.topic][message.partition]
        position = partition.last + 1
        record = Record(message.topic, message.partition, position, message.key, message.value)
        partition.records.append(record)
        self.version += 1

    def records(self, topic: str, partition: int, after: int = -1) -> Sequence[Record]:
        """The kept records behind a position."""
        held = self.partitions[topic][partition]
        return held.records[max(after + 1 - held.first, 0) :]


class SimulatedBus:
    """The `events.bus.Bus` of one life."""

    def __init__(self, topics: Topics, life: Life, url: str = ADDRESS) -> None:
        self.url = url
        self._topics = topics
        self._life = life

    def ensure(self, topics: Mapping[str, int]) -> None:
        """See `Bus.ensure`."""
        self._reach("ensure topics")
        for topic, wanted in topics.items():
            held = self._topics.partitions.setdefault(topic, [_Partition() for _ in range(wanted)])
            if len(held) != wanted:
                raise ValueError(
                    f"{self.url}: topic {topic}: expected {wanted} partitions, found {len(held)}"
                )

    def partitions(self, topic: str) -> int:
        """See `Bus.partitions`."""
        held = self._topics.partitions.get(topic)
        if held is None:
            raise UnknownTopic(f"{self.url}: no topic {topic!r}; Bus.ensure makes it")
        return len(held)

    def publish(self, messages: Sequence[Message]) -> None:
        """See `Bus.publish`."""
        if not messages:
            return
        for message in messages:
            self._check(message.topic, message.partition)
            if len(message.value) > MAX_MESSAGE_BYTES:
                raise ValueError(
                    f"{self.url}: expected at most {MAX_MESSAGE_BYTES} bytes, found {len(message.value)}"
                )
        places = sorted({f"{message.topic}/{message.partition}" for message in messages})
        self._reach(f"publish {len(messages)} to {' '.join(places)}")
        through = self._life.through(
            "bus", "".join({message.topic: "" for message in messages}), len(messages)
        )
        for message in messages if through is None else messages[:through]:
            self._topics.keep(message)
        if through is not None:
            raise self._unavailable(f"no answer; {through} of {len(messages)} messages are kept")

    def reader(self, topic: str, partition: int, after: int = -1) -> "SimulatedReader":
        """See `Bus.reader`."""
        self._check(topic, partition)
        return SimulatedReader(self, self._topics.partitions[topic][partition], topic, partition, after)

    def last(self, topic: str, partition: int) -> int:
        """See `Bus.last`."""
        self._check(topic, partition)
        self._ask()
        return self._topics.partitions[topic][partition].last

    def first(self, topic: str, partition: int) -> int:
        """See `Bus.first`."""
        self._check(topic, partition)
        self._ask()
        return self._topics.partitions[topic][partition].first

    def trim(self, topic: str, partition: int, below: int) -> None:
        """See `Bus.trim`."""
        self._check(topic, partition)
        self._reach(f"trim {topic}/{partition}")
        held = self._topics.partitions[topic][partition]
        gone = min(max(below - held.first, 0), len(held.records))
        del held.records[:gone]
        held.first += gone

    def close(self) -> None:
        """See `Bus.close`."""

    def _check(self, topic: str, partition: int) -> None:
        count = self.partitions(topic)
        if not 0 <= partition < count:
            raise ValueError(f"{self.url}: {topic}: expected a partition below {count}, found {partition}")

    def _reach(self, what: str) -> None:
        self._life.pause(what)
        self._ask()

    def _ask(self) -> None:
        if why := self._life.away("bus"):
            raise self._unavailable(why)

    def _unavailable(self, why: str) -> BusUnavailable:
        return BusUnavailable(f"{self.url}: expected a bus that takes records, found: {why}")


class SimulatedReader:
    """The `events.bus.Reader` of one partition."""

    def __init__(self, bus: SimulatedBus, held: _Partition, topic: str, partition: int, after: int) -> None:
        self._bus, self._held = bus, held
        self._place = f"{bus.url}: {topic}/{partition}"
        self._what = f"read {topic}/{partition}"
        self._after = after

    def read(self, limit: int, wait_ms: int) -> list[Record]:
        """See `Reader.read`."""
        life, held = self._bus._life, self._held
        ends = life.monotonic() + wait_ms / 1_000
        while True:
            # Nobody can tell when an empty partition was looked at: only what is there counts as a step.
            if held.last > self._after:
                self._bus._reach(self._what)
            else:
                self._bus._ask()
            if held.first > self._after + 1 or held.last < self._after:
                raise PositionLost(self._place, self._after, held.first, held.last)
            start = self._after + 1 - held.first
            records = held.records[start : start + limit]
            if records:
                self._after = records[-1].position
                return records
            left = ends - life.monotonic()
            if left <= 0:
                return []
            life.idle(left, self._has_more)

    def close(self) -> None:
        """See `Reader.close`."""

    def _has_more(self) -> bool:
        return self._held.last > self._after
