"""What each record that a domain publishes becomes: an event of a known customer, or a dead letter."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from events.bus import Message, Record
from events.codec import BadEvent, CloudEvent, encode, mark_before, parse_cloudevent, shown
from events.contract import Contracts, Raw
from events.dead_letters import dead_letter
from events.envelope import MARK, OUTCOME, Event, Tick
from events.identity import Id, partition_of
from events.topics import BEHAVIOUR, DECISIONS, OUTCOMES
from stream.clock import SourceClock
from stream.counters import Counters
from stream.feedback import MAX_FUTURE_MS, decision_event, outcome_event
from stream.intake_journal import Recalled
from stream.letters import Teller, letter_message
from stream.repeats import Repeats
from stream.taps import Poll

LARGEST_ORIGINAL: Final = 20_000_000
"""A dead letter keeps its original whole up to here; in base64 the bus must still take it."""


class Resolver(Protocol):
    """Who is who: `events.identity.Identities`, or something that answers like it."""

    def resolve_many(self, ids: Sequence[Id]) -> list[str]:
        """The customer of each id, in order."""
        ...

    def link(self, ids: Sequence[Id]) -> str:
        """Make the ids one customer. Errors: `BadEvent` identity_conflict."""
        ...


class Admission:
    """Turns micro-batches of records into the messages to publish, in order.

    A valid event of a resolved customer goes to `behaviour`, in the order read; a bad one to
    `dead-letters` with reason, place and original; a tick to every partition of `behaviour` where
    the sources' least watermark moved on, behind all that was read before. A `link` event counts
    for every event behind it, also in the same batch. What is `recalled` to be on the log already is
    not published again. Errors of the resolver pass through.
    """

    def __init__(
        self,
        contracts: Contracts,
        resolver: Resolver,
        partitions: int,
        clock: SourceClock,
        counters: Counters,
        recalled: Recalled | None = None,
    ) -> None:
        self._contracts = contracts
        self._resolver = resolver
        self._partitions = partitions
        self._clock = clock
        self._counters = counters
        self._repeats, self._refused, self._ticks = recalled or Recalled(Repeats(), set(), set())
        self._tell = Teller()
        self._take_one: dict[str, Callable[[Record, int], Event | Raw | None]] = {
            DECISIONS: self._decision,
            OUTCOMES: self._outcome,
        }
        # One micro-batch: raw events wait here for their customers, which are asked for together.
        self._waiting: list[tuple[Record, Raw]] = []
        self._out: list[Message] = []

    def process(self, polls: Sequence[Poll], now: int) -> list[Message]:
        """What to publish for `polls`; `now` is the wall clock (ms)."""
        self._out = []
        for poll in polls:
            newest = -1
            take_one = self._take_one.get(poll.topic, self._domain)
            for record in poll.records:
                try:
                    taken = take_one(record, now)
                    if taken is None:
                        continue
                    if taken.time > newest:
                        newest = taken.time
                    if not self._repeats.is_new(taken.type, taken.id):
                        self._counters.add("repeats")
                    elif isinstance(taken, Event):
                        self._settle()
                        self._put(taken)
                    elif taken.link:
                        self._settle()
                        self._put(_event(taken, self._resolver.link(taken.ids)))
                    else:
                        self._waiting.append((record, taken))
                except BadEvent as bad:
                    self._refuse(record, bad, now)
            self._counters.add("records", len(poll.records))
            self._clock.read((poll.topic, poll.partition), newest, poll.caught_up, now)
        self._settle()
        self._tick()
        return self._out

    def _domain(self, record: Record, now: int) -> Raw | None:
        event = parse_cloudevent(record.value)
        if event.type == MARK:
            self._mark(record, event)
            return None
        return self._contracts.validate(event, now, MAX_FUTURE_MS)

    def _outcome(self, record: Record, now: int) -> Event | None:
        event = parse_cloudevent(record.value)
        if event.type == MARK:
            self._mark(record, event)
            return None
        if event.type != OUTCOME:
            raise BadEvent("unknown_type", "type", f"{OUTCOME} or {MARK}", shown(event.type))
        return outcome_event(event, now)

    def _decision(self, record: Record, now: int) -> Event | None:
        if record.value[:1] == b"{":  # no MessagePack array begins like that
            event = parse_cloudevent(record.value)
            if event.type != MARK:
                raise BadEvent("unknown_type", "type", f"a decision record or {MARK}", shown(event.type))
            self._mark(record, event)
            return None
        return decision_event(record.value)

    def _mark(self, record: Record, event: CloudEvent) -> None:
        self._clock.mark((record.topic, record.partition), mark_before(event))
        self._counters.add("marks")
        self._tick()

    def _settle(self) -> None:
        """Publish what waits for its customer, in the order read."""
        if not self._waiting:
            return
        customers = self._resolver.resolve_many([raw.ids[0] for _, raw in self._waiting])
        partitions = self._partitions
        for (_, raw), customer in zip(self._waiting, customers, strict=True):
            value = encode(_event(raw, customer))
            self._out.append(Message(BEHAVIOUR, partition_of(customer, partitions), customer.encode(), value))
        self._counters.add("events", len(self._waiting))
        self._waiting = []

    def _put(self, event: Event) -> None:
        partition = partition_of(event.customer, self._partitions)
        self._out.append(Message(BEHAVIOUR, partition, event.customer.encode(), encode(event)))
        self._counters.add("events")

    def _tick(self) -> None:
        time = self._clock.tick()
        if time is None:
            return
        self._settle()
        value = encode(Tick(time))
        self._out += [
            Message(BEHAVIOUR, partition, b"tick", value)
            for partition in range(self._partitions)
            if (partition, time) not in self._ticks
        ]
        self._counters.add("ticks")
        self._counters.set("watermark_ms", time)

    def _refuse(self, record: Record, bad: BadEvent, now: int) -> None:
        place = (record.topic, record.partition, record.position)
        if place in self._refused:  # published before a crash
            self._refused.discard(place)
            return
        letter = dead_letter(record, bad, now)
        if len(record.value) > LARGEST_ORIGINAL:
            letter = msgspec.structs.replace(
                letter,
                found=f"{bad.found}; the first {LARGEST_ORIGINAL} bytes are kept here",
                original=record.value[:LARGEST_ORIGINAL],
            )
        self._out.append(letter_message(letter))
        self._counters.add("dead_letters")
        self._counters.add(f"dead_letters.{bad.reason}")
        self._tell.refused(letter)


def _event(raw: Raw, customer: str) -> Event:
    return Event(raw.type, raw.id, raw.time, customer, raw.fields)
