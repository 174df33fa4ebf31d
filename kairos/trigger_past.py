"""The very fold of the stream over a past, many customers at once, with states kept in memory.

Who waits for the clock is looked at just before its next event: other ticks change nothing that fires.
"""

import heapq
from collections.abc import Collection, Iterator, Mapping, Sequence
from math import inf
from types import SimpleNamespace
from typing import Final

from events.bus import Record
from events.codec import decode
from events.envelope import Event
from events.topics import BEHAVIOUR
from features.attributes_asked import look_up_in
from features.plan import Plan
from features.retelling import soonest
from kairos.trigger_log import PastLog, is_tick
from stream.behaviour_fold import BehaviourFold, Effects
from stream.counters import Counters
from stream.state_cache import StateCache
from stream.taps import Poll

TOGETHER: Final = 20_000
"""Records folded in one pass at most."""


def fold_past(plan: Plan, log: PastLog) -> Iterator[tuple[list[tuple[Record, int]], Effects]]:
    """Fold the past as the stream does; events with their times (ms), and what they come to."""
    for partition in range(log.partitions):
        store = _Memory()
        fold = BehaviourFold(
            *(plan, store, log.partitions, StateCache(1 << 62)),
            Counters(SimpleNamespace(hgetall=lambda key: {}), ""),
            {},
            look_up=look_up_in(log.past, plan),
        )
        for records, events in _pieces(plan, log.read(partition), store):
            effects = fold.process([Poll(BEHAVIOUR, partition, records, None)])
            store.note(effects.wakes.get(partition, {}))
            yield events, effects


def _pieces(
    plan: Plan, records: Iterator[Record], store: "_Memory"
) -> Iterator[tuple[list[Record], list[tuple[Record, int]]]]:
    """Records to fold together, and the events among them.

    Who may have waited for the clock is looked at before its next event: a piece ends there, with the newest
    tick. Until then nothing of its own has happened, so a later tick finds what an earlier one would have.
    """
    earliest = soonest(plan)
    piece: list[Record] = []
    events: list[tuple[Record, int]] = []
    due: dict[bytes, float] = {}
    newest: dict[bytes, int] = {}
    clock: tuple[Record, int] | None = None
    for record in records:
        tick = is_tick(record)
        if tick is not None:
            clock = record, tick.time
            continue
        item = decode(record.value)
        if not isinstance(item, Event):
            continue
        key = record.key
        if clock is not None and newest.get(key, clock[0].position) < clock[0].position:
            if min(due.get(key, inf), store.wakes.get(item.customer, inf)) <= clock[1]:
                yield [*piece, clock[0]], events
                piece, events, due, clock = [], [], {}, None
        elif len(piece) >= TOGETHER:
            yield piece, events
            piece, events, due = [], [], {}
        piece.append(record)
        events.append((record, item.time))
        newest[key] = record.position
        wait = earliest.get(item.type)
        if wait is not None and item.time + wait < due.get(key, inf):
            due[key] = item.time + wait
    yield ([*piece, clock[0]] if clock is not None else piece), events


class _Memory:
    """What Redis is to the fold, for a past in which nobody was known before: only wake-ups are kept."""

    rewritten: Collection[str] = ()

    def __init__(self) -> None:
        self.wakes: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []
        self._asked: list[tuple[int, str]] = []

    def read_many(self, customers: Sequence[str]) -> list[bytes | None]:
        """Nobody is known that the cache does not hold, as it lets go of nothing."""
        return [None] * len(customers)

    def due(self, partition: int, before_ms: int) -> list[str]:
        """Whoever is to be looked at by then."""
        while self._heap and self._heap[0][0] <= before_ms:
            at, customer = heapq.heappop(self._heap)
            if self.wakes.get(customer) == at:
                self._asked.append((at, customer))
        return [customer for _, customer in self._asked]

    def note(self, wakes: Mapping[str, int | None]) -> None:
        """Keep when customers are to be looked at next."""
        for asked in self._asked:
            if asked[1] not in wakes:  # it has read further than the tick: a later one is its own
                heapq.heappush(self._heap, asked)
        self._asked = []
        for customer, at in wakes.items():
            if at is None:
                self.wakes.pop(customer, None)
            else:
                self.wakes[customer] = at
                heapq.heappush(self._heap, (at, customer))
