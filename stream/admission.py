"""What each record that a domain publishes becomes: an event of a known customer, or a dead letter."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from events.bus import Message, Record
from events.codec import (
    BadEvent,
    CloudEvent,
    encode,
    mark_before,
    parse_cloudevent,
    render_time,
    shown,
)
from events.contract import Contracts, Raw
from events.dead_letters import dead_letter
from events.envelope import MARK, OUTCOME, Event, Tick
from events.identity import partition_of
from events.topics import BEHAVIOUR, DECISIONS, OUTCOMES
from events.typed import Columns, Typed
from stream.clock import SourceClock
from stream.counters import Counters
from stream.feedback import MAX_FUTURE_MS, decision_event, outcome_event
from stream.intake_journal import Recalled
from stream.letters import Teller, letter_message
from stream.repeats import Repeats
from stream.taps import Poll
from stream.waiting import Resolver, Waiting

LARGEST_ORIGINAL: Final = 20_000_000
"""A dead letter keeps its original whole up to here; in base64 the bus must still take it."""


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
        self._waiting = Waiting(resolver, partitions)
        self._out: list[Message] = []
        self._now = 0

    def process(self, polls: Sequence[Poll], now: int) -> list[Message]:
        """What to publish for `polls`; `now` is the wall clock (ms), held still where it runs back."""
        if now < self._now:
            # Set back by an hour it would refuse an hour of good events as coming from the future.
            self._counters.add("clock_backwards")
            now = self._now
        self._now = now
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
        times = columns.times[start:end]
        self._count_behind(times)
        return max(times)

    def _one(self, take: Callable[[Record, int], Event | Raw | None], record: Record, now: int) -> int:
        """Take one record in, or refuse it; returns its event's time, -1 when it is none."""
        try:
            taken = take(record, now)
            if taken is None:
                return -1
            self._count_behind([taken.time])
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

    def _count_behind(self, times: Sequence[int]) -> None:
        """Count the events that are older than the log's clock, whoever's clock was wrong."""
        if min(times) < self._clock.ticked:
            self._counters.add("behind_clock", sum(time < self._clock.ticked for time in times))

    def _domain(self, record: Record, now: int) -> Raw | None:
        event = parse_cloudevent(record.value)
        if event.type == MARK:
            self._mark(record, event, now)
            return None
        return self._contracts.validate(event, now, MAX_FUTURE_MS)

    def _outcome(self, record: Record, now: int) -> Event | None:
        event = parse_cloudevent(record.value)
        if event.type == MARK:
            self._mark(record, event, now)
            return None
        if event.type != OUTCOME:
            raise BadEvent("unknown_type", "type", f"{OUTCOME} or {MARK}", shown(event.type))
        return outcome_event(event, now)

    def _decision(self, record: Record, now: int) -> Event | None:
        if record.value[:1] == b"{":  # no MessagePack array begins like that
            event = parse_cloudevent(record.value)
            if event.type != MARK:
                raise BadEvent("unknown_type", "type", f"a decision record or {MARK}", shown(event.type))
            self._mark(record, event, now)
            return None
        return decision_event(record.value, now)

    def _mark(self, record: Record, event: CloudEvent, now: int) -> None:
        before, latest = mark_before(event), now + MAX_FUTURE_MS
        if before > latest:  # time on the log never goes back: this one would make all that follows late
            found = render_time(before)
            raise BadEvent("future", "data.before", f"an instant up to {render_time(latest)}", found)
        if not self._clock.mark((record.topic, record.partition), before):
            self._counters.add("marks_backwards")
        self._counters.add("marks")
        self._tick()

    def _settle(self) -> None:
        """Publish what waits for its customer, in the order read."""
        messages = self._waiting.settle()
        self._out += messages
        self._counters.add("events", len(messages))

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
