"""What can be seen from outside while a run goes on: the topics as they grow, and what Redis holds."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from events import dead_letters
from events.bus import Record
from events.codec import BadEvent, decode, parse_cloudevent
from events.envelope import DECISION, Event, Tick
from events.topics import BEHAVIOUR, DEAD_LETTERS, DECISIONS, PUSH_COMMANDS, TRIGGERS
from features.feast_store import FIELDS, feast_key, join_parts
from features.state import State
from kairos.dst.bus import SimulatedBus
from kairos.dst.life import Undisturbed
from kairos.dst.outside import Outside
from kairos.dst.processes import PARTITIONS, SETTINGS
from kairos.dst.retold import Retold
from kairos.dst.stall import stall
from kairos.dst.world import World
from models.record import DecisionRecord, unpack
from stream.bus_source import Place
from stream.feedback import decision_event

FAR: Final = 1 << 50
"""No instant of a run is in its future."""

NOTHING: Final[Mapping[bytes, bytes]] = {}


class Witness:
    """Reads each record once, as it comes; `fresh` are those of this step.

    `retold` tells each partition's log plainly, `decisions` are the records on the bus, each once.
    """

    def __init__(self, world: World, outside: Outside) -> None:
        self.world, self.outside = world, outside
        self.bus = SimulatedBus(world.topics, Undisturbed(lambda: 0.0, lambda _: None))
        self.log: list[list[tuple[Record, Event | Tick]]] = [[] for _ in range(PARTITIONS)]
        self.retold = [Retold(stall().plan, partition) for partition in range(PARTITIONS)]
        self.decisions: dict[str, DecisionRecord] = {}
        self.events: dict[tuple[str, str], list[Record]] = defaultdict(list)
        self.delivered: Counter[tuple[str, str]] = Counter()
        self.letters: dict[tuple[str, int, int], list[Record]] = defaultdict(list)
        self.refused: set[tuple[str, str]] = set()
        self.triggers: dict[str, list[Record]] = defaultdict(list)
        self.pushes: dict[str, list[Record]] = defaultdict(list)
        self.fresh: list[Record] = []
        self._read: dict[Place, int] = {}
        self._version = -1
        self._ticks: list[dict[int, int]] = [{} for _ in range(PARTITIONS)]

    def look(self) -> None:
        """Read what has come since the last look."""
        self.fresh = []
        version = self.world.topics.version
        if version == self._version:
            return
        self._version = version
        for topic, partitions in self.world.topics.partitions.items():
            for number, held in enumerate(partitions):
                seen = self._read.get((topic, number), -1)
                if held.last > seen:
                    new = self.world.topics.records(topic, number, seen)
                    self._read[topic, number] = held.last
                    self.fresh += new
                    for record in new:
                        self._note(record)

    def tick(self, partition: int, time: int) -> int | None:
        """The position of the first tick of that time (ms); None when the log has none."""
        return self._ticks[partition].get(time)

    def ticks(self, partition: int) -> Mapping[int, int]:
        """The position of each tick, by its time (ms)."""
        return self._ticks[partition]

    def touched(self, *keys: str) -> bool:
        """Whether something may have been written to one of these keys of Redis since the last look."""
        return any(key.encode() in self.world.redis.keys.touched for key in keys)

    def hash(self, key: str) -> Mapping[bytes, bytes]:
        """A hash of Redis."""
        found: Mapping[bytes, bytes] | None = self.world.redis.keys.held(key.encode(), dict)
        return NOTHING if found is None else found

    def text(self, key: str) -> bytes | None:
        """A value of Redis."""
        found: bytes | None = self.world.redis.keys.held(key.encode(), bytes)
        return found

    def blob(self, customer: str) -> bytes | None:
        """A customer's state as Redis holds it."""
        held: dict[bytes, bytes] = (
            self.world.redis.keys.held(feast_key(SETTINGS.project, customer), dict) or {}
        )
        return join_parts([held.get(field) for field in FIELDS])

    def read_many(self, customers: Sequence[str]) -> list[bytes | None]:
        """See `features.store.StateStore`."""
        return list(map(self.blob, customers))

    def state(self, customer: str) -> State | None:
        """The same, opened."""
        blob = self.blob(customer)
        return None if blob is None else State(blob)

    def _note(self, record: Record) -> None:
        if record.topic == BEHAVIOUR:
            item = decode(record.value)
            self.log[record.partition].append((record, item))
            self.retold[record.partition].hear(item, record.position)
            if isinstance(item, Event):
                self.events[item.type, item.id].append(record)
            else:
                self._ticks[record.partition].setdefault(item.time, record.position)
        elif record.topic == DEAD_LETTERS:
            letter = dead_letters.decode(record.value)
            self.letters[letter.topic, letter.partition, letter.position].append(record)
            original = Record(letter.topic, letter.partition, letter.position, b"", letter.original)
            if letter.topic != BEHAVIOUR and (known := identity_of(original)) is not None:
                self.refused.add(known)
        elif record.topic == TRIGGERS:
            event: dict[str, Any] = orjson.loads(record.value)
            self.triggers[str(event["id"])].append(record)
        elif record.topic == PUSH_COMMANDS:
            self.pushes[str(orjson.loads(record.value)["instance"])].append(record)
        elif (known := identity_of(record)) is not None:
            self.delivered[known] += 1
            if record.topic == DECISIONS and known[1] not in self.decisions:
                self.decisions[known[1]] = unpack(record.value)


def identity_of(record: Record) -> tuple[str, str] | None:
    """Type and id of the event that a source's record is, None when it is none."""
    try:
        if record.topic == DECISIONS:
            return DECISION, decision_event(record.value, FAR).id
        event = parse_cloudevent(record.value)
    except BadEvent:
        return None
    kind = stall().playbook.contracts.types.get(event.type)
    named = None if kind is None or kind.id_field is None else event.data.get(kind.id_field)
    return event.type, event.id if named is None else str(named)
