"""The bus on Redis Streams, for one machine: a server of its own with `appendfsync always`."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from events.bus import MAX_MESSAGE_BYTES, BusUnavailable, Message, PositionLost, Record, UnknownTopic

_TOPICS = b"kairos:bus:topics"
_TAIL = b"%b$%d\r\n%b\r\n$1\r\nv\r\n$%d\r\n%b\r\n"
_TIMEOUT_S = 10.0
_BLOCK_MS = 2_000
_CHECK_S = 1.0


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
        # redis-py would turn every stream reply into dicts; the raw reply is read faster.
        for command in ("XREAD", "XINFO STREAM"):
            self._redis.set_response_callback(command, _raw)
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
        connection = None
        try:
            connection = self._redis.connection_pool.get_connection()
            connection.send_packed_command([commands])
            refusals = [reply for _ in messages if isinstance(reply := connection.read_response(), Exception)]
        except redis.RedisError as error:
            if connection is not None:
                connection.disconnect()
            raise self._unavailable(error) from error
        finally:
            if connection is not None:
                self._redis.connection_pool.release(connection)
        if refusals:
            raise self._unavailable(refusals[0])

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
        self._redis.close()

    def ends(self, topic: str, partition: int) -> tuple[int, int]:
        """First kept and last ever position of a partition."""
        try:
            reply = self._redis.execute_command("XINFO STREAM", _key(topic, partition))
        except redis.ResponseError as error:
            if "no such key" in str(error):
                return 0, -1
            raise self._unavailable(error) from error
        except redis.RedisError as error:
            raise self._unavailable(error) from error
        info = dict(zip(reply[::2], reply[1::2], strict=True))
        last = _position(info[b"last-generated-id"])
        first = _position(info[b"recorded-first-entry-id"]) if info[b"length"] else last + 1
        return first, last

    def do(self, *command: Any) -> Any:
        """One command, answered or `BusUnavailable`."""
        try:
            return self._redis.execute_command(*command)
        except redis.RedisError as error:
            raise self._unavailable(error) from error

    def _check(self, topic: str, partition: int) -> None:
        count = self.partitions(topic)
        if not 0 <= partition < count:
            raise ValueError(f"{self.url}: {topic}: expected a partition below {count}, found {partition}")

    def _commands(self, messages: Sequence[Message]) -> bytes:
        """The XADD of every message, once all are known to be publishable.

        Packed here: redis-py takes three times as long to pack one command after the other.
        """
        heads: dict[tuple[str, int], bytes] = {}
        commands = []
        for topic, partition, key, value in messages:
            head = heads.get((topic, partition))
            if head is None:
                self._check(topic, partition)
                head = heads[topic, partition] = _add(_key(topic, partition))
            if len(value) > MAX_MESSAGE_BYTES:
                raise ValueError(f"{topic}: expected at most {MAX_MESSAGE_BYTES} bytes, found {len(value)}")
            commands.append(
                b"%b$%d\r\n%b\r\n$1\r\nv\r\n$%d\r\n%b\r\n" % (head, len(key), key, len(value), value)
            )
        return b"".join(commands)

    def _unavailable(self, error: Exception) -> BusUnavailable:
        return BusUnavailable(f"{self.url}: expected a Redis that takes records, found: {error}")


class RedisReader:
    """One stream read in order."""

    def __init__(self, bus: RedisBus, topic: str, partition: int, after: int) -> None:
        self._bus = bus
        self._topic = topic
        self._partition = partition
        self._key = _key(topic, partition)
        self._after = after
        self._check_at = 0.0

    def read(self, limit: int, wait_ms: int) -> list[Record]:
        """See `Reader.read`."""
        deadline = time.monotonic() + wait_ms / 1_000
        while True:
            left = min(int((deadline - time.monotonic()) * 1_000), _BLOCK_MS)
            # BLOCK 0 would wait for ever.
            wait = ("BLOCK", left) if left > 0 else ()
            start = f"0-{self._after + 1}"
            reply = self._bus.do("XREAD", "COUNT", limit, *wait, "STREAMS", self._key, start)
            if reply:
                break
            if time.monotonic() > self._check_at:
                # An empty answer may also mean that what follows our position is gone.
                self._check_at = time.monotonic() + _CHECK_S
                first, last = self._bus.ends(self._topic, self._partition)
                if first > self._after + 1 or last < self._after:
                    raise self._lost(first, last)
            if left < _BLOCK_MS:
                return []
        topic, partition = self._topic, self._partition
        records = [
            Record(topic, partition, _position(ident), pairs[1], pairs[3]) for ident, pairs in reply[0][1]
        ]
        if records[0].position != self._after + 1:
            raise self._lost(*self._bus.ends(topic, partition))
        self._after = records[-1].position
        return records

    def close(self) -> None:
        """See `Reader.close`; the connection belongs to the bus."""

    def _lost(self, first: int, last: int) -> PositionLost:
        place = f"{self._bus.url}: {self._topic}/{self._partition}"
        return PositionLost(place, self._after, first, last)


def _key(topic: str, partition: int) -> bytes:
    return f"kairos:bus:{topic}:{partition}".encode()


def _add(key: bytes) -> bytes:
    """The beginning of `XADD key 0-* k KEY v VALUE` in Redis' protocol: `0-*` asks for the next position."""
    return b"*7\r\n$4\r\nXADD\r\n$%d\r\n%b\r\n$3\r\n0-*\r\n$1\r\nk\r\n" % (len(key), key)


def _position(ident: bytes) -> int:
    return int(ident[2:]) - 1
