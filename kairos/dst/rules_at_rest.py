"""What must hold once all is well again and everything has come to rest."""

from collections.abc import Iterator
from math import isnan
from typing import Final, cast

import orjson

from events.counters import counters_key
from events.envelope import DECISION, OUTCOME, Event
from events.topics import BEHAVIOUR
from features.everybody import fold_records
from features.everybody_store import FIELDS as KEPT_FIELDS
from features.everybody_store import everybody_key, kept_of
from features.feast_store import RedisStateStore, wakes_key
from features.fold import empty, settled
from features.full_row import full_features
from features.log import LogReader
from features.row import row
from features.state import State
from kairos.dst.processes import PARTITIONS
from kairos.dst.rules_each_step import lost
from kairos.dst.stall import stall
from kairos.dst.witness import Witness
from kairos.relearn import relearn
from kairos.verify import parity
from models.online import online_key, unpack
from models.record import unpack as unpack_record
from serving.push import PLACEMENT as PUSH
from serving.push_place import read_trigger

LATENESS_MS: Final = 60_000
"""Of the stall's playbook."""

ROWS: Final = 8
"""So many served rows of a run are computed again, which is dear."""


def taken_in(witness: Witness) -> Iterator[str]:
    """Every acknowledged event is on the log, or among the dead letters."""
    for topic in witness.world.topics.partitions:
        if topic in stall().playbook.contracts.topics:
            for partition in range(PARTITIONS):
                for record in witness.world.topics.records(topic, partition):
                    if what := lost(witness, record):
                        yield what


def refused_once(witness: Witness) -> Iterator[str]:
    """A message is refused once."""
    for place, letters in witness.letters.items():
        if len(letters) > 1 and place[0] != BEHAVIOUR:
            yield f"{'/'.join(map(str, place))} has {len(letters)} dead letters"


def told_by_the_log(witness: Witness) -> Iterator[str]:
    """States and triggers are what the plain fold of the log says, and who waits is known to be woken."""
    expected: set[str] = set()
    for partition, retold in enumerate(witness.retold):
        waiting = witness.world.redis.keys.ranked(wakes_key(partition).encode())
        for customer, story in sorted(retold.stories.items()):
            expected.update(story.fired)
            blob, state = witness.blob(customer), story.pages[-1].state
            if blob != state:
                held = "none" if blob is None else f"one of {len(blob)} bytes"
                yield f"{customer}: expected a state of {len(state)} bytes, found {held} that differs"
            at = waiting.get(customer.encode())
            if story.due is not None and (at is None or at > story.due):
                yield f"{customer} waits for {story.due}, Redis knows of {at}"
    for instance in sorted(expected - witness.triggers.keys()):
        yield f"{instance} did not fire"
    for instance in sorted(witness.triggers.keys() - expected):
        yield f"{instance} fired, and the log says nothing of it"


def counted_once(witness: Witness) -> Iterator[str]:
    """An event counts once in its customer's state, however often it stands on the log."""
    plan, at = stall().plan, witness.world.wall_ms()
    place = [feature.name for feature in plan.customer_features].index("spend_sum_5m")
    for log in witness.log:
        newest: dict[str, int] = {}
        paid: dict[str, dict[str, int]] = {}
        for _, item in log:
            if not isinstance(item, Event) or item.type not in plan.programs:
                continue
            if item.time >= at or item.time < newest.get(item.customer, -1) - LATENESS_MS:
                continue
            newest[item.customer] = max(newest.get(item.customer, -1), item.time)
            if item.type == "bought":
                paid.setdefault(item.customer, {}).setdefault(item.id, int(item.fields["amount"]))
        for customer, once in paid.items():
            state = witness.state(customer)
            found = 0.0 if state is None else float(row(plan, state, at, at)[place])
            if abs(found - sum(once.values()) / 10_000) > 0.001:
                yield f"{customer} has paid {sum(once.values()) / 10_000}, the state says {found}"


def decisions_kept(witness: Witness) -> Iterator[str]:
    """Every decision that was pushed has its record, and every one that was answered is on the log.

    What is pushed after intake was stopped is on its way to the log.
    """
    pushed = {orjson.loads(each.value)["decision_id"] for some in witness.pushes.values() for each in some}
    answered = {orjson.loads(body)["decision_id"] for body in witness.outside.answers.values()}
    for decision in sorted(answered | pushed):
        if decision not in witness.decisions:
            yield f"{decision} has no record"
        elif decision in answered and not witness.events[DECISION, decision]:
            yield f"{decision} is not on the log"


