"""States of the customers seen last, decoded; Redis holds them all."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from features.fold import State

CACHED: Final = 50_000


class Entry:
    """A customer's state, and the wake-up that Redis knows of it (None: none)."""

    __slots__ = ("state", "wake")

    def __init__(self, state: State, wake: int | None) -> None:
        self.state = state
        self.wake = wake


class StateCache:
    """At most `capacity` states between two micro-batches, the least recently used let go first.

    Nothing is let go while a micro-batch is worked on: a state goes only once it is written.
    """

    def __init__(self, capacity: int = CACHED) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self.get = self._entries.get

    def __len__(self) -> int:
        return len(self._entries)

    def missing(self, customers: Iterable[str]) -> list[str]:
        """Those of `customers` that are not here; the others now count as used."""
        entries = self._entries
        missing = []
        for customer in customers:
            if customer in entries:
                entries.move_to_end(customer)
            else:
                missing.append(customer)
        return missing

    def put(self, customer: str, entry: Entry) -> None:
        """Keep an entry, as the one used last."""
        self._entries[customer] = entry

    def shrink(self) -> None:
        """Let go of what is too much."""
        while len(self._entries) > self._capacity:
            self._entries.popitem(last=False)
