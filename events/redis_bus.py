"""The bus on Redis Streams, for one machine: a server of its own with `appendfsync always`."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from events.bus import MAX_MESSAGE_BYTES, BusUnavailable, Message, PositionLost, Record, UnknownTopic
from events.redis_wire import Refused, Wire, Wires, pack

_TOPICS = b"kairos:bus:topics"
_TIMEOUT_S = 10.0
_BLOCK_MS = 2_000
_CHECK_S = 1.0

# What Record(...) does, without a call in Python for each.
_record = cast(Callable[[tuple[str, int, int, bytes, bytes]], Record], partial(tuple.__new__, Record))


def _raw(reply: Any, **_: Any) -> Any:
    return reply


class RedisBus:
    """Each partition is a stream with ids `0-1`, `0-2`, ...: position + 1, counted by Redis without gaps."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._partitions: dict[str, int] = {}
        self._redis: Any = redis.Redis.from_url(
            url,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=2.0,
        )
        # redis-py knows these replies by name and would make dicts of them.
        self._redis.set_response_callback("XINFO STREAM", _raw)
        self._wires = Wires(url, _TIMEOUT_S)
        self.do("PING")  # INFO alone would answer while it still loads its data
        version = str(self.do("INFO", "server").get("redis_version", "0"))
        if int(version.split(".")[0]) < 7:
            raise ValueError(
                f"{url}: expected Redis 7 or newer (it counts a stream's positions), found {version}"
            )

    def ensure(self, topics: Mapping[str, int]) -> None:
        """See `Bus.ensure`."""
        for topic, wanted in topics.items():
            self.do("HSETNX", _TOPICS, topic, wanted)
            found = self.partitions(topic)
            if found != wanted:
                raise ValueError(
                    f"{self.url}: topic {topic}: expected {wanted} partitions, found {found}; "
                    f"set KAIROS_PARTITIONS={found} or start with a new folder"
                )

    def partitions(self, topic: str) -> int:
        """See `Bus.partitions`."""
        known = self._partitions.get(topic)
        if known is None:
            found = self.do("HGET", _TOPICS, topic)
            if found is None:
                raise UnknownTopic(f"{self.url}: no topic {topic!r}; Bus.ensure makes it")
            known = self._partitions[topic] = int(found)
        return known

    def publish(self, messages: Sequence[Message]) -> None:
        """See `Bus.publish`; one pipeline, one round trip."""
        if not messages:
            return
        commands = self._commands(messages)
        try:
            replies = self._wires.ask([commands], len(messages))
        except OSError as error:
            raise self.unavailable(error) from error
        for reply in replies:
            if isinstance(reply, Refused):
                raise self.unavailable(reply)

    def reader(self, topic: str, partition: int, after: int = -1) -> "RedisReader":
        """See `Bus.reader`."""
        self._check(topic, partition)
        return RedisReader(self, topic, partition, after)

    def last(self, topic: str, partition: int) -> int:
        """See `Bus.last`."""
        self._check(topic, partition)
        return self.ends(topic, partition)[1]

    def first(self, topic: str, partition: int) -> int:
        """See `Bus.first`."""
        self._check(topic, partition)
        return self.ends(topic, partition)[0]

    def trim(self, topic: str, partition: int, below: int) -> None:
        """See `Bus.trim`."""
        self._check(topic, partition)
        self.do("XTRIM", _key(topic, partition), "MINID", f"0-{max(below, 0) + 1}")

    def close(self) -> None:
        """See `Bus.close`."""
        self._wires.close()
        self._redis.close()

    def ends(self, topic: str, partition: int) -> tuple[int, int]:
        """First kept and last ever position of a partition."""
        try:
            reply = self._redis.execute_command("XINFO STREAM", _key(topic, partition))
        except redis.ResponseError as error:
            if "no such key" in str(error):
                return 0, -1
            raise self.unavailable(error) from error
        except redis.RedisError as error:
            raise self.unavailable(error) from error
        info = dict(zip(reply[::2], reply[1::2], strict=True))
        last = _position(info[b"last-generated-id"])
        first = _position(info[b"recorded-first-entry-id"]) if info[b"length"] else last + 1
        return first, last

    def do(self, *command: Any) -> Any:
        """One command, answered or `BusUnavailable`."""
        try:
            return self._redis.execute_command(*command)
        except redis.RedisError as error:
            raise self.unavailable(error) from error

    def open_wire(self) -> Wire:
        """A connection of one's own."""
        try:
            return Wire(self.url, _TIMEOUT_S)
        except OSError as error:
            raise self.unavailable(error) from error

    def unavailable(self, error: Exception) -> BusUnavailable:
        """The error that says what Redis did instead of its work."""
        return BusUnavailable(f"{self.url}: expected a Redis that takes records, found: {error}")

    def _check(self, topic: str, partition: int) -> None:
        count = self.partitions(topic)
        if not 0 <= partition < count:
            raise ValueError(f"{self.url}: {topic}: expected a partition below {count}, found {partition}")

    def _commands(self, messages: Sequence[Message]) -> bytes:
        """The XADD of every message, once all are known to be publishable.

        Packed here, column by column: redis-py takes six times as long to pack one command after the other.
        """
        topics, partitions, keys, values = zip(*messages, strict=True)
        heads = _Memo(self._head)
        sizes = _Memo(lambda size: b"$1\r\nv\r\n$%d" % size)
        parts = [b""] * (4 * len(messages) + 1)
        parts[0:-1:4] = map(heads.__getitem__, zip(topics, partitions, map(len, keys), strict=True))
        parts[1::4] = keys
        parts[2::4] = map(sizes.__getitem__, map(len, values))
        parts[3::4] = values
        if max(sizes) > MAX_MESSAGE_BYTES:
            raise ValueError(f"{self.url}: expected at most {MAX_MESSAGE_BYTES} bytes, found {max(sizes)}")
        return b"\r\n".join(parts)

    def _head(self, place: tuple[str, int, int]) -> bytes:
        """`XADD stream 0-* k KEY v VALUE` up to the size of the key; `0-*` asks for the next position."""
        topic, partition, size = place
        self._check(topic, partition)
        stream = _key(topic, partition)
        return b"*7\r\n$4\r\nXADD\r\n$%d\r\n%b\r\n$3\r\n0-*\r\n$1\r\nk\r\n$%d" % (len(stream), stream, size)


