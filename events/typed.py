"""Many events at once, from JSON to checked columns: each member's type is known before it is read.

For each type of event a contract gives one struct; reading JSON into it is its check. What is taken here
is what `Contracts.validate` makes of the same bytes, value by value; whatever is not quite so is left to
it, which is slower and says why. One thing only is looked at less: members that no contract names.
"""

from collections.abc import Callable, Sequence
from itertools import repeat
from operator import attrgetter
from typing import Any, Final, NamedTuple, Union

import msgspec

from events.bulk import converter, instants, texts
from events.codec import MAX_EVENT_BYTES
from events.contract import Contracts, EventType
from events.identity import Id
from events.structs import Structs, structs_of

FEW: Final = 20
"""Fewer events of a type than this cost less one by one: columns have a price of their own, about 100 us."""

_data, _source, _ident, _time = (attrgetter(name) for name in ("data", "source", "id", "time"))


class Columns(NamedTuple):
    """Events row by row: type, id, time (ms), the foreign id that names the customer, packed fields.

    Only rows that are not `left` mean anything; those are for `Contracts.validate`. `fields` are
    structs that are encoded as the mapping which `Raw.fields` is.
    """

    kinds: list[str]
    ids: list[str]
    times: list[int]
    owners: list[Id]
    fields: list[Any]
    left: list[int]

    @property
    def values(self) -> tuple[list[Any], ...]:
        """The columns themselves."""
        return self.kinds, self.ids, self.times, self.owners, self.fields


class Typed:
    """The contracts of a playbook as structs.

    Links, which join ids, and types of which there are fewer than `few` are left to be taken one by one.
    """

    def __init__(self, contracts: Contracts, few: int = FEW) -> None:
        self._few = few
        self._of: dict[type, _Type] = {
            structs.wire: _Type(event, structs)
            for event in contracts.types.values()
            if not event.link and (structs := structs_of(event)) is not None
        }
        wires = Union[tuple(self._of)] if self._of else None  # noqa: UP007
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(wires).decode

    def take(self, values: Sequence[bytes], latest: int) -> Columns:
        """Check the events of `values`, none of which may be later than `latest` (ms)."""
        count = len(values)
        columns = Columns([""] * count, [""] * count, [0] * count, [("", "")] * count, [None] * count, [])
        if count < self._few or not self._of:
            columns.left.extend(range(count))
            return columns
        decode = self._decode
        wires: list[Any] = []
        append = wires.append
        for value in values:
            try:
                append(decode(value))
            except (ValueError, RecursionError):  # msgspec's errors are ValueErrors too
                append(None)
        if max(map(len, values)) > MAX_EVENT_BYTES:
            wires = [
                None if len(value) > MAX_EVENT_BYTES else wire
                for wire, value in zip(wires, values, strict=True)
            ]
        kinds = set(map(type, wires))
        if len(kinds) == 1 and (typed := self._of.get(kinds.pop())) is not None:
            return typed.columns(wires, latest)
        rows_of: dict[type, list[int]] = {}
        for row, wire in enumerate(wires):
            rows_of.setdefault(type(wire), []).append(row)
        for kind, rows in rows_of.items():
            typed = self._of.get(kind)
            if typed is None or len(rows) < self._few:
                columns.left.extend(rows)
                continue
            found = typed.columns([wires[row] for row in rows], latest)
            for into, column in zip(columns.values, found.values, strict=True):
                for row, value in zip(rows, column, strict=True):
                    into[row] = value
            columns.left.extend(rows[row] for row in found.left)
        columns.left.sort()
        return columns


class _Type:
    """One type of event: how its members become columns."""

    def __init__(self, event: EventType, structs: Structs) -> None:
        self.wire = structs.wire
        self._name = event.name
        self._fields = structs.fields
        get = {member: attrgetter(name) for member, name in structs.names.items()}
        self._id = get[event.id_field] if event.id_field is not None else None
        self._time = get[event.time_field] if event.time_field is not None else None
        self._customer = [(kind, get[member]) for kind, member in event.customer.items()]
        self._columns = [(get[name], converter(kind)) for name, kind in event.fields.items()]

    def columns(self, wires: list[Any], latest: int) -> Columns:
        """The events of `wires`, all of this type."""
        count = len(wires)
        left: set[int] = set()
        data = list(map(_data, wires))
        if self._id is not None:
            ids = texts(list(map(self._id, data)))
        else:
            ids = [f"{wire.source} {wire.id}" for wire in wires]
        told = list(map(_time, wires))
        if self._time is None:
            times = instants(told, left)
        else:
            if told.count(None) != count:
                instants([at if at is not None else 0 for at in told], left)
            times = instants(list(map(self._time, data)), left)
        if min(times) < 0 or max(times) > latest:
            left.update(row for row, at in enumerate(times) if not 0 <= at <= latest)
        columns = [convert(list(map(get, data)), left) for get, convert in self._columns]
        fields = list(map(self._fields, *columns)) if columns else [self._fields()] * count
        owners = self._owners(data, left)
        return Columns([self._name] * count, ids, times, owners, fields, sorted(left))

    def _owners(self, data: list[Any], left: set[int]) -> list[Id]:
        """The first id that each event names its customer with."""
        if len(self._customer) == 1:
            kind, get = self._customer[0]
            return list(zip(repeat(kind), texts(list(map(get, data)))))
        owners = []
        for row, each in enumerate(data):
            for kind, get in self._customer:
                value = get(each)
                if value is not None:
                    owners.append((kind, str(value)))
                    break
            else:
                owners.append(("", ""))
                left.add(row)
        return owners
