"""States in Redis, in Feast's own layout, written without Feast: what is written here, Feast's SDK reads.

Layout of Feast 0.67 (entity key version 3): one hash a customer, its key the join key's name and value
and then the project; one field for each feature, named by a hash of `view:feature`, holding a protobuf
`Value`; one field `_ts:view` holding a protobuf `Timestamp`.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import mmh3
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

JOIN_KEY = "customer_id"
VIEW = "customer_state"
FEATURE = "blob"

WATERMARKS_KEY = "kairos:watermarks"
"""Hash: partition -> ms."""

_STRING = 2


def field_of(view: str, feature: str) -> bytes:
    """The field of a customer's hash that holds this feature.

    >>> field_of("customer_state", "blob").hex()
    '8d5c13ae'
    """
    return struct.pack("<I", mmh3.hash(f"{view}:{feature}", signed=False))


BLOB_FIELD = field_of(VIEW, FEATURE)
TS_FIELD = f"_ts:{VIEW}".encode()

_PREFIX = struct.pack("<III", 1, _STRING, len(JOIN_KEY)) + JOIN_KEY.encode()


def feast_key(project: str, customer: str) -> bytes:
    """The key of a customer's hash.

    >>> feast_key("kairos", "{007}abc")[-14:]
    b'{007}abckairos'
    """
    value = customer.encode()
    return _PREFIX + struct.pack("<II", _STRING, len(value)) + value + project.encode()


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
        raise ValueError(f"feature {VIEW}:{FEATURE}: expected a bytes value, found {value[:12]!r}...")
    return value[at:]


def encode_timestamp(ms: int) -> bytes:
    """The instant as a protobuf `Timestamp`."""
    seconds, rest = divmod(ms, 1000)
    encoded = b"\x08" + varint(seconds) if seconds else b""
    return encoded + (b"\x10" + varint(rest * 1_000_000) if rest else b"")


def varint(value: int) -> bytes:
    """A whole number as protobuf writes it."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def wakes_key(partition: int) -> str:
    """Sorted set of the customers of a partition who want to be woken, by ms."""
    return f"kairos:wakes:{partition}"


class RedisStateStore:
    """A `features.store.StateStore` on Redis; a call to a dead server fails at once.

    `redis_url` is redis://host:port[/db]. Errors of every call: `redis.RedisError`.
    """

    def __init__(self, redis_url: str, project: str, *, timeout_s: float = 5.0) -> None:
        self.project = project
        self._redis: Any = Redis.from_url(
            redis_url, retry=Retry(NoBackoff(), 0), socket_timeout=timeout_s, socket_connect_timeout=timeout_s
        )

    def read_many(self, customers: Sequence[str]) -> list[bytes | None]:
        """The state of each customer, in order; None of one nobody knows."""
        if not customers:
            return []
        pipe = self._redis.pipeline(transaction=False)
        for customer in customers:
            pipe.hget(feast_key(self.project, customer), BLOB_FIELD)
        return [decode_blob_value(value) for value in pipe.execute()]

    def write_many(self, states: Sequence[tuple[str, bytes, int]]) -> None:
        """Write (customer, state, time of its newest event)."""
        if not states:
            return
        pipe = self._redis.pipeline(transaction=False)
        for customer, blob, newest_ms in states:
            key = feast_key(self.project, customer)
            instant = encode_timestamp(max(0, newest_ms))
            pipe.hset(key, mapping={BLOB_FIELD: encode_blob_value(blob), TS_FIELD: instant})
        pipe.execute()

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
        self._redis.close()
