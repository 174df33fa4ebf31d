"""What each record of topic `behaviour` does: fold a customer's state, fire triggers, wake at ticks."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple, Protocol

import numpy as np

from events.bus import Message, Record
from events.codec import BadEvent, render_cloudevent, render_time
from events.dead_letters import dead_letter
from events.envelope import SUPERSEDED, TRIGGER
from events.identity import partition_of
from events.topics import TRIGGERS
from features.attributes_asked import LookUp
from features.batch import batch_of
from features.checking import check_states
from features.fold import FATES, Fate, FoldedParts, State, empty, fold_parts
from features.given import Attributes
from features.kernel.folding import BEHIND, FOLDED, LATE
from features.kernel.log import IRRELEVANT as NO_CONCERN
from features.log import Log, LogReader, Piece
from features.plan import Plan
from features.state import parts_of, with_memory
from features.triggers import Fired, due_of, next_wake, overflowed, told, wake_all
from stream.counters import Counters
from stream.everybody import EverybodyKeeper
from stream.letters import Teller, letter_message
from stream.state_cache import UNREAD, Entry, StateCache, newest_of
from stream.taps import Poll
from stream.wall import MACHINE, Clock

SOURCE: Final = "kairos/behaviour"


class StateReader(Protocol):
    """What is asked of the store while a micro-batch is worked on.

    `rewritten` are the customers of the last read whose bytes are not those that the store has.
    """

    @property
    def rewritten(self) -> Collection[str]:
        """See above."""
        ...

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
    states: dict[str, Entry]
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
        look_up: LookUp | None = None,
        quiet: Callable[[], Mapping[str, int]] = dict,
        machine: Clock = MACHINE,
    ) -> None:
        self._machine = machine
        self._plan = plan
        self._look_up = look_up
        self._quiet = quiet
        self._everybody = everybody
        self._store = store
        self._partitions = partitions
        self._cache = cache
        self._counters = counters
        self._watermarks = dict(watermarks)
        self._tell = Teller()
        self._effects = Effects([], {}, {}, {})
        self._reader = LogReader(plan)
        self._empty = empty(plan).recent
        # Without triggers that wait, no tick ever wakes anybody.
        self._waits = plan.triggers.waits

    def process(self, polls: Sequence[Poll]) -> Effects:
        """What `polls` come to; the caller makes it durable before it calls again."""
        self._effects = Effects([], {}, {}, {})
        records = [record for poll in polls for record in poll.records]
        log = self._reader.read([record.value for record in records])
        if self._everybody is not None:
            self._everybody.take(records)
        self._partitions_of = np.array([record.partition for record in records], dtype=np.int64)
        self._positions_of = np.array([record.position for record in records], dtype=np.int64)
        done = 0
        for row in log.ticks():
            if self._waits:
                # Wake-ups come between the events before the tick and those behind it.
                self._fold(log, records, done, row)
                done = row
                self._wake(records[row], int(log.times[row]))
            else:
                self._pass(records[row], int(log.times[row]))
            if self._everybody is not None:
                self._everybody.reach(records[row].partition, int(log.times[row]))
        self._fold(log, records, done, len(records))
        self._cache.shrink()
        self._counters.add("states_written", len(self._effects.states))
        self._counters.set("cached", len(self._cache))
        return self._effects

    def _fold(self, log: Log, records: Sequence[Record], start: int, end: int) -> None:
        """Fold rows of the log in one compiled pass, then fire what its events fire, in log order."""
        kinds = log.kinds[start:end]
        irrelevant = int(np.count_nonzero(kinds == NO_CONCERN))
        self._counters.add(Fate.IRRELEVANT.name.lower(), irrelevant)
        rows = start + np.flatnonzero(kinds >= 0)
        if not len(rows):
            return
        piece = Piece(log, rows)
        entries = self._fetch(piece.customers)
        before = [entry.recent for entry in entries]
        attributes = self._attributes_of(piece)
        batch = batch_of(
            self._plan,
            piece,
            *(piece.owners, len(entries), self._partitions_of[rows], self._positions_of[rows]),
            attributes,
        )
        folded = fold_parts(self._plan, before, [entry.settled for entry in entries], batch, len(piece))
        self._cache.replace(entries, folded.recents, folded.settled)
        counts = np.bincount(folded.fates, minlength=len(FATES)).tolist()
        for number, fate in FATES.items():
            self._counters.add(fate.name.lower(), counts[number])
        behind = folded.fates == BEHIND
        for place in np.flatnonzero(behind).tolist() if counts[BEHIND] else ():
            # A crash may have come between the state and its wake-up: say the wake-up again.
            whose = int(piece.owners[place])
            wakes = self._wakes(records[rows[place]].partition)
            wakes[piece.customers[whose]] = next_wake(self._plan, _opened(entries[whose]))
        touched = np.zeros(len(entries), dtype=bool)
        touched[piece.owners[~behind]] = True
        if touched.all():
            self._effects.states.update(zip(piece.customers, entries, strict=True))
        else:
            for whose in np.flatnonzero(touched).tolist():
                self._effects.states[piece.customers[whose]] = entries[whose]
        if folded.hits:
            self._fire_hits(piece, folded, entries, attributes)
        if self._waits:
            self._note_wakes(piece, records, folded, entries)
        if counts[LATE]:
            self._late_ones(piece, records, folded, before)

    def _fire_hits(
        self, piece: Piece, folded: FoldedParts, entries: Sequence[Entry], attributes: Attributes
    ) -> None:
        """Make messages of what the events did to triggers, and keep what these remember, customer by
        customer."""
        hits = folded.hits.every()
        fired: list[tuple[int, Fired]] = []
        changed = []
        for whose, mine in groupby(hits, key=lambda hit: int(piece.owners[hit.event])):
            some, entry = list(mine), entries[whose]
            ones, memory = told(self._plan, _opened(entry).memory, some, piece.__getitem__, attributes)
            fired += ones
            if memory is not None:
                changed.append((entry, with_memory(entry.recent, memory)))
        # In the order of the log, whatever the batches.
        self._fire(one for _, one in sorted(fired, key=itemgetter(0)))
        if given_up := overflowed(hits):
            self._counters.add("wakes_overflowed", given_up)
        self._cache.replace([entry for entry, _ in changed], [recent for _, recent in changed])

    def _note_wakes(
        self, piece: Piece, records: Sequence[Record], folded: FoldedParts, entries: Sequence[Entry]
    ) -> None:
        """Say when customers are to be looked at next, if that is sooner than Redis knows.

        A look that has become needless is not taken back: it finds nothing, and says when the next one is.
        """
        partitions = self._partitions_of[piece.rows]
        first = np.full(len(entries), -1, dtype=np.int64)
        first[piece.owners[::-1]] = partitions[::-1]
        for whose in np.flatnonzero(folded.dues >= 0).tolist():
            entry = entries[whose]
            if entry.wake is UNREAD:
                entry.wake = None  # what Redis knows is not known here: say it again
            due = due_of(folded, whose, entry.wake)
            if due is not None and (entry.wake is None or due < entry.wake):
                entry.wake = due
                self._wakes(int(first[whose]))[piece.customers[whose]] = due

    def _late_ones(
        self, piece: Piece, records: Sequence[Record], folded: FoldedParts, before: Sequence[bytes]
    ) -> None:
        """Dead letters for events that came too late, which say how late."""
        late = folded.fates == LATE
        told_of = np.zeros(len(before), dtype=bool)
        told_of[piece.owners[late]] = True
        newest = {whose: newest_of(before[whose]) for whose in np.flatnonzero(told_of).tolist()}
        # Of these customers every event counts, as it may be their newest.
        for place in np.flatnonzero(told_of[piece.owners] & (late | (folded.fates == FOLDED))).tolist():
            row, whose = int(piece.rows[place]), int(piece.owners[place])
            time = int(piece.log.times[row])
            if late[place]:
                self._late(records[row], time, newest[whose])
            else:
                newest[whose] = max(newest[whose], time)

    def _attributes_of(self, piece: Piece) -> Attributes:
        if not self._plan.triggers.attributes:
            return {}
        whose = [piece.customers[owner] for owner in piece.owners.tolist()]
        return self._known(whose, piece.log.times[piece.rows].tolist())

    def _known(self, customers: Sequence[str], instants: Sequence[int]) -> Attributes:
        """What batch tables knew of customers at instants (ms), as far as conditions of triggers ask."""
        if not self._plan.triggers.attributes or self._look_up is None:
            return {}
        return self._look_up(customers, instants)

    def _fetch(self, customers: Sequence[str]) -> list[Entry]:
        """The entries of `customers`, by one read of those that are not cached."""
        found = self._cache.use(customers)
        missing = [who for who, entry in zip(customers, found, strict=True) if entry is None]
        self._counters.add("cache_hits", len(customers) - len(missing))
        if missing:
            self._counters.add("cache_misses", len(missing))
            blobs = self._store.read_many(missing)
            check_states(self._plan, [blob for blob in blobs if blob is not None])
            entries = list(map(self._entry, blobs))
            for customer, entry in zip(missing, entries, strict=True):
                self._cache.put(customer, entry)
                entry.changed = customer in self._store.rewritten
            read = iter(entries)
            found = [next(read) if entry is None else entry for entry in found]
        return found  # type: ignore[return-value]

    def _entry(self, blob: bytes | None) -> Entry:
        """What was read of a customer, checked; None for one nobody knows."""
        if blob is None:
            return Entry(self._empty, b"", None)
        return Entry(*parts_of(blob), UNREAD)

    def _wake(self, record: Record, time: int) -> None:
        partition = record.partition
        if time <= self._watermarks.get(partition, -1):
            self._counters.add("ticks")
            return
        waiting = self._effects.wakes.get(partition, {})
        due = {customer for customer in self._store.due(partition, time) if customer not in waiting}
        due.update(customer for customer, at in waiting.items() if at is not None and at <= time)
        customers = sorted(due)
        known = self._known(customers, [time] * len(customers))
        entries = self._fetch(customers)
        before = [_opened(entry).applied.get(partition, -1) < record.position for entry in entries]
        for customer, entry, yet in zip(customers, entries, before, strict=True):
            # Else it is done already, further on in the log.
            at = None if yet else next_wake(self._plan, _opened(entry))
            if not yet and (at is None or at > time):
                entry.wake = self._wakes(partition)[customer] = at
        places = [place for place, yet in enumerate(before) if yet]
        self._look(
            *(partition, time, [customers[n] for n in places], [entries[n] for n in places]),
            {name: [values[n] for n in places] for name, values in known.items()},
        )
        self._pass(record, time)

    def _look(
        self, partition: int, time: int, customers: Sequence[str], entries: Sequence[Entry], known: Attributes
    ) -> None:
        """Look at all of these customers at once."""
        if not customers:
            return
        recents, settled = [entry.recent for entry in entries], [entry.settled for entry in entries]
        woken = wake_all(self._plan, customers, recents, settled, time, known)
        self._fire(woken.fired)
        changed = [n for n, recent in enumerate(woken.recents) if recent != recents[n]]
        self._cache.replace([entries[n] for n in changed], [woken.recents[n] for n in changed])
        self._effects.states.update((customers[n], entries[n]) for n in changed)
        for customer, entry, due in zip(customers, entries, woken.dues, strict=True):
            entry.wake = self._wakes(partition)[customer] = due

    def _pass(self, record: Record, time: int) -> None:
        """Everything before `time` has been read and folded."""
        self._counters.add("ticks")
        if time > self._watermarks.get(record.partition, -1):
            self._watermarks[record.partition] = self._effects.watermarks[record.partition] = time

    def _wakes(self, partition: int) -> dict[str, int | None]:
        return self._effects.wakes.setdefault(partition, {})

    def _fire(self, fired: Iterable[Fired]) -> None:
        quiet = self._quiet()
        for one in fired:
            if quiet and one.time < quiet.get(one.trigger, 0):
                self._counters.add("triggers_warming")  # what it reads is missing, so it cannot know
                continue
            self._effects.messages.append(trigger_message(one, self._partitions))
            self._counters.add("triggers_fired")
            self._counters.add(f"triggers_fired.{one.trigger}")

    def _late(self, record: Record, time: int, newest: int) -> None:
        expected = f"an instant within the playbook's lateness of {render_time(newest)}"
        bad = BadEvent("late", "time", expected, render_time(time))
        letter = dead_letter(record, bad, self._machine.wall_ms())
        self._effects.messages.append(letter_message(letter))
        self._counters.add("dead_letters")
        self._counters.add("dead_letters.late")
        self._tell.refused(letter)


def _opened(entry: Entry) -> State:
    state = State.__new__(State)
    state.become(entry.recent, entry.settled)
    return state


def trigger_message(fired: Fired, partitions: int) -> Message:
    """A fired trigger as a CloudEvent `kairos.trigger`; its id is the instance, however often it comes."""
    if fired.superseded_by is not None:
        return _superseded_message(fired, partitions)
    data = {
        "trigger": fired.trigger,
        "customer": fired.customer,
        "time": render_time(fired.time),
        "cause": fired.cause,
        "payload": fired.payload,
    }
    value = render_cloudevent(TRIGGER, fired.instance, SOURCE, data, fired.time)
    return Message(TRIGGERS, partition_of(fired.customer, partitions), fired.customer.encode(), value)


def _superseded_message(fired: Fired, partitions: int) -> Message:
    """That a late event has overtaken a firing: nothing is taken back, but the record says so."""
    data = {
        "trigger": fired.trigger,
        "customer": fired.customer,
        "time": render_time(fired.time),
        "cause": fired.cause,
        "instance": fired.instance,
        "superseded_by": fired.superseded_by,
    }
    value = render_cloudevent(SUPERSEDED, f"{fired.instance}.superseded", SOURCE, data, fired.time)
    return Message(TRIGGERS, partition_of(fired.customer, partitions), fired.customer.encode(), value)
