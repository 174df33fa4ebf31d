"""The very fold of the stream over a past, many customers at once, with states kept in memory.

Ticks at which nobody can be waiting are left out, which changes nothing that fires.
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
from features.plan import Plan
from kairos.trigger_log import PastLog, attributes_at, is_tick
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
            look_up=lambda customers, at: attributes_at(plan, log.past, customers, at),
        )
        for records, events in _pieces(plan, log.read(partition), store):
            effects = fold.process([Poll(BEHAVIOUR, partition, records, None)])
            store.note(effects.wakes.get(partition, {}))
            yield events, effects


def _pieces(
    plan: Plan, records: Iterator[Record], store: "_Memory"
) -> Iterator[tuple[list[Record], list[tuple[Record, int]]]]:
    """Records to fold together, and the events among them: ticks at which somebody may be waiting end one."""
    soonest = _soonest(plan)
    piece: list[Record] = []
    events: list[tuple[Record, int]] = []
    due: float = inf
    last: Record | None = None
    for record in records:
        tick = is_tick(record)
        if tick is None:
            item = decode(record.value)
            if not isinstance(item, Event):
                continue
            piece.append(record)
            events.append((record, item.time))
            wait = soonest.get(item.type)
            if wait is not None and item.time + wait < due:
                due = item.time + wait
        else:
            last = record
            if tick.time < due:
                continue
            piece.append(record)
            last = None
        if tick is not None or len(piece) >= TOGETHER:
            yield piece, events
            piece, events, due = [], [], store.earliest()
    yield [*piece, *([last] if last is not None else [])], events


def _soonest(plan: Plan) -> dict[str, int]:
    """For each type of event how long (ms) after it a wait that it starts is over at the earliest."""
    soonest: dict[str, int] = {}
    for trigger in plan.playbook.triggers:
        if not trigger.waits:
            continue
        length = trigger.unless.within_ms if trigger.unless is not None else trigger.wake_ms or 0
        for event in trigger.on or plan.programs:
            soonest[event] = min(soonest.get(event, 1 << 62), length + trigger.patience_ms)
    return soonest


class _Memory:
    """What Redis is to the fold, for a past in which nobody was known before: only wake-ups are kept."""

    rewritten: Collection[str] = ()

    def __init__(self) -> None:
        self._wakes: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []

    def read_many(self, customers: Sequence[str]) -> list[bytes | None]:
        """Nobody is known that the cache does not hold, as it lets go of nothing."""
        return [None] * len(customers)

    def due(self, partition: int, before_ms: int) -> list[str]:
        """Whoever is to be looked at by then."""
        found = []
        while self.earliest() <= before_ms:
            found.append(heapq.heappop(self._heap)[1])
            del self._wakes[found[-1]]
        return found

    def note(self, wakes: Mapping[str, int | None]) -> None:
        """Keep when customers are to be looked at next."""
        for customer, at in wakes.items():
            if at is None:
                self._wakes.pop(customer, None)
            else:
                self._wakes[customer] = at
                heapq.heappush(self._heap, (at, customer))

    def earliest(self) -> float:
        """When somebody is to be looked at next (ms)."""
        while self._heap and self._wakes.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else inf
