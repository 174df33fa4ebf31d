"""Many events at once, from JSON to checked columns: each member's type is known before it is read.

For each type of event a contract gives one struct; reading JSON into it is its check. What is taken here
is what `Contracts.validate` makes of the same bytes, value by value; whatever is not quite so is left to
it, which is slower and says why. One thing only is looked at less: members that no contract names.
"""

from array import array
from collections.abc import Callable, Sequence
from itertools import repeat
from operator import attrgetter
from typing import Annotated, Any, Final, Literal, NamedTuple, Union

import msgspec
import numpy as np

from events.codec import MAX_EVENT_BYTES, MAX_ID, BadEvent, parse_time
from events.contract import Contracts, EventType
from events.fields import KINDS, MAX_DECIMAL, MAX_WHOLE, SCALE
from events.identity import Id

FEW: Final = 20
"""Fewer events of a type than this cost less one by one: columns have a price of their own, about 100 us."""

_MAX_INT: Final = (1 << 63) - 1
_NO_TIME: Final = -1
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID)]
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
        self._types = [
            typed for event in contracts.types.values() if not event.link and (typed := _typed(event))
        ]
        self._of: dict[type, _Type] = {typed.wire: typed for typed in self._types}
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


class _Shape(NamedTuple):
    """What a member may be: a text of so many characters, a whole number in a range, ..."""

    text: tuple[int, int] | None = None
    whole: tuple[int, int] | None = None
    real: bool = False
    truth: bool = False
    optional: bool = False

    def both(self, other: "_Shape") -> "_Shape":
        """What is of both shapes: one member may be, say, an id and a field."""
        return _Shape(
            (max(self.text[0], other.text[0]), min(self.text[1], other.text[1]))
            if self.text and other.text
            else None,
            (max(self.whole[0], other.whole[0]), min(self.whole[1], other.whole[1]))
            if self.whole and other.whole
            else None,
            self.real and other.real,
            self.truth and other.truth,
            self.optional and other.optional,
        )

    def annotation(self) -> Any:
        """The shape as msgspec knows it; None when nothing is of it."""
        kinds: list[Any] = []
        if self.text:
            kinds.append(Annotated[str, msgspec.Meta(min_length=self.text[0], max_length=self.text[1])])
        if self.whole:
            kinds.append(Annotated[int, msgspec.Meta(ge=self.whole[0], le=self.whole[1])])
        if self.real:
            kinds.append(float)
        if self.truth:
            kinds.append(bool)
        if not kinds:
            return None
        return Union[tuple(kinds + [None] * self.optional)]  # noqa: UP007


_ANY_INT: Final = (-_MAX_INT, _MAX_INT)
_ID: Final = _Shape(text=(1, MAX_ID), whole=_ANY_INT)
_INSTANT: Final = _Shape(text=(0, 64), whole=_ANY_INT)
_FIELD: Final = {
    "decimal": _Shape(text=(1, 64), whole=_ANY_INT, real=True),
    "integer": _Shape(whole=(1 - MAX_WHOLE, MAX_WHOLE - 1)),
    "category": _Shape(text=(0, MAX_ID)),
    "text": _Shape(text=(0, MAX_EVENT_BYTES)),
    "boolean": _Shape(truth=True),
    "time": _INSTANT,
}


def _typed(event: EventType) -> "_Type | None":
    """The type as structs; None when a member can never be all that it is declared to be."""
    shapes: dict[str, _Shape] = {}
    uses = [(member, _ID) for member in (event.id_field,) if member is not None]
    uses += [(member, _INSTANT) for member in (event.time_field,) if member is not None]
    several = len(event.customer) > 1
    uses += [(member, _ID._replace(optional=several)) for member in event.customer.values()]
    for name, kind in event.fields.items():
        uses.append((name, _FIELD[kind.removesuffix("?")]._replace(optional=kind[-1] == "?")))
    for member, shape in uses:
        shapes[member] = shapes[member].both(shape) if member in shapes else shape
    types = {member: shape.annotation() for member, shape in shapes.items()}
    if None in types.values():
        return None
    names = {member: f"m{n}" for n, member in enumerate(types)}
    data = msgspec.defstruct(
        "Data",
        [
            (names[member], kind, None) if shapes[member].optional else (names[member], kind)
            for member, kind in types.items()
        ],
        rename={name: member for member, name in names.items()},
        kw_only=True,
        gc=False,
    )
    wire = msgspec.defstruct(
        "Wire",
        [
            ("specversion", Literal["1.0"]),
            ("id", _Name),
            ("source", _Name),
            ("data", data),
            ("time", str | None, None),
        ],
        tag_field="type",
        tag=event.name,
        gc=False,
    )
    fields = msgspec.defstruct(
        "Fields",
        [(f"m{n}", Any) for n in range(len(event.fields))],
        rename={f"m{n}": name for n, name in enumerate(event.fields)},
        gc=False,
    )
    return _Type(event, wire, fields, names)