class _Memo(dict[Any, bytes]):
    """What `make` gives, made once for each key."""

    def __init__(self, make: Callable[[Any], bytes]) -> None:
        self._make = make

    def __missing__(self, key: Any) -> bytes:
        made = self[key] = self._make(key)
        return made


class RedisReader:
    """One stream read in order."""

    def __init__(self, bus: RedisBus, topic: str, partition: int, after: int) -> None:
        self._bus = bus
        self._topic = topic
        self._partition = partition
        self._key = _key(topic, partition)
        self._after = after
        self._check_at = 0.0
        self._wire: Wire | None = None

    def read(self, limit: int, wait_ms: int) -> list[Record]:
        """See `Reader.read`."""
        deadline = time.monotonic() + wait_ms / 1_000
        while True:
            left = min(int((deadline - time.monotonic()) * 1_000), _BLOCK_MS)
            entries = self._ask(limit, left)
            if entries:
                break
            if time.monotonic() > self._check_at:
                # An empty answer may also mean that what follows our position is gone.
                self._check_at = time.monotonic() + _CHECK_S
                first, last = self._bus.ends(self._topic, self._partition)
                if first > self._after + 1 or last < self._after:
                    raise self._lost(first, last)
            if left < _BLOCK_MS:
                return []
        first, last = _position(entries[0][0]), _position(entries[-1][0])
        if first != self._after + 1:
            raise self._lost(*self._bus.ends(self._topic, self._partition))
        self._after = last
        positions: Iterable[int] = range(first, last + 1)
        if last - first != len(entries) - 1:  # somebody deleted records one by one
            positions = [_position(ident) for ident, _ in entries]
        keys, values = [pairs[1] for _, pairs in entries], [pairs[3] for _, pairs in entries]
        return list(map(_record, zip(repeat(self._topic), repeat(self._partition), positions, keys, values)))

    def close(self) -> None:
        """See `Reader.close`."""
        if self._wire is not None:
            self._wire.close()
        self._wire = None

    def _ask(self, limit: int, wait_ms: int) -> Sequence[tuple[bytes, list[bytes]]]:
        """The entries behind our position: (id, [k, key, v, value]); waits for the first."""
        if self._wire is None:
            self._wire = self._bus.open_wire()
        # BLOCK 0 would wait for ever.
        wait = ("BLOCK", wait_ms) if wait_ms > 0 else ()
        command = pack("XREAD", "COUNT", limit, *wait, "STREAMS", self._key, f"0-{self._after + 1}")
        try:
            (reply,) = self._wire.ask(command)
        except OSError as error:
            self._wire = None
            raise self._bus.unavailable(error) from error
        if isinstance(reply, Refused):
            raise self._bus.unavailable(reply)
        return reply[0][1] if reply else ()

    def _lost(self, first: int, last: int) -> PositionLost:
        place = f"{self._bus.url}: {self._topic}/{self._partition}"
        return PositionLost(place, self._after, first, last)


def _key(topic: str, partition: int) -> bytes:
    return f"kairos:bus:{topic}:{partition}".encode()


def _position(ident: bytes) -> int:
    return int(ident[2:]) - 1
