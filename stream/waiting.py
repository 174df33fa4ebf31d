"""Events that wait for their customers, who are asked for together."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import repeat
from typing import Any, Protocol, cast

from events.bus import Message
from events.codec import encode_events
from events.contract import Raw
from events.identity import Id, partition_of
from events.topics import BEHAVIOUR
from events.typed import Columns

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


class Waiting:
    """Events of one micro-batch whose customers are not yet known, column by column, in the order read."""

    def __init__(self, resolver: Resolver, partitions: int) -> None:
        self._resolver = resolver
        self._places = _Places(partitions)
        self._forget()

    def add(self, raw: Raw) -> None:
        """Let one event wait."""
        self._kinds.append(raw.type)
        self._ids.append(raw.id)
        self._times.append(raw.time)
        self._owners.append(raw.ids[0])
        self._fields.append(raw.fields)

    def add_rows(self, columns: Columns, rows: Sequence[int]) -> None:
        """Let some rows wait."""
        mine: list[list[Any]] = [self._kinds, self._ids, self._times, self._owners, self._fields]
        for into, column in zip(mine, columns.values, strict=True):
            if isinstance(rows, range):
                into += column[rows.start : rows.stop]
            else:
                into += [column[row] for row in rows]

    def settle(self) -> list[Message]:
        """The messages for `behaviour` of all that waits. Errors of the resolver pass through."""
        if not self._kinds:
            return []
        customers = self._resolver.resolve_many(self._owners)
        values = encode_events(self._kinds, self._ids, self._times, customers, self._fields)
        places = [self._places[customer[:5]] for customer in customers]
        messages = list(map(_message, zip(repeat(BEHAVIOUR), places, map(str.encode, customers), values)))
        self._forget()
        return messages

    def _forget(self) -> None:
        self._kinds: list[str] = []
        self._ids: list[str] = []
        self._times: list[int] = []
        self._owners: list[Id] = []
        self._fields: list[Any] = []


class _Places(dict[str, int]):
    """The partition of a customer by the first five characters of its id, which name its shard."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions

    def __missing__(self, head: str) -> int:
        place = self[head] = partition_of(f"{head}}}", self._partitions)
        return place
