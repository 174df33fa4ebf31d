"""The bus on Redis Streams, for one machine: a server of its own with `appendfsync always`."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from events.bus import MAX_MESSAGE_BYTES, BusUnavailable, Message, PositionLost, Record, UnknownTopic

_TOPICS = b"kairos:bus:topics"
_TIMEOUT_S = 10.0
_BLOCK_MS = 2_000


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
        self._do("PING")

    def ensure(self, topics: Mapping[str, int]) -> None:
        """See `Bus.ensure`."""
        for topic, wanted in topics.items():
            self._do("HSETNX", _TOPICS, topic, wanted)
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
            found = self._do("HGET", _TOPICS, topic)
            if found is None:
                raise UnknownTopic(f"{self.url}: no topic {topic!r}; Bus.ensure makes it")
            known = self._partitions[topic] = int(found)
        return known

    def publish(self, messages: Sequence[Message]) -> None:
        """See `Bus.publish`; one pipeline, one round trip."""
        if not messages:
            return
        keys = self._keys(messages)
        pipeline = self._redis.pipeline(transaction=False)
        add = pipeline.execute_command
        for message in messages:
            add("XADD", keys[message.topic, message.partition], "0-*", b"k", message.key, b"v", message.value)
        try:
            pipeline.execute()
        except redis.RedisError as error:
            raise self._unavailable(error) from error

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
        self._do("XTRIM", _key(topic, partition), "MINID", f"0-{max(below, 0) + 1}")

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

    def _do(self, *command: Any) -> Any:
        try:
            return self._redis.execute_command(*command)
        except redis.RedisError as error:
            raise self._unavailable(error) from error

    def _check(self, topic: str, partition: int) -> None:
        count = self.partitions(topic)
        if not 0 <= partition < count:
            raise ValueError(f"{self.url}: {topic}: expected a partition below {count}, found {partition}")

    def _keys(self, messages: Sequence[Message]) -> dict[tuple[str, int], bytes]:
        """The stream of each partition used, once all messages are known to be publishable."""
        keys: dict[tuple[str, int], bytes] = {}
        for message in messages:
            if len(message.value) > MAX_MESSAGE_BYTES:
                raise ValueError(
                    f"{message.topic}: expected at most {MAX_MESSAGE_BYTES} bytes, found {len(message.value)}"
                )
            place = (message.topic, message.partition)
            if place not in keys:
                self._check(*place)
                keys[place] = _key(*place)
        return keys

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

    def read(self, limit: int, wait_ms: int) -> list[Record]:
        """See `Reader.read`."""
        deadline = time.monotonic() + wait_ms / 1_000
        while True:
            left = min(int((deadline - time.monotonic()) * 1_000), _BLOCK_MS)
            # BLOCK 0 would wait for ever.
            wait = ("BLOCK", left) if left > 0 else ()
            start = f"0-{self._after + 1}"
            reply = self._bus._do("XREAD", "COUNT", limit, *wait, "STREAMS", self._key, start)
            if reply:
                break
            if left < _BLOCK_MS:
                return []
        topic, partition = self._topic, self._partition
        records = [
            Record(topic, partition, int(ident[2:]) - 1, pairs[1], pairs[3]) for ident, pairs in reply[0][1]
        ]
        if records[0].position != self._after + 1:
            raise PositionLost(
                f"{self._bus.url}: {topic}/{partition}: expected the record at {self._after + 1}, found "
                f"{records[0].position} as the oldest kept; rebuild the reader's state from its first record"
            )
        self._after = records[-1].position
        return records

    def close(self) -> None:
        """See `Reader.close`; the connection belongs to the bus."""


def _key(topic: str, partition: int) -> bytes:
    return f"kairos:bus:{topic}:{partition}".encode()


def _position(ident: bytes) -> int:
    return int(ident[2:]) - 1
