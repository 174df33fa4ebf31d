"""What must hold after every step, and what must hold once all is well again and has come to rest.

A register: a rule is told what the `Witness` sees and says what is wrong. Later rules (caps, budgets, merges)
are added by naming them in `EVERY_STEP` or `AT_REST`.
"""

from collections.abc import Callable, Iterator
from math import isnan
from typing import Final, cast

import orjson

from events.bus import Record
from events.codec import decode
from events.envelope import DECISION, OUTCOME, Event
from events.topics import BEHAVIOUR, DECISIONS
from features.everybody import fold_records
from features.everybody_store import FIELDS as KEPT_FIELDS
from features.everybody_store import everybody_key, kept_of
from features.feast_store import WATERMARKS_KEY, RedisStateStore, wakes_key
from features.fold import empty, settled
from features.full_row import full_features
from features.log import LogReader
from features.row import row
from features.state import State
from kairos.dst.broken import Broken
from kairos.dst.parts import PARTITIONS
from kairos.dst.retold import retell
from kairos.dst.stall import stall
from kairos.dst.witness import Witness, identity_of
from kairos.relearn import relearn
from kairos.verify import parity
from models.online import online_key, unpack
from models.record import unpack as unpack_record
from serving.push import PLACEMENT as PUSH
from stream.behaviour import POSITIONS
from stream.intake_journal import KEY as JOURNAL

LATENESS_MS: Final = 60_000
"""Of the stall's playbook."""

ROWS: Final = 8
"""So many served rows of a run are computed again, which is dear."""

Rule = Callable[[Witness], Iterator[str]]


class Invariants:
    """The rules over one run; those of every step look at what the step has changed."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._written = (-1, -1)
        self._every_step = [make(witness) for make in EVERY_STEP]

    def after_step(self) -> None:
        """Look once more, if anything was written. Errors: `Broken`."""
        world = self._witness.world
        written = world.topics.version, world.redis.keys.version
        if written == self._written:
            return
        self._written = written
        self._witness.look()
        for rule in self._every_step:
            rule()

    def at_rest(self) -> None:
        """Look at everything. Errors: `Broken`."""
        for rule in AT_REST:
            for what in rule(self._witness):
                raise Broken(_named(rule), what)


def _named(rule: object) -> str:
    return (getattr(rule, "__doc__", "") or "").strip().splitlines()[0].rstrip(".")


class OnceOnTheLog:
    """A delivery is on the log at most once, whoever crashed.

    A domain that delivers an event again may have it on the log again: intake forgets in a crash what it has
    seen, and the state knows it as a repeat.
    """

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    def __call__(self) -> None:
        """Look at what has changed. Errors: `Broken`."""
        witness = self._witness
        for record in witness.fresh:
            if record.topic == BEHAVIOUR:
                item = decode(record.value)
                if not isinstance(item, Event):
                    continue
                places, times = witness.events[item.type, item.id], witness.delivered[item.type, item.id]
                if len(places) > times:
                    shown = " and ".join(f"{each.partition}/{each.position}" for each in places)
                    raise Broken(
                        _named(self), f"{item.type} {item.id}, delivered {times} times, stands at {shown}"
                    )


class OnePush:
    """One instance of a trigger makes one push."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    def __call__(self) -> None:
        """Look at what has changed. Errors: `Broken`."""
        if not self._witness.fresh:
            return
        for instance, records in self._witness.pushes.items():
            if len(records) > 1:
                raise Broken(_named(self), f"{instance} was pushed {len(records)} times")
            if instance not in self._witness.triggers:
                raise Broken(_named(self), f"{instance} was pushed and never fired")


class JournalTrue:
    """What intake's journal calls read is on the log, or among the dead letters."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._checked: dict[bytes, int] = {}
        self._seen: dict[bytes, bytes] = {}

    def __call__(self) -> None:
        """Look at what has changed. Errors: `Broken`."""
        journal = self._witness.hash(JOURNAL)
        if journal == self._seen:
            return
        self._seen = dict(journal)
        for name, value in journal.items():
            if not name.startswith(b"read:"):
                continue
            position = int(value)
            before = self._checked.get(name, -1)
            if position == before:
                continue
            _, topic, partition = name.decode().split(":")
            self._checked[name] = position
            for record in self._witness.world.topics.records(topic, int(partition), before):
                if record.position > position:
                    break
                if what := _lost(self._witness, record):
                    raise Broken(_named(self), f"read up to {topic}/{partition}/{position}, but {what}")


class PositionsTrue:
    """What a watermark or a saved position covers is in the states."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._checked = [-1] * PARTITIONS
        self._seen: tuple[dict[bytes, bytes], dict[bytes, bytes]] = ({}, {})

    def __call__(self) -> None:
        """Look at what has changed. Errors: `Broken`."""
        witness = self._witness
        marks, places = witness.hash(WATERMARKS_KEY), witness.hash(POSITIONS)
        if (marks, places) == self._seen:
            return
        self._seen = dict(marks), dict(places)
        for partition in range(PARTITIONS):
            field = b"%d" % partition
            claimed = int(places.get(field, b"-1"))
            if (mark := marks.get(field)) is not None:
                tick = witness.tick(partition, int(mark))
                if tick is None:
                    raise Broken(_named(self), f"watermark {int(mark)} of {partition} is of no tick")
                claimed = max(claimed, tick)
            if claimed > self._checked[partition]:
                self._look(partition, self._checked[partition], claimed)
                self._checked[partition] = claimed

    def _look(self, partition: int, after: int, claimed: int) -> None:
        log, programs = self._witness.log[partition], stall().plan.programs
        newest: dict[str, int] = {}
        for record, item in log[after + 1 : claimed + 1]:
            if isinstance(item, Event) and item.type in programs:
                newest[item.customer] = record.position
        for customer, position in newest.items():
            state = self._witness.state(customer)
            held = -1 if state is None else state.applied.get(partition, -1)
            if held < position:
                what = (
                    f"{customer} holds {partition} up to {held}, not {position}, though {claimed} is claimed"
                )
                raise Broken(_named(self), what)