def triggers_decided(witness: Witness) -> Iterator[str]:
    """Every trigger that fired was decided on, but for those that the push door counts as behind."""
    decided = {record.request_id for record in witness.decisions.values()}
    counted = witness.hash(counters_key("push"))
    fired = {
        instance
        for instance, records in witness.triggers.items()
        if any(read_trigger(record.value) is not None for record in records)
    }
    left = sorted(fired - decided)
    if len(left) > (behind := int(counted.get(b"behind", b"0"))):
        yield f"{' '.join(left)}: nothing was decided, and {behind} are counted as behind"


def outcomes_kept(witness: Witness) -> Iterator[str]:
    """Every outcome that was acknowledged is on the log."""
    logged = {
        (item.fields["decision_id"], item.fields["offer"])
        for log in witness.log
        for _, item in log
        if isinstance(item, Event) and item.type == OUTCOME
    }
    for decision, offer in sorted(set(witness.outside.outcomes) - logged):
        yield f"an outcome of {decision} for {offer} was acknowledged and is not on the log"


def taught_once(witness: Witness) -> Iterator[str]:
    """The models are what the log teaches, each outcome once."""
    for name, expected in relearn(witness.bus, stall().catalogue).items():
        packed = witness.text(online_key(name))
        found = b"" if packed is None else unpack(packed).bytes
        if found != expected:
            yield f"{name}: expected a model of {len(expected)} bytes, found another of {len(found)}"


def outcomes_once(witness: Witness) -> Iterator[str]:
    """What was learned is one example for each offer of each decision, however often it came."""
    packed = witness.text(online_key("feed"))
    model = None if packed is None else unpack(packed)
    learned_to = -1 if model is None else model.learned_to
    placement = stall().catalogue.placements["feed"]
    offers: dict[str, dict[str, int | None]] = {}
    spans: dict[str, tuple[int, int]] = {}
    told: list[Event] = []
    for partition, log in enumerate(witness.log):
        end = witness.tick(partition, learned_to)
        for _, item in log[:end]:
            if not isinstance(item, Event):
                continue
            if item.type == DECISION and item.id not in offers and item.fields["placement"] == "feed":
                decided = unpack_record(item.fields["record"])
                offers[item.id] = dict.fromkeys(decided.offers)
                spans[item.id] = item.time, placement.closes(item.time, stall().catalogue.zone)
            elif item.type == OUTCOME:
                told.append(item)
    for item in told:
        decision, offer = item.fields["decision_id"], item.fields["offer"]
        if decision in offers and offer in offers[decision]:
            opens, closes = spans[decision]
            if opens <= item.time < closes:
                before = offers[decision][offer]
                offers[decision][offer] = item.time if before is None else min(before, item.time)
    expected = sum(
        spans[decision][1] <= learned_to or (time is not None and time < learned_to)
        for decision, each in offers.items()
        for time in each.values()
    )
    found = 0 if model is None else model.n
    if found != expected:
        yield f"the log has {expected} examples, the model has learned {found}"


def decided_is_sent(witness: Witness) -> Iterator[str]:
    """A push that was decided is sent."""
    for record in witness.decisions.values():
        if record.placement == PUSH and record.offers and record.request_id not in witness.pushes:
            yield f"{record.request_id} was decided and never sent"


def everybody_told(witness: Witness) -> Iterator[str]:
    """What is counted over everybody is what the log says, each event once."""
    crowd = stall().plan.crowd
    assert crowd is not None, "the stall counts over everybody"
    for partition, log in enumerate(witness.log):
        values, positions = [record.value for record, _ in log], [record.position for record, _ in log]
        expected = fold_records(LogReader(crowd), empty(crowd).blob, values, partition, positions)
        found = witness.hash(everybody_key(partition)).get(b"state")
        if found is None or settled(crowd, State(found)).blob != settled(crowd, State(expected)).blob:
            yield f"partition {partition}: the counts of everybody differ from those of its log"


def rows_told(witness: Witness) -> Iterator[str]:
    """A row is what the log says of the time before its instant: it holds no event at or after it."""
    paid = [feature.name for feature in full_features(stall().plan)].index("spend_count_5m")
    # Before anything was folded all of a row is missing, and says nothing that could be wrong.
    records = [each for each in witness.decisions.values() if not isnan(each.features()[paid])]
    kept = [
        kept_of([witness.hash(everybody_key(partition)).get(field.encode()) for field in KEPT_FIELDS])
        for partition in range(PARTITIONS)
    ]
    records = witness.world.random.sample(records, min(len(records), ROWS))
    store = cast(RedisStateStore, witness)  # of which no state is asked here
    found = parity(witness.bus, store, stall().plan, stall().catalogue, records, states=0, kept=kept)
    if found.mismatches:
        yield f"{found.mismatches} of {found.rows} rows differ in {', '.join(sorted(found.features))}"
