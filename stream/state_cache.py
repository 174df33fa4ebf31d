"""States of the customers seen last; Redis holds them all."""

import struct
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from typing import Final

from features.kernel.recent import NEWEST

CAPACITY: Final = 512_000_000
"""Bytes of states kept unless a setting says otherwise."""

OVERHEAD: Final = 330
"""Bytes of an entry beside its state: the customer's id, its place in two tables, the entry (measured)."""


UNREAD: Final = -2
"""A wake-up that has not been looked up in the state yet: Redis knows what it says."""


class Entry:
    """The two parts of a customer's state, and the wake-up that Redis knows of it (None: none, `UNREAD`).

    `changed`: the settled part has changed since it was written.
    """

    __slots__ = ("changed", "recent", "settled", "wake")

    def __init__(self, recent: bytes, settled: bytes, wake: int | None) -> None:
        self.recent = recent
        self.settled = settled
        self.wake = wake
        self.changed = False

    @property
    def blob(self) -> bytes:
        """The bytes of both parts."""
        return self.recent + self.settled

    def __len__(self) -> int:
        return len(self.recent) + len(self.settled)


_newest = struct.Struct("<q").unpack_from


def newest_of(recent: bytes) -> int:
    """Time of the newest event of a state with this recent part, ms, -1 when none."""
    newest: int = _newest(recent, NEWEST)[0]
    return newest


class StateCache:
    """Entries of at most `capacity` bytes between two micro-batches, the least recently used let go first.

    Nothing is let go while a micro-batch is worked on: a state goes only once it is written. A customer
    that was let go comes back from Redis, whole; one that is quiet costs nothing here. The bytes of an entry
    change by `replace` alone.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self.bytes = 0
        self.get = self._entries.get

    def __len__(self) -> int:
        return len(self._entries)

    def use(self, customers: Sequence[str]) -> list[Entry | None]:
        """The entries of `customers`, which now count as used; None of one that is not here."""
        found = list(map(self._entries.get, customers))
        here: Iterable[str] = customers
        if None in found:
            here = [who for who, entry in zip(customers, found, strict=True) if entry is not None]
        deque(map(self._entries.move_to_end, here), 0)  # a loop without a step of Python's
        return found

    def put(self, customer: str, entry: Entry) -> None:
        """Keep an entry, as the one used last."""
        self.forget(customer)
        self._entries[customer] = entry
        self.bytes += len(entry) + OVERHEAD

    def replace(
        self, entries: Sequence[Entry], recents: Sequence[bytes], settled: Sequence[bytes | None] = ()
    ) -> None:
        """Give entries that are here new recent parts, and new settled ones where they are not None."""
        before = sum([len(entry.recent) for entry in entries])
        for entry, recent in zip(entries, recents, strict=True):
            entry.recent = recent
        self.bytes += sum(map(len, recents)) - before
        for entry, part in zip(entries, settled, strict=False):
            if part is not None:
                self.bytes += len(part) - len(entry.settled)
                entry.settled, entry.changed = part, True

    def forget(self, customer: str) -> None:
        """Let go of one entry, if it is here."""
        entry = self._entries.pop(customer, None)
        if entry is not None:
            self.bytes -= len(entry) + OVERHEAD

    def shrink(self) -> None:
        """Let go of what is too much."""
        while self.bytes > self._capacity:
            self.forget(next(iter(self._entries)))