def taken_in(witness: Witness) -> Iterator[str]:
    """Every acknowledged event is on the log, or among the dead letters."""
    for topic in witness.world.topics.partitions:
        if topic in stall().playbook.contracts.topics:
            for partition in range(PARTITIONS):
                for record in witness.world.topics.records(topic, partition):
                    if what := _lost(witness, record):
                        yield what


def refused_once(witness: Witness) -> Iterator[str]:
    """A message is refused once."""
    for place, letters in witness.letters.items():
        if len(letters) > 1 and place[0] != BEHAVIOUR:
            yield f"{'/'.join(map(str, place))} has {len(letters)} dead letters"


def told_by_the_log(witness: Witness) -> Iterator[str]:
    """States and triggers are what the plain fold of the log says, and who waits is known to be woken."""
    expected: set[str] = set()
    for partition, log in enumerate(witness.log):
        waiting = witness.world.redis.keys.ranked(wakes_key(partition).encode())
        for customer, story in retell(stall().plan, log, partition).items():
            expected.update(story.fired)
            blob = witness.blob(customer)
            if blob != story.state:
                held = "none" if blob is None else f"one of {len(blob)} bytes"
                yield f"{customer}: expected a state of {len(story.state)} bytes, found {held} that differs"
            at = waiting.get(customer.encode())
            if story.wake is not None and (at is None or at > story.wake):
                yield f"{customer} waits for {story.wake}, Redis knows of {at}"
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
            if item.time < newest.get(item.customer, -1) - LATENESS_MS:
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
    """Every decision that was answered or pushed has its record, and the log has it once."""
    pushed = {orjson.loads(each.value)["decision_id"] for some in witness.pushes.values() for each in some}
    answered = {orjson.loads(body)["decision_id"] for body in witness.outside.answers.values()}
    for decision in sorted(answered | pushed):
        if not witness.delivered[DECISION, decision]:
            yield f"{decision} has no record"
    for decision in sorted(answered):
        if len(witness.events[DECISION, decision]) < 1:
            yield f"{decision} is not on the log"


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
                offers[decision][offer] = item.time
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
    for partition in range(PARTITIONS):
        for each in witness.world.topics.records(DECISIONS, partition):
            record = unpack_record(each.value)
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
    records = [
        record
        for partition in range(PARTITIONS)
        for each in witness.world.topics.records(DECISIONS, partition)
        # Before anything was folded all of a row is missing, and says nothing that could be wrong.
        if not isnan((record := unpack_record(each.value)).features()[paid])
    ]
    kept = [
        kept_of([witness.hash(everybody_key(partition)).get(field.encode()) for field in KEPT_FIELDS])
        for partition in range(PARTITIONS)
    ]
    records = witness.world.random.sample(records, min(len(records), ROWS))
    store = cast(RedisStateStore, witness)  # of which no state is asked here
    found = parity(witness.bus, store, stall().plan, stall().catalogue, records, states=0, kept=kept)
    if found.mismatches:
        yield f"{found.mismatches} of {found.rows} rows differ in {', '.join(sorted(found.features))}"


def _lost(witness: Witness, record: Record) -> str:
    """What is missing of a domain's record; empty when it was taken in."""
    if (record.topic, record.partition, record.position) in witness.letters:
        return ""
    place = f"{record.topic}/{record.partition}/{record.position}"
    known = identity_of(record)
    if known is None:
        return f"{place} cannot be read and was not refused"
    return (
        ""
        if known in witness.events or known in witness.refused
        else f"{' '.join(known)} at {place} is not there"
    )


EVERY_STEP: Final[tuple[Callable[[Witness], Callable[[], None]], ...]] = (
    OnceOnTheLog,
    OnePush,
    JournalTrue,
    PositionsTrue,
)
AT_REST: Final[tuple[Rule, ...]] = (
    taken_in,
    refused_once,
    counted_once,
    told_by_the_log,
    decisions_kept,
    taught_once,
    outcomes_once,
    decided_is_sent,
    everybody_told,
    rows_told,
)
