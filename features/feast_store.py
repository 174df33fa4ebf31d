"""States in Redis, in Feast's own layout, written without Feast: what is written here, Feast's SDK reads.

Layout of Feast 0.67 (entity key version 3): one hash a customer, its key the join key's name and value
and then the project; one field for each feature, named by a hash of `view:feature`, holding a protobuf
`Value`; one field `_ts:view` holding a protobuf `Timestamp`.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import mmh3
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from events.redis_wire import Refused, Wires
from features.feast_commands import JOIN_KEY, Commands, encode_timestamp, key_head, varint
from features.state import parts_of
from features.store import Values

__all__ = ["JOIN_KEY", "RedisStateStore", "encode_timestamp", "feast_key", "field_of", "varint"]

VIEW = "customer_state"
FEATURES = ("recent", "settled")
"""The two parts of a state, in the order in which `write_many` takes their values."""

WATERMARKS_KEY = "kairos:watermarks"
"""Hash: partition -> ms."""


def field_of(view: str, feature: str) -> bytes:
    """The field of a customer's hash that holds this feature.

    >>> field_of("customer_state", "recent").hex()
    '7d2db8e0'
    """
    return struct.pack("<I", mmh3.hash(f"{view}:{feature}", signed=False))


FIELDS = tuple(field_of(VIEW, feature) for feature in FEATURES)
TS_FIELD = f"_ts:{VIEW}".encode()


def feast_key(project: str, customer: str) -> bytes:
    """The key of a customer's hash.

    >>> feast_key("kairos", "{007}abc")[-14:]
    b'{007}abckairos'
    """
    value = customer.encode()
    return key_head(len(value)) + value + project.encode()


def encode_blob_value(blob: bytes) -> bytes:
    """The bytes as a protobuf `Value { bytes_val }`.

    >>> encode_blob_value(b"xy"), decode_blob_value(b"\\n\\x02xy")
    (b'\\n\\x02xy', b'xy')
    """
    return b"\x0a" + varint(len(blob)) + blob


def decode_blob_value(value: bytes | None) -> bytes | None:
    """The bytes of a protobuf `Value { bytes_val }`; None when there is no value.

    Errors: ValueError when it is a value of another kind, or cut short.
    """
    if not value:
        return None
    length, shift, at = 0, 0, 1
    while at < len(value):
        byte = value[at]
        at += 1
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    if value[0] != 0x0A or len(value) - at != length:
        raise ValueError(f"feature of {VIEW}: expected a bytes value, found {value[:12]!r}...")
    return value[at:]


def join_parts(values: Sequence[bytes | None]) -> bytes | None:
    """The state whose fields hold these values; None when there is none. Errors: as `decode_blob_value`."""
    recent, settled = map(decode_blob_value, values)
    return None if recent is None else recent + (settled or b"")


class _Heads(dict[int, bytes | None]):
    """What a value of so many bytes begins with; None: no value of bytes is so long."""

    def __missing__(self, size: int) -> bytes | None:
        head = next((b"\x0a" + varint(size - n) for n in range(2, 7) if len(varint(size - n)) == n - 1), None)
        self[size] = head
        return head


_HEADS = _Heads()


def decode_blob_values(values: Iterable[bytes | None]) -> list[bytes | None]:
    """`decode_blob_value` of each."""
    found: list[bytes | None] = []
    for value in values:
        if value and (head := _HEADS[len(value)]) is not None and value.startswith(head):
            found.append(value[len(head) :])
        else:
            found.append(decode_blob_value(value))
    return found


def wakes_key(partition: int) -> str:
    """Sorted set of the customers of a partition who want to be woken, by ms."""
    return f"kairos:wakes:{partition}"


class RedisStateStore:
    """A `features.store.StateStore` on Redis; a call to a dead server fails at once.

    `redis_url` is redis://host:port[/db]; who has connected already hands in `client` and `wires`. Errors of
    every call: `redis.RedisError`.
    """

    rewritten: frozenset[str] = frozenset()
    """States are read as they are stored (see `stream.swap` for those that are not)."""

    def __init__(
        self,
        redis_url: str,
        project: str,
        *,
        timeout_s: float = 5.0,
        client: Any = None,
        wires: Wires | None = None,
    ) -> None:
        self.project = project
        self._redis: Any = client or redis.Redis.from_url(
            redis_url, retry=Retry(NoBackoff(), 0), socket_timeout=timeout_s, socket_connect_timeout=timeout_s
        )
        # What comes by the thousand goes past redis-py, whose time for a reply is more than Redis'.
        self._wires = wires or Wires(redis_url, timeout_s)
        self._commands = Commands(project, FIELDS, TS_FIELD)

    def read_many(self, customers: Sequence[str]) -> list[bytes | None]:
        """The state of each customer, in order; None of one nobody knows."""
        if not customers:
            return []
        replies = self._ask(self._commands.reads(customers), len(customers))
        recents, settled = (decode_blob_values(column) for column in zip(*replies, strict=True))
        return [
            None if recent is None else recent + (part or b"")
            for recent, part in zip(recents, settled, strict=True)
        ]

    def write_many(self, states: Sequence[tuple[str, Values, int]]) -> None:
        """Write (customer, its state or the parts of it that changed, time of its newest event)."""
        if states:
            parts = [
                (customer, parts_of(values) if isinstance(values, bytes) else values, newest)
                for customer, values, newest in states
            ]
            self._ask(self._commands.writes(parts), len(parts))

    def watermarks(self) -> dict[int, int]:
        """For each partition up to when its log has been read and its states are written."""
        found = self._redis.hgetall(WATERMARKS_KEY)
        return {int(partition): int(ms) for partition, ms in found.items()}

    def set_watermark(self, partition: int, ms: int) -> None:
        """Say that every state of the partition holds every event before `ms`."""
        self._redis.hset(WATERMARKS_KEY, str(partition), str(ms))

    def due(self, partition: int, before_ms: int) -> list[str]:
        """The customers of the partition who asked to be woken at or before `before_ms`, earliest first."""
        found = self._redis.zrangebyscore(wakes_key(partition), "-inf", before_ms)
        return [customer.decode() for customer in found]

    def set_wakes(self, partition: int, wakes: Mapping[str, int | None]) -> None:
        """When each of these customers wants to be woken; None: not at all."""
        key = wakes_key(partition)
        at: dict[Any, Any] = {customer: ms for customer, ms in wakes.items() if ms is not None}
        never = [customer for customer, ms in wakes.items() if ms is None]
        pipe = self._redis.pipeline(transaction=False)
        if at:
            pipe.zadd(key, at)
        if never:
            pipe.zrem(key, *never)
        if at or never:
            pipe.execute()

    def close(self) -> None:
        """Close the connections."""
        self._wires.close()
        self._redis.close()

    def _ask(self, commands: Iterable[bytes], count: int) -> list[Any]:
        """The replies of many commands. Errors: `redis.RedisError`, as redis-py would raise it."""
        try:
            replies = self._wires.ask(commands, count)
        except TimeoutError as error:
            raise redis.TimeoutError(str(error)) from error
        except OSError as error:
            raise redis.ConnectionError(str(error)) from error
        if Refused in set(map(type, replies)):
            raise _error_of(str(next(reply for reply in replies if isinstance(reply, Refused))))
        return replies


def _error_of(refusal: str) -> redis.RedisError:
    """What a Redis that refuses is to be taken for: away for now, or wrong."""
    kinds: Mapping[str, type[redis.RedisError]] = {
        "LOADING": redis.BusyLoadingError,
        "READONLY": redis.ReadOnlyError,
        "OOM": redis.exceptions.OutOfMemoryError,
        "NOAUTH": redis.AuthenticationError,
    }
    return kinds.get(refusal.partition(" ")[0], redis.ResponseError)(refusal)
