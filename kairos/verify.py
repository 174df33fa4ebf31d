"""What must hold after any run, recomputed from the log alone by the plainest possible reading of it."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from events import topics
from events.bus import Bus, Record
from events.codec import decode
from events.envelope import Event, Tick
from events.identity import partition_of
from experiments.audit import Leak, audit
from features.feast_store import RedisStateStore
from features.fold import Fate, empty, encode, fold
from features.fold import decode as unpack_state
from features.plan import Plan
from features.row import cross, row
from features.state import State
from features.triggers import advance, next_wake, wake
from kairos.settings import Settings
from models.catalogue import Catalogue
from models.record import DecisionRecord

CHUNK = 5_000


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


@dataclass(frozen=True)
class History:
    """What the log `behaviour` says of some customers: their events, and every tick, in log order."""

    events: Mapping[str, Sequence[tuple[Record, Event]]]
    ticks: Mapping[int, Sequence[tuple[int, int]]]
    partitions: int

    @classmethod
    def of(cls, bus: Bus, customers: Collection[str]) -> "History":
        """Read the whole log once and keep what concerns `customers`."""
        events: dict[str, list[tuple[Record, Event]]] = defaultdict(list)
        ticks: dict[int, list[tuple[int, int]]] = defaultdict(list)
        keys = {customer.encode() for customer in customers}
        for record in everything(bus, topics.BEHAVIOUR):
            if record.key in keys:
                item = decode(record.value)
                assert isinstance(item, Event)
                events[item.customer].append((record, item))
            elif isinstance(tick := _tick(record), Tick):
                ticks[record.partition].append((record.position, tick.time))
        return cls(events, ticks, bus.partitions(topics.BEHAVIOUR))

    def before(self, plan: Plan, customer: str, instant: int) -> State:
        """The customer's state from nothing but events before `instant`."""
        state = empty(plan)
        for record, event in self.events.get(customer, ()):
            if event.time < instant:
                fold(plan, state, event, record.partition, record.position)
        return state

    def state(self, plan: Plan, customer: str) -> bytes:
        """The customer's state at the end of the log, wake-ups at its ticks included, as its bytes."""
        state = empty(plan)
        partition = partition_of(customer, self.partitions)
        steps: list[tuple[int, Event | int]] = [
            (record.position, event) for record, event in self.events.get(customer, ())
        ]
        steps += self.ticks.get(partition, ())
        for position, step in sorted(steps, key=lambda pair: pair[0]):
            if isinstance(step, int):
                at = next_wake(state)
                if at is not None and at <= step:
                    wake(plan, state, step)
            elif fold(plan, state, step, partition, position) is Fate.FOLDED:
                advance(plan, state, step)
        return encode(plan, state)


def _tick(record: Record) -> Event | Tick | None:
    # Ticks are few and carry no customer; only what may be one is decoded.
    return decode(record.value) if len(record.value) < 32 else None


@dataclass(frozen=True)
class Parity:
    """Served rows and stored states against those recomputed from the log."""

    rows: int
    mismatches: int
    states: int
    states_differing: int
    features: Mapping[str, int]


def parity(
    bus: Bus,
    store: RedisStateStore,
    plan: Plan,
    catalogue: Catalogue,
    served: Sequence[DecisionRecord],
    states: int = 100,
    strict: bool = False,
) -> Parity:
    """Recompute given served rows from the log cut before their moments, and `states` states to their bytes.

    `mismatches` counts rows in which any value differs, `features` names those values.
    Errors: with `strict` the first row that differs raises `experiments.audit.Leak`.
    """
    customers = sorted({record.customer for record in served})
    history = History.of(bus, customers)
    names = [f.name for f in (*plan.customer_features, *plan.cross_features)]
    wrong: Counter[str] = Counter()
    mismatches = 0
    for record in served:
        state = history.before(plan, record.customer, record.at)
        assortment = catalogue.assortment(record.placement)
        places = record.places()
        ours = row(plan, state, record.at, record.at)
        crossed = cross(plan, state, record.at, assortment.keys_of(places), record.at)
        count = len(places)
        served_rows = np.hstack([np.tile(record.features(), (count, 1)), record.cross_part()])
        try:
            audit(names, served_rows, np.hstack([np.tile(ours, (count, 1)), crossed]))
        except Leak as leak:
            if strict:
                raise
            mismatches += 1
            wrong.update(leak.features.keys())
    chosen = np.random.default_rng(0).permutation(customers)[:states].tolist()
    stored = store.read_many(chosen)
    differing = sum(
        blob != history.state(plan, customer) for customer, blob in zip(chosen, stored, strict=True)
    )
    return Parity(len(served), mismatches, len(chosen), differing, dict(wrong))


def repeated_pushes(bus: Bus) -> int:
    """How many push commands answer a trigger that another command has answered already."""
    answered = Counter(
        orjson.loads(record.value)["instance"] for record in everything(bus, topics.PUSH_COMMANDS)
    )
    return sum(count - 1 for count in answered.values())


def feast_differs(settings: Settings, plan: Plan, customers: Sequence[str], at: int) -> int:
    """How many customers' rows at `at` (ms), read through Feast's SDK, differ from the row serving reads."""
    from features.feast_objects import FeastDoor  # five seconds: only who asks for it pays

    door = FeastDoor(plan, project=settings.project, redis_url=settings.redis, run_dir=settings.run_dir)
    door.apply()
    store = RedisStateStore(settings.redis, settings.project)
    ours = [
        row(plan, None if blob is None else unpack_state(plan, blob), at, at)
        for blob in store.read_many(customers)
    ]
    theirs = door.online_rows(customers, at, at)
    return sum(not np.array_equal(a, b, equal_nan=True) for a, b in zip(ours, theirs, strict=True))
