"""What a process has done so far, as absolute numbers in Redis for metrics and people to read."""

from collections.abc import Mapping
from typing import Any, Final

from events.counters import counters_key
from stream.wall import MACHINE, Clock

EVERY_S: Final = 1.0


class Counters:
    """Counters of one process, read back at start and written about once a second.

    They are for people: a process that is killed may have done up to a second's work that they do
    not show. Where a number must be exact it is kept with the state it belongs to.
    """

    def __init__(self, redis: Any, process: str, clock: Clock = MACHINE) -> None:
        self._redis = redis
        self._clock = clock
        self._key = counters_key(process)
        self.values: dict[str, int] = {
            name.decode(): int(value) for name, value in redis.hgetall(self._key).items()
        }
        self._written: dict[str, int] = dict(self.values)
        self._due = 0.0

    def add(self, name: str, by: int = 1) -> None:
        """Count on."""
        self.values[name] = self.values.get(name, 0) + by

    def set(self, name: str, value: int) -> None:
        """Say what is so now, such as a lag."""
        self.values[name] = value

    def due(self) -> bool:
        """Whether the last write is a second ago."""
        return self._clock.monotonic() >= self._due

    def flush(self, beside: Mapping[str, Mapping[str, int]] | None = None) -> None:
        """Write what has changed, with the fields of other hashes `beside` it, in one transaction."""
        self._due = self._clock.monotonic() + EVERY_S
        changed = {name: value for name, value in self.values.items() if self._written.get(name) != value}
        if not changed and not beside:
            return
        pipeline = self._redis.pipeline(transaction=True)
        if changed:
            pipeline.hset(self._key, mapping=changed)
        for key, fields in (beside or {}).items():
            if fields:
                pipeline.hset(key, mapping=fields)
        pipeline.execute()
        self._written.update(changed)
