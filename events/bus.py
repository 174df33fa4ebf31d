"""The event bus: topics of ordered partitions, where each record keeps its position for ever."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from events.faults import Refusal

log = logging.getLogger("kairos.bus")

MAX_MESSAGE_BYTES = 32_000_000
"""What a bus must pass: an event of 10 MB still fits when base64 has made it a dead letter."""


class BusUnavailable(Refusal):
    """The bus does not answer, or takes no records; the message names its address and what to do."""

    exit_code = 3


class PositionLost(Refusal):
    """The record behind a reader's position is not there to be read: trimmed, or of another bus.

    Who read on would miss records unknowingly.
    """

    exit_code = 4

    def __init__(self, place: str, after: int, first: int, last: int) -> None:
        gone = "those before are trimmed" if first > after + 1 else "was the bus emptied or exchanged?"
        super().__init__(
            f"{place}: expected to read on from {after + 1}, found records {first} to {last} ({gone}); "
            "rebuild what was read from here, or bring the bus back"
        )


class UnknownTopic(Exception):
    """No such topic on this bus; `Bus.ensure` makes it."""


class Message(NamedTuple):
    """What is published: bytes for one partition of a topic."""

    topic: str
    partition: int
    key: bytes
    value: bytes


class Record(NamedTuple):
    """What is read: a message and its position, counted from 0 without gaps in its partition."""

    topic: str
    partition: int
    position: int
    key: bytes
    value: bytes


class Reader(Protocol):
    """One partition, read in order."""

    def read(self, limit: int, wait_ms: int) -> list[Record]:
        """At most `limit` next records; waits up to `wait_ms` for the first, so none means none came.

        Errors: `PositionLost` when the next record was trimmed or the bus ends before it, `BusUnavailable`.
        """

    def close(self) -> None:
        """Give the connection back."""


class Bus(Protocol):
    """Topics of ordered partitions; one object may be used by several threads, a reader by one."""

    def ensure(self, topics: Mapping[str, int]) -> None:
        """Make the topics that do not exist yet, each with its partitions; what exists stays.

        Errors: `ValueError` when a topic exists with another number of partitions.
        """

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has. Errors: `UnknownTopic`."""

    def publish(self, messages: Sequence[Message]) -> None:
        """Append the messages in order; returns when every one is acknowledged as durable.

        Errors: `BusUnavailable` when one or more were not acknowledged: they may or may not have
        been kept, so publishing again may repeat them. `UnknownTopic`, `ValueError` for a partition
        that does not exist or a value too long; then nothing was published.
        """

    def reader(self, topic: str, partition: int, after: int = -1) -> Reader:
        """Read on from the record behind position `after` (-1: from the first ever)."""

    def last(self, topic: str, partition: int) -> int:
        """Position of the newest record ever, -1 when there was none."""

    def first(self, topic: str, partition: int) -> int:
        """Position of the oldest record kept; one past `last` when none is."""

    def trim(self, topic: str, partition: int, below: int) -> None:
        """Let go of the records with a position less than `below`."""

    def close(self) -> None:
        """Close every connection."""


def connect(url: str, *, timeout_s: float = 30.0, waiting: Callable[[str], None] | None = None) -> Bus:
    """A bus that has answered: `redis://host:port` or `kafka://host:port`.

    While it does not answer, `waiting` (or the log) is told what is waited for, every five seconds.
    Errors: `BusUnavailable` after `timeout_s`; `ValueError` for an address of another kind.
    """
    scheme = urlsplit(url).scheme
    attempt: Callable[[], Bus]
    if scheme == "redis":
        from events.redis_bus import RedisBus

        attempt = lambda: RedisBus(url)  # noqa: E731
    elif scheme == "kafka":
        from events.kafka_bus import KafkaBus

        attempt = lambda: KafkaBus(url)  # noqa: E731
    else:
        raise ValueError(f"bus: expected redis://host:port or kafka://host:port, found {url!r}")
    tell = waiting or log.warning
    started = time.monotonic()
    told = started - 5.0
    while True:
        try:
            return attempt()
        except BusUnavailable as error:
            waited = time.monotonic() - started
            if waited >= timeout_s:
                raise BusUnavailable(
                    f"{error}; waited {waited:.0f} s. Start it (`make up` brings one) or set KAIROS_BUS"
                ) from error
            if time.monotonic() - told >= 5.0:
                told = time.monotonic()
                tell(f"waiting for the bus at {url} ({timeout_s - waited:.0f} s more): {error}")
        time.sleep(min(0.1, timeout_s))
