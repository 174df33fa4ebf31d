"""What must hold after any run, recomputed from the log alone by the plainest possible reading of it."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
import orjson
import redis

from events import topics
from events.bus import Bus, Record
from events.codec import decode
from events.envelope import DECISION, Event, Tick
from events.identity import partition_of
from experiments.audit import Leak, audit
from features.attribute import Plain
from features.attribute_past import AttributePast
from features.attribute_store import RedisAttributeStore
from features.attributes_asked import AskedAttributes
from features.convert import convert, digest_of
from features.everybody import Cut
from features.everybody_past import EverybodyPast
from features.everybody_store import Kept, read_kept, seen_at, warming_of
from features.feast_store import RedisStateStore
from features.fold import decode as unpack_state
from features.fold import empty, encode, fold_log
from features.full_row import full_features, full_row
from features.plan import Plan
from features.row import cross
from features.state import State
from features.storage import storage_of
from features.triggers import act, next_wake, wake
from features.warming import EMPTY as NO_PLANS
from features.warming import Mask, mask_of
from features.warming import Record as Plans
from kairos.settings import Settings
from models.catalogue import Catalogue
from models.record import DecisionRecord

CHUNK = 5_000

IN_FLIGHT_MS = 60_000
"""What happened so shortly before a decision may have been on its way to the state."""


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

    def before(self, plan: Plan, customer: str, instant: int, unread: int = 0, decision: str = "") -> State:
        """The customer's state from nothing but events before `instant`.

        Where the log holds the `decision` of that id: from events before it there, but the `unread` last.
        """
        known = self.known(customer, instant, decision)
        state = empty(plan)
        known = known[: len(known) - unread]
        if known:
            positions = [record.position for record, _ in known]
            fold_log(plan, state, [event for _, event in known], known[0][0].partition, positions)
        return state

    def known(self, customer: str, instant: int, decision: str) -> list[tuple[Record, Event]]:
        """The customer's events before `instant`, and before the `decision` if the log holds it."""
        known = []
        for record, event in self.events.get(customer, ()):
            if event.id == decision and event.type == DECISION:
                break
            if event.time < instant:
                known.append((record, event))
        return known

    def state(self, plan: Plan, customer: str, past: AttributePast | None = None) -> bytes:
        """The customer's state at the end of the log, wake-ups at its ticks included, as its bytes.

        Triggers are told of attributes what `past` says; without it no batch table was ever loaded.
        """
        asked = AskedAttributes(plan)
        past = past or AttributePast.none(plan)

        def known(instants: Sequence[int]) -> dict[str, list[Plain | None]]:
            if not asked.names:
                return {}
            rows = [asked.at(asked.of_all(past.held(customer, at)), at) for at in instants]
            return dict(zip(asked.names, map(list, zip(*rows, strict=True)), strict=True))

        def fold(events: Sequence[Event], positions: Sequence[int]) -> None:
            act(plan, state, events, partition, positions, known([event.time for event in events]))

        state = empty(plan)
        partition = partition_of(customer, self.partitions)
        steps: list[tuple[int, Event | int]] = [
            (record.position, event) for record, event in self.events.get(customer, ())
        ]
        steps += self.ticks.get(partition, ())
        events: list[Event] = []
        positions: list[int] = []
        for position, step in sorted(steps, key=lambda pair: pair[0]):
            if not isinstance(step, int):
                events.append(step)
                positions.append(position)
            elif plan.triggers.waits:
                if events:
                    fold(events, positions)
                    events, positions = [], []
                at = next_wake(plan, state)
                if at is not None and at <= step:
                    told = {name: value for name, (value,) in known([step]).items()}
                    wake(plan, state, step, told, customer)
        if events:
            fold(events, positions)
        return encode(plan, state)


def everybody_past(bus: Bus, plan: Plan, kept: Sequence[Kept] = ()) -> EverybodyPast:
    """What everybody had done at any moment, from the whole log; `kept` says what of it is warming."""
    if plan.crowd is None:
        return EverybodyPast(plan, ())
    placed = (
        (record.partition, record.position, item)
        for record in everything(bus, topics.BEHAVIOUR)
        if isinstance(item := decode(record.value), Event)
    )
    return EverybodyPast(plan, placed, warming_of(plan, kept))


def _tick(record: Record) -> Event | Tick | None:
    # Ticks are few and carry no customer; only what may be one is decoded.
    return decode(record.value) if len(record.value) < 32 else None


@dataclass(frozen=True)
class Parity:
    """Served rows and stored states against those recomputed from the log.

    `mismatches` counts rows with any value that differs; `compared` and `features` how often each feature was
    compared, and how often it differed. `behind` rows are those of a state into which events before the
    decision were not folded yet: right up to the position that the record names or, where it names none, but
    for events of the last minute. `skipped` were served under another plan or catalogue.
    """

    rows: int
    mismatches: int
    states: int
    states_differing: int
    features: Mapping[str, int]
    compared: Mapping[str, int]
    behind: int
    skipped: int


