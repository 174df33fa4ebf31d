"""Redis as the dataflows use it: waited for at start, and again whenever it goes away."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from events.identity import Id, Identities
from features.store import StateStore, StoreUnavailable, Values
from stream.lease import Guard, nobody_else
from stream.patience import Stopped, persist

log = logging.getLogger("kairos.stream")
T = TypeVar("T")


def connect_redis(url: str, wait_s: float, stop: threading.Event) -> Any:
    """A client of a Redis that has answered; says every five seconds what it waits for.

    Errors: `StoreUnavailable` after `wait_s` seconds; `Stopped` when asked to stop before.
    """
    client: Any = redis.Redis.from_url(
        url, retry=Retry(NoBackoff(), 0), socket_timeout=10.0, socket_connect_timeout=2.0
    )
    started = time.monotonic()
    told = started - 5.0
    while True:
        try:
            client.ping()
            return client
        except redis.RedisError as error:
            waited = time.monotonic() - started
            if waited >= wait_s:
                raise StoreUnavailable(
                    f"{url}: expected a Redis that answers, found: {error}; waited {waited:.0f} s. "
                    "Start it (`make up` brings one) or set KAIROS_REDIS"
                ) from error
            if time.monotonic() - told >= 5.0:
                told = time.monotonic()
                log.warning("waiting for Redis at %s (%.0f s more): %s", url, wait_s - waited, error)
        if stop.wait(0.1):
            raise Stopped(f"Redis at {url}")


class SteadyResolver:
    """`Identities`, asked again while Redis is away; resolving and linking are harmless to repeat."""

    def __init__(self, identities: Identities, stop: threading.Event) -> None:
        self._identities = identities
        self._stop = stop

    def resolve_many(self, ids: Sequence[Id]) -> list[str]:
        """See `Identities.resolve_many`."""
        return persist(lambda: self._identities.resolve_many(ids), "resolving customers in Redis", self._stop)

    def link(self, ids: Sequence[Id]) -> str:
        """See `Identities.link`."""
        return persist(lambda: self._identities.link(ids), "linking ids in Redis", self._stop)


class SteadyStore:
    """A state store, asked again while Redis is away; each of its writes is absolute.

    `guard` is asked right before every try of a write, and stops it by raising.
    """

    def __init__(self, store: StateStore, stop: threading.Event, guard: Guard = nobody_else) -> None:
        self._store = store
        self._stop = stop
        self._guard = guard

    def read_many(self, customers: Sequence[str]) -> list[bytes | None]:
        """See `StateStore.read_many`."""
        return self._persist(lambda: self._store.read_many(customers), "reading states from Redis")

    def write_many(self, states: Sequence[tuple[str, Values, int]]) -> None:
        """See `StateStore.write_many`."""
        self._write(lambda: self._store.write_many(states), "writing states to Redis")

    def watermarks(self) -> dict[int, int]:
        """See `StateStore.watermarks`."""
        return self._persist(self._store.watermarks, "reading watermarks from Redis")

    def set_watermark(self, partition: int, ms: int) -> None:
        """See `StateStore.set_watermark`."""
        self._write(lambda: self._store.set_watermark(partition, ms), "writing a watermark to Redis")

    def due(self, partition: int, before_ms: int) -> list[str]:
        """See `StateStore.due`."""
        return self._persist(lambda: self._store.due(partition, before_ms), "reading wake-ups from Redis")

    def set_wakes(self, partition: int, wakes: Mapping[str, int | None]) -> None:
        """See `StateStore.set_wakes`."""
        self._write(lambda: self._store.set_wakes(partition, wakes), "writing wake-ups to Redis")

    def _write(self, action: Callable[[], None], what: str) -> None:
        def guarded() -> None:
            self._guard()
            action()

        self._persist(guarded, what)

    def _persist(self, action: Callable[[], T], what: str) -> T:
        return persist(action, what, self._stop)


def say_and_mind(stop: threading.Event) -> Callable[[str], None]:
    """Says what is waited for, and gives up when asked to stop."""

    def say(line: str) -> None:
        if stop.is_set():
            raise Stopped(line)
        log.warning("%s", line)

    return say
