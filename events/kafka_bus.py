"""The bus on Apache Kafka; the one door to confluent-kafka."""

import socket
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from events.bus import MAX_MESSAGE_BYTES, BusUnavailable, Message, PositionLost, Record, UnknownTopic

_TIMEOUT_S = 5.0
_PROOF_S = 1.0
_NO_LEADER = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
# Above the longest value: its key and the batch around it count too.
_WIRE_BYTES = MAX_MESSAGE_BYTES + 1_000_000


class KafkaBus:
    """Positions are Kafka's offsets; partitions are assigned by us, so no group and no committed offsets.

    Where a domain publishes in transactions Kafka keeps positions for its own marks: gaps there are no loss.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._config: dict[str, Any] = {
            "bootstrap.servers": urlsplit(url).netloc,
            "broker.address.family": "v4",
            "socket.timeout.ms": int(_TIMEOUT_S * 1_000),
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 500,
            "allow.auto.create.topics": False,
            "message.max.bytes": _WIRE_BYTES,
            "log_level": 0,
        }
        self._partitions: dict[str, int] = {}
        self._knock()
        self._admin = AdminClient(self._config)
        self._watcher = self.consumer()
        self._watching = threading.Lock()
        self._producer: Any = None
        self._publishing = threading.Lock()
        self._metadata()

    def ensure(self, topics: Mapping[str, int]) -> None:
        """See `Bus.ensure`."""
        # Who makes topics will publish: the producer takes a second to get its id, so let it begin.
        with self._publishing:
            self._open_producer()
        existing = self._metadata()
        new = [
            NewTopic(
                topic,
                num_partitions=count,
                replication_factor=-1,
                # Kept until trimmed, whatever the broker does with other topics.
                config={"max.message.bytes": str(_WIRE_BYTES), "retention.ms": "-1", "retention.bytes": "-1"},
            )
            for topic, count in topics.items()
            if topic not in existing
        ]
        if new:
            for future in self._admin.create_topics(new, operation_timeout=_TIMEOUT_S).values():
                try:
                    future.result()
                except KafkaException as error:
                    if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                        raise self.unavailable(error) from error
        deadline = time.monotonic() + _TIMEOUT_S
        while not set(topics) <= set(existing := self._metadata()):
            if time.monotonic() > deadline:
                raise self.unavailable(f"no topics {sorted(set(topics) - set(existing))} after making them")
            time.sleep(0.02)
        for topic, wanted in topics.items():
            if existing[topic] != wanted:
                raise ValueError(
                    f"{self.url}: topic {topic}: expected {wanted} partitions, found {existing[topic]}; "
                    f"set KAIROS_PARTITIONS={existing[topic]} or use another broker"
                )

    def partitions(self, topic: str) -> int:
        """See `Bus.partitions`."""
        if topic not in self._partitions:
            self._metadata()
        if topic not in self._partitions:
            raise UnknownTopic(f"{self.url}: no topic {topic!r}; Bus.ensure makes it")
        return self._partitions[topic]

    def publish(self, messages: Sequence[Message]) -> None:
        """See `Bus.publish`; what Kafka has not acknowledged after five seconds has failed."""
        for message in messages:
            self.check(message.topic, message.partition)
            if len(message.value) > MAX_MESSAGE_BYTES:
                raise ValueError(
                    f"{message.topic}: expected at most {MAX_MESSAGE_BYTES} bytes, found {len(message.value)}"
                )
        failures: list[KafkaError] = []

        def acknowledged(error: KafkaError | None, _: object) -> None:
            if error is not None:
                failures.append(error)

        with self._publishing:
            producer = self._open_producer()
            produce = producer.produce
            for topic, partition, key, value in messages:
                while True:
                    try:
                        produce(topic, value, key, partition, on_delivery=acknowledged)
                        break
                    except BufferError:
                        producer.poll(0.1)
            left = producer.flush(2 * _TIMEOUT_S)
            if failures or left:
                # What is left in it must not arrive behind what the caller publishes next.
                self._producer = None
                producer.purge()
                producer.flush(0)
                why = failures[0].str() if failures else "no acknowledgement"
                raise self.unavailable(f"{why} for {len(failures) or left} of {len(messages)} records")

    def reader(self, topic: str, partition: int, after: int = -1) -> "KafkaReader":
        """See `Bus.reader`."""
        self.check(topic, partition)
        return KafkaReader(self, topic, partition, after)

    def last(self, topic: str, partition: int) -> int:
        """See `Bus.last`."""
        return self.ends(topic, partition)[1]

    def first(self, topic: str, partition: int) -> int:
        """See `Bus.first`."""
        return self.ends(topic, partition)[0]

    def trim(self, topic: str, partition: int, below: int) -> None:
        """See `Bus.trim`."""
        below = min(below, self.last(topic, partition) + 1)
        if below <= 0:
            return
        asked = self._admin.delete_records([TopicPartition(topic, partition, below)])
        try:
            for future in asked.values():
                future.result(_TIMEOUT_S)
        except (KafkaException, TimeoutError) as error:
            raise self.unavailable(error) from error

    def close(self) -> None:
        """See `Bus.close`."""
        with self._watching:
            self._watcher.close()
        with self._publishing:
            if self._producer is not None:
                self._producer.flush(_TIMEOUT_S)
                self._producer = None

    def ends(self, topic: str, partition: int) -> tuple[int, int]:
        """First kept and last ever position of a partition."""
        self.check(topic, partition)
        self._knock()
        deadline = time.monotonic() + _TIMEOUT_S
        while True:
            try:
                with self._watching:
                    low, high = self._watcher.get_watermark_offsets(
                        TopicPartition(topic, partition), timeout=_TIMEOUT_S, cached=False
                    )
            except KafkaException as error:
                # A topic just made, or a broker just started, may have no leader yet.
                if error.args[0].code() not in _NO_LEADER or time.monotonic() > deadline:
                    raise self.unavailable(error) from error
                time.sleep(0.05)
            else:
                return low, high - 1

    def check(self, topic: str, partition: int) -> None:
        """Refuse a partition that the topic does not have."""
        count = self._partitions.get(topic) or self.partitions(topic)
        if not 0 <= partition < count:
            raise ValueError(f"{self.url}: {topic}: expected a partition below {count}, found {partition}")

    def consumer(self) -> Any:
        """A consumer for assigned partitions, which says so when its position was trimmed."""
        return Consumer(
            {
                **self._config,
                "group.id": "kairos",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 100,
                "fetch.max.bytes": 2 * _WIRE_BYTES,
                "fetch.message.max.bytes": 4_000_000,
                "queued.max.messages.kbytes": 65_536,
                "receive.message.max.bytes": 4 * _WIRE_BYTES,
            }
        )

    def _knock(self) -> None:
        """Fail at once when no broker listens: librdkafka would try until its time-out."""
        refusals = []
        for broker in self._config["bootstrap.servers"].split(","):
            host, _, port = broker.rpartition(":")
            try:
                socket.create_connection((host, int(port)), timeout=_TIMEOUT_S).close()
            except (OSError, ValueError) as error:
                refusals.append(f"{broker}: {error}")
            else:
                return
        raise self.unavailable("; ".join(refusals))

    def _open_producer(self) -> Any:
        if self._producer is None:
            self._producer = Producer(
                {
                    **self._config,
                    "acks": "all",
                    "enable.idempotence": True,
                    # More than one, and a topic just made loses its first record: the broker refuses that
                    # batch while it has no leader yet, takes the next one as this producer's first, and
                    # then acknowledges the first one's retry as a duplicate without keeping it.
                    "max.in.flight.requests.per.connection": 1,
                    "linger.ms": 1,
                    "batch.num.messages": 10_000,
                    "message.timeout.ms": int(_TIMEOUT_S * 1_000),
                    "queue.buffering.max.messages": 1_000_000,
                    "queue.buffering.max.kbytes": 1_000_000,
                }
            )
        return self._producer

    def _metadata(self) -> dict[str, int]:
        """Every topic with its number of partitions, asked of the broker."""
        try:
            topics = self._admin.list_topics(timeout=_TIMEOUT_S).topics
        except KafkaException as error:
            raise self.unavailable(error) from error
        self._partitions = {name: len(topic.partitions) for name, topic in topics.items() if not topic.error}
        return self._partitions

    def unavailable(self, why: object) -> BusUnavailable:
        """The error that says what Kafka did instead of its work."""
        return BusUnavailable(f"{self.url}: expected a Kafka that takes records, found: {why}")


class KafkaReader:
    """One partition read in order."""

    def __init__(self, bus: KafkaBus, topic: str, partition: int, after: int) -> None:
        self._bus = bus
        self._topic = topic
        self._partition = partition
        self._after = after
        self._proved = time.monotonic()
        self._consumer = bus.consumer()
        self._consumer.assign([TopicPartition(topic, partition, after + 1)])

    def read(self, limit: int, wait_ms: int) -> list[Record]:
        """See `Reader.read`."""
        # consume() waits until it has all it was asked for: one record is waited for, the rest is taken.
        got = self._consumer.consume(1, wait_ms / 1_000)
        if got and limit > 1:
            got += self._consumer.consume(limit - 1, 0)
        records = []
        topic, partition = self._topic, self._partition
        for message in got:
            error = message.error()
            if error is None:
                records.append(
                    Record(topic, partition, message.offset(), message.key() or b"", message.value() or b"")
                )
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                raise self._lost()
            elif error.code() != KafkaError._PARTITION_EOF:
                raise self._bus.unavailable(error.str())
        if records:
            self._after = records[-1].position
        elif time.monotonic() - self._proved > _PROOF_S:
            # To librdkafka a broker that died looks like a partition where nothing happens.
            self._bus.ends(topic, partition)
            self._proved = time.monotonic()
        return records

    def close(self) -> None:
        """See `Reader.close`."""
        self._consumer.close()

    def _lost(self) -> PositionLost:
        place = f"{self._bus.url}: {self._topic}/{self._partition}"
        return PositionLost(place, self._after, *self._bus.ends(self._topic, self._partition))