def parity(
    bus: Bus,
    store: RedisStateStore,
    plan: Plan,
    catalogue: Catalogue,
    served: Sequence[DecisionRecord],
    states: int = 100,
    strict: bool = False,
    past: AttributePast | None = None,
    plans: Plans = NO_PLANS,
    kept: Sequence[Kept] = (),
) -> Parity:
    """Recompute given served rows from the log cut before their moments, and `states` states to their bytes.

    Attributes come from `past`; without it no batch table was ever loaded. `plans` says what was warming, so
    missing, and what states of other plans hold; `kept` says the same of what is counted over everybody.
    Errors: with `strict` the first row that differs raises `experiments.audit.Leak`.
    """
    customers = sorted({record.customer for record in served})
    history = History.of(bus, customers)
    past = past or AttributePast.none(plan)
    everybody = everybody_past(bus, plan, kept)
    mask = mask_of(plan, plans, history.partitions)
    wrong: Counter[str] = Counter()
    compared: Counter[str] = Counter()
    mismatches = behind = 0
    ours = [each for each in served if (each.plan, each.catalogue) == (plan.digest, catalogue.version)]
    # In the order of the log, so that everybody's counts are folded once.
    ours.sort(key=lambda each: sum((each.everybody or ())[2:]))
    plain, crossed = ([f.name for f in part] for part in (full_features(plan), plan.cross_features))
    for record in ours:
        compared.update([*plain, *(crossed if len(record.places()) else [])])
        unread = _unread(history, record)
        sides = (plan, catalogue, history, past, mask, everybody, record)
        leak = _leak(*sides, unread[0])
        if leak is None:
            behind += unread[0] > 0
            continue
        if any(_leak(*sides, n) is None for n in unread[1:]):
            behind += 1
            continue
        if strict:
            raise leak
        mismatches += 1
        wrong.update(leak.features.keys())
    chosen = np.random.default_rng(0).permutation(customers)[:states].tolist()
    stored = store.read_many(chosen)
    differing = sum(
        _warm(plan, plans, blob) != _warm(plan, plans, history.state(plan, customer, past))
        for customer, blob in zip(chosen, stored, strict=True)
    )
    return Parity(
        *(len(ours), mismatches, len(chosen), differing, dict(wrong), dict(compared)),
        *(behind, len(served) - len(ours)),
    )


def _leak(
    plan: Plan,
    catalogue: Catalogue,
    history: History,
    past: AttributePast,
    mask: Mask,
    everyone: EverybodyPast,
    record: DecisionRecord,
    unread: int = 0,
) -> Leak | None:
    """What the served row has that the log before it has not; None when they are the same."""
    state = history.before(plan, record.customer, record.at, unread, record.decision_id)
    places = record.places()
    every = catalogue.assortment(record.placement).keys
    keys = {match: [each[place] for place in places.tolist()] for match, each in every.items()}
    count = max(len(places), 1)
    held = past.held(record.customer, record.at)
    everybody = None if record.everybody is None else everyone.served(Cut.of(record.everybody))
    row = mask.on_row(full_row(plan, state, held, record.at, record.at, everybody), record.at)
    ours = np.tile(row, (count, 1))
    theirs = np.tile(record.features(), (count, 1))
    names = [feature.name for feature in full_features(plan)]
    if len(places):
        crossed = cross(plan, state, record.at, keys, record.at, everybody)
        crossed = mask.on_cross(crossed, record.at)
        names += [feature.name for feature in plan.cross_features]
        ours, theirs = np.hstack([ours, crossed]), np.hstack([theirs, record.cross_part()])
    try:
        audit(names, theirs, ours)
    except Leak as leak:
        return leak
    return None


def _warm(plan: Plan, plans: Plans, blob: bytes | None) -> bytes | None:
    """The state without what is warming, as one of our plan; as it stands when nothing is."""
    warming = [key for key in plans.since if key not in plans.known]
    if blob is None or (not warming and digest_of(blob) == plan.digest):
        return blob
    held = plans.storages.get(digest_of(blob), storage_of(plan))
    return convert(held, plan, blob, warming)


def _unread(history: History, record: DecisionRecord) -> Sequence[int]:
    """How many events were on the log and not in the state yet when the decision was made; what it may be."""
    known = history.known(record.customer, record.at, record.decision_id)
    if record.folded is not None:
        return [sum(each.position > record.folded for each, _ in known)]
    recent = takewhile(lambda each: each[1].time >= record.at - IN_FLIGHT_MS, reversed(known))
    return range(sum(1 for _ in recent) + 1)


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
    with redis.Redis.from_url(settings.redis) as client:
        kept = read_kept(client, settings.partitions) if plan.crowd is not None else []
    everybody = seen_at(plan, kept, at)[0] if kept else None
    attributes = RedisAttributeStore(settings.redis, settings.project)
    held = attributes.read_many(plan.playbook.attributes, customers)
    ours = [
        full_row(plan, None if blob is None else unpack_state(plan, blob), each, at, at, everybody)
        for blob, each in zip(store.read_many(customers), held, strict=True)
    ]
    attributes.close()
    theirs = door.online_rows(customers, at, at)
    return sum(not np.array_equal(a, b, equal_nan=True) for a, b in zip(ours, theirs, strict=True))
