"""What must hold after any run, recomputed from the log alone by the plainest possible reading of it."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
import orjson
import redis

from events import topics
from events.bus import Bus
from events.envelope import Event
from experiments.audit import Leak, audit
from features.attribute_past import AttributePast
from features.attribute_store import RedisAttributeStore
from features.convert import convert, digest_of
from features.everybody import Cut
from features.everybody_past import EverybodyPast
from features.everybody_store import Kept, read_kept, seen_at, warming_of
from features.feast_store import RedisStateStore
from features.fold import decode as unpack_state
from features.full_row import full_features, full_row
from features.plan import Plan
from features.row import cross
from features.state import State
from features.storage import storage_of
from features.warming import EMPTY as NO_PLANS
from features.warming import Mask, mask_of
from features.warming import Record as Plans
from kairos.history import History, everything, placed
from kairos.settings import Settings
from models.catalogue import Catalogue
from models.record import DecisionRecord

IN_FLIGHT_MS = 60_000
"""What happened so shortly before a decision may have been on its way to the state."""


def everybody_past(bus: Bus, plan: Plan, kept: Sequence[Kept] = ()) -> EverybodyPast:
    """What everybody had done at any moment, from the whole log; `kept` says what of it is warming."""
    if plan.crowd is None:
        return EverybodyPast(plan, ())
    log = ((part, place, item) for part, place, item in placed(bus) if isinstance(item, Event))
    return EverybodyPast(plan, log, warming_of(plan, kept))


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
    possible = _possible(plan, history, past, ours)
    for record, states_of in zip(ours, possible, strict=True):
        compared.update([*plain, *(crossed if len(record.places()) else [])])
        sides = (plan, catalogue, past, mask, everybody, record)
        leaks = (_leak(*sides, unpack_state(plan, blob)) for _, blob in states_of)
        leak = next(leaks)
        if leak is None or any(later is None for later in leaks):
            behind += leak is not None or states_of[0][0] > 0
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
    past: AttributePast,
    mask: Mask,
    everyone: EverybodyPast,
    record: DecisionRecord,
    state: State,
) -> Leak | None:
    """What the served row has that a state has not; None when they are the same."""
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


def _possible(
    plan: Plan, history: History, past: AttributePast, served: Sequence[DecisionRecord]
) -> list[list[tuple[int, bytes]]]:
    """The states that each decision may have been made from, each with how many events it had yet to read.

    Only of events before its instant, and before it on the log; the most likely one first.
    """
    tried: list[tuple[DecisionRecord, list[tuple[int, Event]], Sequence[int]]] = []
    cuts: dict[str, set[int]] = defaultdict(set)
    whole: dict[str, list[tuple[int, Event]]] = {}
    for record in served:
        who, place = record.customer, history.place_of(record.customer, record.decision_id)
        if who not in whole:
            whole[who] = [each for each in history.events.get(who, ()) if each[1].type in plan.programs]
        known = [each for each in whole[who] if each[0] < place and each[1].time < record.at]
        unread = _unread(known, record)
        tried.append((record, known, unread))
        cuts[who].update(_cut(known, n) for n in unread)
    passed = {who: history.passed(plan, who, whole[who], mine, past) for who, mine in cuts.items()}
    possible = []
    for record, known, unread in tried:
        who, place = record.customer, history.place_of(record.customer, record.decision_id)
        ours = passed[who]
        if known != whole[who][: len(known)]:  # what came later, or too early, lies in between
            ours = history.passed(plan, who, known, {_cut(known, n) for n in unread}, past)
        states = [(n, at, blob) for n in unread for at, blob in reversed(ours[_cut(known, n)])]
        possible.append([(n, blob) for n, at, blob in states if at < place])
    return possible


def _cut(known: Sequence[tuple[int, Event]], unread: int) -> int:
    """The position of the last event but the `unread` last; -1 before the first."""
    return known[-1 - unread][0] if unread < len(known) else -1


def _unread(known: Sequence[tuple[int, Event]], record: DecisionRecord) -> Sequence[int]:
    """How many events were on the log and not in the state yet when the decision was made; what it may be."""
    if record.folded is not None:
        return [sum(position > record.folded for position, _ in known)]
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
