"""States of the customers seen last; Redis holds them all."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from features.fold import State

CAPACITY: Final = 512_000_000
"""Bytes of states kept unless a setting says otherwise."""

OVERHEAD: Final = 330
"""Bytes of an entry beside its state: the customer's id, its place in two tables, the entry (measured)."""


class Entry:
    """A customer's state, the wake-up that Redis knows of it (None: none), and the bytes it takes."""

    __slots__ = ("size", "state", "wake", "weight")

    def __init__(self, state: State, wake: int | None, size: int = 0) -> None:
        self.state = state
        self.wake = wake
        self.size = size
        self.weight = 0  # what the cache has counted it as


class StateCache:
    """Entries of at most `capacity` bytes between two micro-batches, the least recently used let go first.

    Nothing is let go while a micro-batch is worked on: a state goes only once it is written. A customer
    that was let go comes back from Redis, whole; one that is quiet costs nothing here.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self.bytes = 0
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
        """Keep an entry, as the one used last; put it again when its size has changed."""
        self.forget(customer)
        self._entries[customer] = entry
        entry.weight = entry.size + OVERHEAD
        self.bytes += entry.weight

    def resize(self, customer: str, size: int) -> None:
        """The state of one entry has so many bytes now."""
        entry = self._entries[customer]
        self.bytes += size - entry.size
        entry.weight += size - entry.size
        entry.size = size

    def forget(self, customer: str) -> None:
        """Let go of one entry, if it is here."""
        entry = self._entries.pop(customer, None)
        if entry is not None:
            self.bytes -= entry.weight

    def shrink(self) -> None:
        """Let go of what is too much."""
        while self.bytes > self._capacity:
            self.forget(next(iter(self._entries)))