class _Type:
    """One type of event: how its members become columns."""

    def __init__(self, event: EventType, wire: type, fields: type, names: dict[str, str]) -> None:
        self.wire = wire
        self._name = event.name
        self._fields = fields
        get = {member: attrgetter(name) for member, name in names.items()}
        self._id = get[event.id_field] if event.id_field is not None else None
        self._time = get[event.time_field] if event.time_field is not None else None
        self._customer = [(kind, get[member]) for kind, member in event.customer.items()]
        self._columns = [
            (get[name], _CONVERT.get(kind.removesuffix("?"), _as_it_is))
            for name, kind in event.fields.items()
        ]

    def columns(self, wires: list[Any], latest: int) -> Columns:
        """The events of `wires`, all of this type."""
        count = len(wires)
        left: set[int] = set()
        data = list(map(_data, wires))
        if self._id is not None:
            ids = _texts(list(map(self._id, data)))
        else:
            ids = [f"{wire.source} {wire.id}" for wire in wires]
        told = list(map(_time, wires))
        if self._time is None:
            times = _instants(told, left)
        else:
            if told.count(None) != count:
                _instants([at if at is not None else 0 for at in told], left)
            times = _instants(list(map(self._time, data)), left)
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
            return list(zip(repeat(kind), _texts(list(map(get, data)))))
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


def _texts(column: list[Any]) -> list[str]:
    """Ids as texts; a publisher may send them as whole numbers."""
    return column if set(map(type, column)) == {str} else list(map(str, column))


def _as_it_is(column: list[Any], left: set[int]) -> list[Any]:
    return column


def _decimals(column: list[Any], left: set[int]) -> list[int | None]:
    """Whole ten-thousandths."""
    try:
        numbers = np.frombuffer(array("d", column))
    except TypeError:  # a text, or a value that may be missing and is
        return _each("decimal", column, left)
    if not np.all(np.abs(numbers) < MAX_DECIMAL):
        return _each("decimal", column, left)
    whole: list[int | None] = np.rint(numbers * SCALE).astype(np.int64).tolist()
    return whole


def _times(column: list[Any], left: set[int]) -> list[int | None]:
    return _each("time", column, left)


def _each(kind: str, column: list[Any], left: set[int]) -> list[Any]:
    """A column value by value, as `Contracts.validate` does it."""
    convert = KINDS[kind].convert
    found: list[Any] = [None] * len(column)
    for row, value in enumerate(column):
        if value is not None:
            try:
                found[row] = convert("", value)
            except BadEvent:
                left.add(row)
    return found


_CONVERT: Final[dict[str, Callable[[list[Any], set[int]], list[Any]]]] = {
    "decimal": _decimals,
    "time": _times,
}


def _instants(column: list[str | int | None], left: set[int]) -> list[int]:
    """Milliseconds of instants."""
    together = _instants_of_one_form(column)
    if together is not None:
        return together
    times = []
    for row, text in enumerate(column):
        try:
            times.append(parse_time(text))  # type: ignore[arg-type]
        except ValueError:
            times.append(_NO_TIME)
            left.add(row)
    return times


_SEPARATORS: Final = {4: "-", 7: "-", 10: "T", 13: ":", 16: ":"}
_FORMS: Final = {20: _SEPARATORS | {19: "Z"}, 24: _SEPARATORS | {19: ".", 23: "Z"}}
_FIRST_YEAR: Final = 1970
_MONTHS: Final = (
    np.arange("1970-01", "2101-01", dtype="datetime64[M]").astype("datetime64[D]").astype(np.int64)
)
"""The day, from 1970-01-01, on which each month begins."""


def _instants_of_one_form(column: list[str | int | None]) -> list[int] | None:
    """All of `2017-07-14T02:00:00Z`, or all with milliseconds; None when any is of another form, or none."""
    try:
        text = "".join(column)  # type: ignore[arg-type]
    except TypeError:
        return None
    width = len(column[0])  # type: ignore[arg-type]
    form = _FORMS.get(width)
    if form is None or not text.isascii() or set(map(len, column)) != {width}:  # type: ignore[arg-type]
        return None
    table = np.frombuffer(text.encode(), np.uint8).reshape(len(column), width)
    for place, separator in form.items():
        if not np.all(table[:, place] == ord(separator)):
            return None
    digits = table[:, [place for place in range(width) if place not in form]].astype(np.int64) - ord("0")
    if digits.min() < 0 or digits.max() > 9:
        return None
    year = digits[:, :4] @ (1_000, 100, 10, 1)
    month, day, hour, minute, second = (digits[:, at] * 10 + digits[:, at + 1] for at in (4, 6, 8, 10, 12))
    index = (year - _FIRST_YEAR) * 12 + month - 1
    if index.min() < 0 or index.max() >= len(_MONTHS) - 1:
        return None
    days = _MONTHS[index] + day - 1
    good = (month >= 1) & (month <= 12) & (day >= 1) & (days < _MONTHS[index + 1])
    if not np.all(good & (hour < 24) & (minute < 60) & (second < 60)):
        return None
    instants = ((days * 24 + hour) * 60 + minute) * 60_000 + second * 1_000
    if width == 24:
        instants += digits[:, 14:] @ (100, 10, 1)
    found: list[int] = instants.tolist()
    return found
