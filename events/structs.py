"""A type of event as structs: what its contract allows, told to the reader of JSON."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple, Union

import msgspec

from events.codec import MAX_EVENT_BYTES, MAX_ID
from events.contract import EventType
from events.fields import MAX_WHOLE

_MAX_INT: Final = (1 << 63) - 1
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID)]


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


class Structs(NamedTuple):
    """One type of event as structs: `wire` is what JSON is read into, its member `data` has the contract's.

    `fields` is what is kept of them, in the order of the contract; `names` says which attribute of `data`
    holds which member.
    """

    wire: type
    fields: type
    names: Mapping[str, str]


def structs_of(event: EventType) -> Structs | None:
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
    return Structs(wire, fields, names)
