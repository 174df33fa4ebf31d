"""The stage behaviour in one process, states in memory, with a clock on each of its parts."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any, Final
from unittest.mock import patch

from events.bus import Record
from events.codec import encode
from events.envelope import Event, Tick
from events.topics import BEHAVIOUR
from features import log as log_module
from features.log import LogReader
from features.plan import Plan
from stream import behaviour_fold
from stream.behaviour_fold import BehaviourFold
from stream.counters import Counters
from stream.state_cache import StateCache
from stream.taps import Poll

PARTS: Final = ("columns", "given", "fold", "wake-ups", "messages", "other")
"""What is timed: the log's bytes read into columns; what events alone say of conditions; the compiled fold
with what is judged in it; waits noted and looked at; messages made; everything else of the stage."""


class Stage:
    """`BehaviourFold` of one partition on states that are all in its cache.

    `spent` are seconds of processor of the last micro-batch by part, without what was spent in parts within.
    """

    def __init__(self, plan: Plan, states: Mapping[str, bytes]) -> None:
        self._known = _Known(states)
        self.counters = Counters(_Nothing(), "bench")
        self._fold = BehaviourFold(plan, self._known, 1, StateCache(1 << 40), self.counters, {})
        self._position = 0
        self.spent: dict[str, float] = {}
        self._inner: list[float] = []

    def process(self, events: Sequence[bytes], tick_ms: int) -> int:
        """A micro-batch of events as the log holds them and the tick behind them; how many messages."""
        values = [*events, encode(Tick(tick_ms))]
        records = [
            Record(BEHAVIOUR, 0, position, b"", value)
            for position, value in enumerate(values, self._position)
        ]
        self._position += len(records)
        self.spent, self._inner = dict.fromkeys(PARTS, 0.0), []
        with self._watched():
            effects = self._timed("other", self._fold.process)([Poll(BEHAVIOUR, 0, records, None)])
        self._known.note(effects.wakes)
        return len(effects.messages)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        watched: tuple[tuple[type | ModuleType, str, str], ...] = (
            (LogReader, "read", "columns"),
            (behaviour_fold, "batch_of", "columns"),
            (log_module, "given_columns", "given"),
            (log_module, "given_rows", "given"),
            (behaviour_fold, "fold_parts", "fold"),
            (BehaviourFold, "_fire_hits", "messages"),
            (BehaviourFold, "_fire", "messages"),
            (BehaviourFold, "_note_wakes", "wake-ups"),
            (BehaviourFold, "_wake", "wake-ups"),
        )
        with ExitStack() as stack:
            for owner, name, part in watched:
                stack.enter_context(patch.object(owner, name, self._timed(part, getattr(owner, name))))
            yield

    def _timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any) -> Any:
            self._inner.append(0.0)
            began = time.thread_time()
            try:
                return function(*args)
            finally:
                whole = time.thread_time() - began
                self.spent[part] += whole - self._inner.pop()
                if self._inner:
                    self._inner[-1] += whole

        return timed


class _Known:
    """Reads states from memory; keeps wake-ups as Redis would."""

    rewritten: Collection[str] = ()

    def __init__(self, states: Mapping[str, bytes]) -> None:
        self._states = states
        self._wakes: dict[str, int] = {}

    def read_many(self, customers: Sequence[str]) -> list[bytes | None]:
        """See `StateReader`."""
        return list(map(self._states.get, customers))

    def due(self, partition: int, before_ms: int) -> list[str]:
        """See `StateReader`."""
        return [customer for customer, at in self._wakes.items() if at <= before_ms]

    def note(self, wakes: Mapping[int, Mapping[str, int | None]]) -> None:
        """What a micro-batch says of wake-ups."""
        for each in wakes.values():
            for customer, at in each.items():
                if at is None:
                    self._wakes.pop(customer, None)
                else:
                    self._wakes[customer] = at


class _Nothing:
    """A Redis that holds nothing."""

    def hgetall(self, key: str) -> dict[bytes, bytes]:
        return {}


def logged(events: Sequence[Event]) -> list[bytes]:
    """The events as the log holds them."""
    return [encode(event) for event in events]
