"""Reads and writes of many customers' fields as bytes of Redis' protocol, packed column by column.

The layout is Feast's own (see `features.feast_store`); nothing here knows a connection. Packing one command
after the other takes several times as long, and nearly every event comes to one.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, Final, Generic, TypeVar

from features.store import Values

JOIN_KEY: Final = "customer_id"
_STRING: Final = 2
_AT_ONCE: Final = 512
"""Commands joined at once: enough for one send, few enough to stay in the processor's cache."""

_REMEMBERED: Final = 65_536
_PREFIX: Final = struct.pack("<III", 1, _STRING, len(JOIN_KEY)) + JOIN_KEY.encode()

K = TypeVar("K")
V = TypeVar("V")


def varint(value: int) -> bytes:
    """A whole number as protobuf writes it."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def key_head(size: int) -> bytes:
    """What stands in a customer's key before an id of so many bytes; the project stands behind it."""
    return _PREFIX + struct.pack("<II", _STRING, size)


class _Memo(dict[K, V], Generic[K, V]):
    """What `make` gives, made once for each key while they are few."""

    def __init__(self, make: Callable[[K], V]) -> None:
        self._make = make

    def __missing__(self, key: K) -> V:
        if len(self) >= _REMEMBERED:
            self.clear()
        made = self[key] = self._make(key)
        return made


_SECONDS: Final = _Memo[int, bytes](lambda seconds: b"\x08" + varint(seconds) if seconds else b"")
_MILLIS: Final = [b"\x10" + varint(ms * 1_000_000) if ms else b"" for ms in range(1_000)]


def encode_timestamp(ms: int) -> bytes:
    """The instant as a protobuf `Timestamp`."""
    seconds, rest = divmod(ms, 1000)
    return _SECONDS[seconds] + _MILLIS[rest]


class Commands:
    """Commands on the hashes of customers: `fields` hold protobuf `Value`s, `stamp` a `Timestamp`."""

    def __init__(self, project: str, fields: Sequence[bytes], stamp: bytes) -> None:
        self._project = project.encode()
        self._fields = tuple(fields)
        words = b"".join(b"\r\n$%d\r\n%b" % (len(field), field) for field in fields)
        self._read_tail = self._project + words + b"\r\n"
        self._read_heads = _Memo(self._read_head)
        self._write_heads = _Memo(self._write_head)
        self._field_heads = [_Memo(_field_head(field)) for field in fields]
        self._stamp_heads = _Memo[int, bytes](
            lambda size: b"\r\n$%d\r\n%b\r\n$%d\r\n" % (len(stamp), stamp, size)
        )

    def reads(self, customers: Sequence[str]) -> Iterator[bytes]:
        """HMGET of the fields for each customer, some hundreds at once."""
        for at in range(0, len(customers), _AT_ONCE):
            names = list(map(str.encode, customers[at : at + _AT_ONCE]))
            parts = [self._read_tail] * (3 * len(names))
            parts[0::3] = map(self._read_heads.__getitem__, map(len, names))
            parts[1::3] = names
            yield b"".join(parts)

    def writes(self, rows: Sequence[tuple[str, Values, int]]) -> Iterator[bytes]:
        """HSET of what is given of each (customer, values, newest instant in ms), some hundreds at once."""
        for at in range(0, len(rows), _AT_ONCE):
            yield self._writes(rows[at : at + _AT_ONCE])

    def _writes(self, rows: Sequence[tuple[str, Values, int]]) -> bytes:
        customers, values, newest = zip(*rows, strict=True)
        count, names = len(rows), list(map(str.encode, customers))
        columns: list[Any] = [values]
        given = [1] * count
        if set(map(type, values)) != {bytes}:
            whole = [(each,) if isinstance(each, bytes) else each for each in values]
            columns = list(zip_longest(*whole))
            given = [len(each) - each.count(None) for each in whole]
        instants = [divmod(ms if ms > 0 else 0, 1000) for ms in newest]
        seconds = [_SECONDS[each] for each, _ in instants]
        millis = [_MILLIS[each] for _, each in instants]
        sizes = map(sum, zip(map(len, seconds), map(len, millis), strict=True))
        width = 3 + 2 * len(columns) + 4
        parts = [b"\r\n"] * (width * count)
        parts[0::width] = map(self._write_heads.__getitem__, zip(map(len, names), given, strict=True))
        parts[1::width] = names
        parts[2::width] = [self._project] * count
        for number, column in enumerate(columns):
            heads = self._field_heads[number]
            parts[3 + 2 * number :: width] = [b"" if each is None else heads[len(each)] for each in column]
            parts[4 + 2 * number :: width] = [each or b"" for each in column]
        parts[width - 4 :: width] = map(self._stamp_heads.__getitem__, sizes)
        parts[width - 3 :: width] = seconds
        parts[width - 2 :: width] = millis
        return b"".join(parts)

    def _read_head(self, size: int) -> bytes:
        head = key_head(size)
        total = len(head) + size + len(self._project)
        return b"*%d\r\n$5\r\nHMGET\r\n$%d\r\n%b" % (2 + len(self._fields), total, head)

    def _write_head(self, shape: tuple[int, int]) -> bytes:
        size, given = shape
        head = key_head(size)
        total = len(head) + size + len(self._project)
        return b"*%d\r\n$4\r\nHSET\r\n$%d\r\n%b" % (4 + 2 * given, total, head)


def _field_head(field: bytes) -> Callable[[int], bytes]:
    def head(size: int) -> bytes:
        length = varint(size)
        total = 1 + len(length) + size
        return b"\r\n$%d\r\n%b\r\n$%d\r\n\x0a%b" % (len(field), field, total, length)

    return head
