"""Attributes in a customer's hash, in Feast's own layout: an ordinary view a table, a field a column.

Beside its columns each view has `{table}_as_of` (when the row became known, ms; none: the table has no row
of the customer), `{table}_since` (from when on it counts, ms) and `{table}_before` (the version it replaced,
which counts until then). Fields hold protobuf `Value`s, so Feast's SDK reads them; nothing of Feast is
imported here.
"""

import struct
from collections.abc import Sequence
from typing import Any

import msgspec

from features.attribute import AttributeTable, Kind, Plain
from features.attributes import NO_ROW, Held, Version
from features.declare_attribute import fields_beside
from features.feast_store import encode_timestamp, field_of, varint

LOADED_KEY = "kairos:attributes"
"""Hash: table -> instant from which it counts as loaded, ms."""

_encode = msgspec.msgpack.Encoder().encode
_decode_before = msgspec.msgpack.Decoder(tuple[int, int, dict[str, Plain | None]]).decode
_DOUBLE = struct.Struct("<d")
_NUMBERED = 1 << 64


class AttributesDamaged(ValueError):
    """The fields of a customer's attributes are not what a load writes; load the table again."""


def columns_of(table: AttributeTable) -> tuple[tuple[str, Kind | None], ...]:
    """(name, kind) of the view's fields, in the order in which they are kept; kind None: bytes.

    The three beside the attributes come last.
    """
    as_of, since, before = fields_beside(table.name)
    beside: tuple[tuple[str, Kind | None], ...] = ((as_of, "integer"), (since, "integer"), (before, None))
    return (*((each.name, each.kind) for each in table.attributes), *beside)


def fields_of(tables: Sequence[AttributeTable]) -> list[bytes]:
    """The fields of a customer's hash to read for all tables, as `held_of` takes their values."""
    return [field_of(table.name, name) for table in tables for name, _ in columns_of(table)]


def fields_to_write(table: AttributeTable, versions: Sequence[Version]) -> dict[bytes, bytes]:
    """The fields of one customer and table: `versions` newest first, of which two are kept."""
    newest = versions[0]
    before = _packed(table, versions[1]) if len(versions) > 1 else None
    values = [*newest.values, newest.as_of if newest.as_of != NO_ROW else None, newest.since, before]
    fields = {
        field_of(table.name, name): encode_value(value, kind)
        for (name, kind), value in zip(columns_of(table), values, strict=True)
    }
    return fields | {f"_ts:{table.name}".encode(): encode_timestamp(newest.since)}


def held_of(
    tables: Sequence[AttributeTable],
    values: Sequence[bytes | None],
    loaded: Sequence[bytes | None],
    at: int | None = None,
) -> Held:
    """What is held of a customer, from the values of `fields_of` and the fields of `LOADED_KEY`.

    With `at` (ms) only what is asked for at that instant is unpacked. Errors: `AttributesDamaged`.
    """
    try:
        versions, start = [], 0
        for table in tables:
            end = start + len(table.attributes) + 3
            versions.append(versions_of(table, [decode_value(value) for value in values[start:end]], at))
            start = end
        return Held(tuple(None if each is None else int(each) for each in loaded), tuple(versions))
    except (ValueError, IndexError, struct.error, msgspec.DecodeError) as error:
        raise AttributesDamaged(f"attributes of a customer: expected Feast's values, found {error}") from None


def versions_of(table: AttributeTable, row: Sequence[Any], at: int | None = None) -> tuple[Version, ...]:
    """The versions, newest first, of a row of plain values in the order of `columns_of`.

    Feast's SDK answers such rows; the sample that it hands every function when objects are applied is no row.
    """
    *values, as_of, since, before = row
    if since is None or since != since:
        return ()
    known = NO_ROW if as_of is None or as_of != as_of else int(as_of)
    newest = Version(
        int(since), known, tuple(_plain(v, a.kind) for v, a in zip(values, table.attributes, strict=True))
    )
    if not before or before == b"hello world" or (at is not None and newest.since <= at):
        return (newest,)
    return newest, _unpacked(table, before)


def _packed(table: AttributeTable, version: Version) -> bytes:
    # By name, so that it can be read after the table got another column.
    values = {each.name: value for each, value in zip(table.attributes, version.values, strict=True)}
    return _encode([version.since, version.as_of, values])


def _unpacked(table: AttributeTable, packed: bytes) -> Version:
    since, as_of, values = _decode_before(packed)
    return Version(since, as_of, tuple(values.get(each.name) for each in table.attributes))


def _plain(value: Any, kind: Kind) -> Plain | None:
    """A value as Feast answers it: whole numbers and booleans may come as floats, nothing as NaN.

    What was written when the column was of another kind is not known until the next load.
    """
    if value is None or value != value or isinstance(value, str) is not (kind == "category"):
        return None
    if kind == "integer":
        return int(value)
    if kind == "decimal":
        return float(value)
    return bool(value) if kind == "boolean" else str(value)


def encode_value(value: Plain | bytes | None, kind: Kind | None) -> bytes:
    """The value as a protobuf `Value` of its kind; kind None: bytes.

    >>> [encode_value(*each) for each in [("Owner", "category"), (3, "integer"), (True, "boolean")]]
    [b'\\x12\\x05Owner', b' \\x03', b'8\\x01']
    """
    if value is None:
        return b""
    if kind == "decimal":
        return b"\x29" + _DOUBLE.pack(value)
    if kind == "integer":
        return b"\x20" + varint(int(value) % _NUMBERED)
    if kind == "boolean":
        return b"\x38\x01" if value else b"\x38\x00"
    raw = value.encode() if isinstance(value, str) else value
    assert isinstance(raw, bytes)
    return (b"\x12" if kind == "category" else b"\x0a") + varint(len(raw)) + raw


def decode_value(value: bytes | None) -> Plain | bytes | None:
    """What a protobuf `Value` holds; None when it holds nothing.

    Errors: ValueError, IndexError when it is of another kind, or cut short.

    >>> decode_value(encode_value(-3, "integer")), decode_value(encode_value(0.5, "decimal"))
    (-3, 0.5)
    """
    if not value:
        return None
    tag = value[0]
    if tag == 0x29 and len(value) == 9:
        return float(_DOUBLE.unpack_from(value, 1)[0])
    if tag in (0x20, 0x38):
        number, end = _read_varint(value, 1)
        if end == len(value):
            return number == 1 if tag == 0x38 else number - _NUMBERED if number >> 63 else number
    elif tag in (0x0A, 0x12):
        length, start = _read_varint(value, 1)
        if len(value) - start == length:
            return value[start:] if tag == 0x0A else value[start:].decode()
    raise ValueError(f"{value[:12]!r}...")


def _read_varint(value: bytes, at: int) -> tuple[int, int]:
    """The number at `at` and where it ends. Errors: IndexError when it is cut short."""
    number = shift = 0
    while True:
        byte = value[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
