"""What each record of topic `behaviour` does: fold a customer's state, fire triggers, wake at ticks."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np

from events.bus import Message, Record
from events.codec import BadEvent, decode, render_cloudevent, render_time
from events.dead_letters import dead_letter
from events.envelope import TRIGGER, Event, Tick
from events.identity import partition_of
from events.topics import TRIGGERS
from features.fold import FATES, IRRELEVANT, State, empty, fold_batch
from features.fold import decode as decode_state
from features.kernel.folding import BEHIND, FOLDED, LATE
from features.plan import Plan
from features.triggers import Fired, advance, next_wake, wake
from stream.counters import Counters
from stream.everybody import EverybodyKeeper
from stream.letters import Teller, letter_message
from stream.state_cache import Entry, StateCache
from stream.taps import Poll
from stream.wall import wall_ms

SOURCE: Final = "kairos/behaviour"


class StateReader(Protocol):
    """What is asked of the store while a micro-batch is worked on."""

    def read_many(self, customers: Sequence[str]) -> list[bytes | None]:
        """See `features.store.StateStore`."""
        ...

    def due(self, partition: int, before_ms: int) -> list[str]:
        """See `features.store.StateStore`."""
        ...


class Effects(NamedTuple):
    """What a micro-batch comes to, in the order in which it must become durable.

    Messages first (a trigger that fired), then the states that will not fire it again, then the
    wake-ups that those states hold, then each partition's watermark (ms), which says that it is done.
    """

    messages: list[Message]
    states: dict[str, State]
    wakes: dict[int, dict[str, int | None]]
    watermarks: dict[int, int]


class BehaviourFold:
    """Folds micro-batches in log order, however the log is cut into them.

    A record at or below a state's `applied` does nothing, so a log read again after a crash ends in
    the same states. Customers are woken at ticks, in the order of their wake-ups; a tick that a
    state has already seen past, or that the written watermark has reached, wakes nobody.
    """

    def __init__(
        self,
        plan: Plan,
        store: StateReader,
        partitions: int,
        cache: StateCache,
        counters: Counters,
        watermarks: Mapping[int, int],
        everybody: EverybodyKeeper | None = None,
    ) -> None:
        self._plan = plan
        self._everybody = everybody
        self._store = store
        self._partitions = partitions
        self._cache = cache
        self._counters = counters
        self._watermarks = dict(watermarks)
        self._tell = Teller()
        self._effects = Effects([], {}, {}, {})
        self._touched: dict[str, tuple[Entry, int]] = {}
        # Without triggers that wait, no tick ever wakes anybody.
        self._waits = bool(plan.triggers.ends)

    def process(self, polls: Sequence[Poll]) -> Effects:
        """What `polls` come to; the caller makes it durable before it calls again."""
        self._effects = Effects([], {}, {}, {})
        self._touched = {}
        records: list[Record] = []
        events: list[Event] = []
        for record in [record for poll in polls for record in poll.records]:
            item = decode(record.value)
            if type(item) is Event:
                records.append(record)
                events.append(item)
            else:
                assert type(item) is Tick, "nothing else is on the log"
                if self._everybody is not None:
                    self._everybody.reach(record.partition, item.time)
                if self._waits:
                    # Wake-ups come between the events before the tick and those behind it.
                    self._fold(records, events)
                    records, events = [], []
                    self._wake(record, item.time)
                else:
                    self._pass(record, item.time)
        self._fold(records, events)
        self._note_touched()
        self._cache.shrink()
        self._counters.add("states_written", len(self._effects.states))
        self._counters.set("cached", len(self._cache))
        return self._effects

    def _fold(self, records: Sequence[Record], events: Sequence[Event]) -> None:
        """Fold a piece of the log in one compiled pass, then fire what its events fire, in log order."""
        if not events:
            return
        if self._everybody is not None:
            self._everybody.take(records, events)
        owner: dict[str, int] = {}
        owners = [owner.setdefault(event.customer, len(owner)) for event in events]
        customers = list(owner)
        self._fetch(customers)
        entries = [entry for customer in customers if (entry := self._cache.get(customer)) is not None]
        folded = fold_batch(
            self._plan,
            [entry.state.seal() for entry in entries],
            events,
            owners,
            [record.partition for record in records],
            [record.position for record in records],
        )
        newest = [entry.state.newest for entry in entries]
        for customer, entry, blob in zip(customers, entries, folded.blobs, strict=True):
            entry.state.become(blob)
            self._cache.resize(customer, len(blob))
        counts = np.bincount(folded.fates, minlength=len(FATES)).tolist()
        for number, fate in FATES.items():
            self._counters.add(fate.name.lower(), counts[number])
        fates = folded.fates.tolist()
        concerned = self._plan.triggers.events
        for place, (event, whose, fate) in enumerate(zip(events, owners, fates, strict=True)):
            if fate == IRRELEVANT:
                continue
            entry = entries[whose]
            if fate == BEHIND:
                # A crash may have come between the state and its wake-up: say the wake-up again.
                self._wakes(records[place].partition)[event.customer] = next_wake(entry.state)
                continue
            self._touched[event.customer] = entry, records[place].partition
            if fate == LATE:
                self._late(records[place], event, newest[whose])
            elif fate == FOLDED:
                newest[whose] = max(newest[whose], event.time)
                if event.type in concerned:
                    row = folded.probe_rows[place]
                    values = folded.probes[row].tolist() if row >= 0 else ()
                    if fired := advance(self._plan, entry.state, event, newest[whose], values):
                        self._fire(fired)

    def _fetch(self, customers: Iterable[str]) -> None:
        """Make sure that the states of `customers` are cached, by one read of those that are not."""
        customers = list(customers)
        missing = self._cache.missing(customers)
        self._counters.add("cache_hits", len(customers) - len(missing))
        if not missing:
            return
        self._counters.add("cache_misses", len(missing))
        for customer, blob in zip(missing, self._store.read_many(missing), strict=True):
            if blob is None:
                entry = Entry(empty(self._plan), None)
            else:
                state = decode_state(self._plan, blob)
                entry = Entry(state, next_wake(state), len(blob))
            self._cache.put(customer, entry)

    def _wake(self, record: Record, time: int) -> None:
        partition = record.partition
        if time <= self._watermarks.get(partition, -1):
            self._counters.add("ticks")
            return
        self._note_touched()
        waiting = self._effects.wakes.get(partition, {})
        due = {customer for customer in self._store.due(partition, time) if customer not in waiting}
        due.update(customer for customer, at in waiting.items() if at is not None and at <= time)
        self._fetch(due)
        for customer in sorted(due):
            entry = self._cache.get(customer)
            assert entry is not None, "fetched above"
            at = next_wake(entry.state)
            if at is None or at > time:
                self._wakes(partition)[customer] = at  # what Redis said was old
            elif entry.state.applied.get(partition, -1) < record.position:
                if fired := wake(self._plan, entry.state, time):
                    self._fire(fired)
                self._touched[customer] = entry, partition
        self._note_touched()
        self._pass(record, time)

    def _pass(self, record: Record, time: int) -> None:
        """Everything before `time` has been read and folded."""
        self._counters.add("ticks")
        if time > self._watermarks.get(record.partition, -1):
            self._watermarks[record.partition] = self._effects.watermarks[record.partition] = time

    def _wakes(self, partition: int) -> dict[str, int | None]:
        return self._effects.wakes.setdefault(partition, {})

    def _note_touched(self) -> None:
        """Note the states that were touched, and those of their wake-ups that Redis does not know."""
        for customer, (entry, partition) in self._touched.items():
            self._effects.states[customer] = entry.state
            at = next_wake(entry.state)
            if at != entry.wake:
                entry.wake = at
                self._wakes(partition)[customer] = at
        self._touched.clear()

    def _fire(self, fired: Iterable[Fired]) -> None:
        for one in fired:
            self._effects.messages.append(trigger_message(one, self._partitions))
            self._counters.add("triggers_fired")
            self._counters.add(f"triggers_fired.{one.trigger}")

    def _late(self, record: Record, event: Event, newest: int) -> None:
        expected = f"an instant within the playbook's lateness of {render_time(newest)}"
        bad = BadEvent("late", "time", expected, render_time(event.time))
        letter = dead_letter(record, bad, wall_ms())
        self._effects.messages.append(letter_message(letter))
        self._counters.add("dead_letters")
        self._counters.add("dead_letters.late")
        self._tell.refused(letter)


def trigger_message(fired: Fired, partitions: int) -> Message:
    """A fired trigger as a CloudEvent `kairos.trigger`; its id is the instance, however often it comes."""
    data = {
        "trigger": fired.trigger,
        "customer": fired.customer,
        "time": render_time(fired.time),
        "cause": fired.cause,
        "payload": fired.payload,
    }
    value = render_cloudevent(TRIGGER, fired.instance, SOURCE, data, fired.time)
    return Message(TRIGGERS, partition_of(fired.customer, partitions), fired.customer.encode(), value)
