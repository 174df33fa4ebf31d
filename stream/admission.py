"""What each record that a domain publishes becomes: an event of a known customer, or a dead letter."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import repeat
from typing import Any, Final, Protocol, cast

import msgspec

from events.bus import Message, Record
from events.codec import BadEvent, CloudEvent, encode, encode_events, mark_before, parse_cloudevent, shown
from events.contract import Contracts, Raw
from events.dead_letters import dead_letter
from events.envelope import MARK, OUTCOME, Event, Tick
from events.identity import Id, partition_of
from events.topics import BEHAVIOUR, DECISIONS, OUTCOMES
from events.typed import Columns, Typed
from stream.clock import SourceClock
from stream.counters import Counters
from stream.feedback import MAX_FUTURE_MS, decision_event, outcome_event
from stream.intake_journal import Recalled
from stream.letters import Teller, letter_message
from stream.repeats import Repeats
from stream.taps import Poll

LARGEST_ORIGINAL: Final = 20_000_000
"""A dead letter keeps its original whole up to here; in base64 the bus must still take it."""

# What Message(...) does, without a call in Python for each.
_message = cast(Callable[[tuple[str, int, bytes, bytes]], Message], partial(tuple.__new__, Message))


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
        self._typed = Typed(contracts)
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
        # One micro-batch: events wait here for their customers, which are asked for together.
        self._waiting = _Waiting()
        self._out: list[Message] = []
        self._places = _Places(partitions)

    def process(self, polls: Sequence[Poll], now: int) -> list[Message]:
        """What to publish for `polls`; `now` is the wall clock (ms)."""
        self._out = []
        for poll in polls:
            take_one = self._take_one.get(poll.topic)
            if take_one is None:
                newest = self._many(poll.records, now)
            else:
                newest = max([self._one(take_one, record, now) for record in poll.records], default=-1)
            self._counters.add("records", len(poll.records))
            self._clock.read((poll.topic, poll.partition), newest, poll.caught_up, now)
        self._settle()
        self._tick()
        return self._out

    def _many(self, records: Sequence[Record], now: int) -> int:
        """Take records of a domain in, in order; returns the newest event's time, -1 when there is none.

        Events that are quite as promised are taken together, what stands between them one by one.
        """
        columns = self._typed.take([record.value for record in records], now + MAX_FUTURE_MS)
        newest, start = -1, 0
        for row in (*columns.left, len(records)):
            if row > start:
                newest = max(newest, self._together(columns, start, row))
            if row < len(records):
                newest = max(newest, self._one(self._domain, records[row], now))
            start = row + 1
        return newest

    def _together(self, columns: Columns, start: int, end: int) -> int:
        """Take the rows from `start` to before `end`."""
        kinds, ids = columns.kinds[start:end], columns.ids[start:end]
        if kinds.count(kinds[0]) == len(kinds) and self._repeats.all_new(kinds[0], ids):
            rows: Sequence[int] = range(start, end)
        else:
            new = map(self._repeats.is_new, kinds, ids)
            rows = [row for row, fresh in zip(range(start, end), new, strict=True) if fresh]
            self._counters.add("repeats", end - start - len(rows))
        self._waiting.add_rows(columns, rows)
        return max(columns.times[start:end])

    def _one(self, take: Callable[[Record, int], Event | Raw | None], record: Record, now: int) -> int:
        """Take one record in, or refuse it; returns its event's time, -1 when it is none."""
        try:
            taken = take(record, now)
            if taken is None:
                return -1
            if not self._repeats.is_new(taken.type, taken.id):
                self._counters.add("repeats")
            elif isinstance(taken, Event):
                self._settle()
                self._put(taken)
            elif taken.link:
                self._settle()
                self._put(_event(taken, self._resolver.link(taken.ids)))
            else:
                self._waiting.add(taken)
        except BadEvent as bad:
            self._refuse(record, bad, now)
            return -1
        return taken.time

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
        waiting = self._waiting
        if not waiting.kinds:
            return
        customers = self._resolver.resolve_many(waiting.owners)
        values = encode_events(waiting.kinds, waiting.ids, waiting.times, customers, waiting.fields)
        places = [self._places[customer[:5]] for customer in customers]
        keys = map(str.encode, customers)
        self._out += map(_message, zip(repeat(BEHAVIOUR), places, keys, values))
        self._counters.add("events", len(values))
        self._waiting = _Waiting()

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


class _Places(dict[str, int]):
    """The partition of a customer by the first five characters of its id, which name its shard."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions

    def __missing__(self, head: str) -> int:
        place = self[head] = partition_of(f"{head}}}", self._partitions)
        return place


class _Waiting:
    """Events of a micro-batch that wait for their customers, as columns."""

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.ids: list[str] = []
        self.times: list[int] = []
        self.owners: list[Id] = []
        self.fields: list[Any] = []

    def add(self, raw: Raw) -> None:
        """Let one event wait."""
        self.kinds.append(raw.type)
        self.ids.append(raw.id)
        self.times.append(raw.time)
        self.owners.append(raw.ids[0])
        self.fields.append(raw.fields)

    def add_rows(self, columns: Columns, rows: Sequence[int]) -> None:
        """Let some rows wait."""
        mine: list[list[Any]] = [self.kinds, self.ids, self.times, self.owners, self.fields]
        for into, column in zip(mine, columns.values, strict=True):
            if isinstance(rows, range):
                into += column[rows.start : rows.stop]
            else:
                into += [column[row] for row in rows]


def _event(raw: Raw, customer: str) -> Event:
    return Event(raw.type, raw.id, raw.time, customer, raw.fields)
