"""Merging what a backfill found into states, a few customers at a time, by the worker that owns them."""

import time
from collections.abc import Sequence
from typing import Any, Final

import redis

from features.convert import digest_of, graft
from features.feast_store import (
    FIELDS,
    TS_FIELD,
    encode_blob_value,
    encode_timestamp,
    feast_key,
    join_parts,
)
from features.fold import State, empty
from features.plan import Plan
from features.state import parts_of
from features.warming import merged_key, ready_key, side_key
from stream.counters import Counters
from stream.lease import Guard
from stream.state_cache import StateCache
from stream.swap import SwappingReader, read_record

AT_ONCE: Final = 64
"""Customers merged between two micro-batches: some milliseconds."""

LOOK_EVERY_S: Final = 1.0


class Grafter:
    """Takes what is ready of its partitions and merges it, each customer once however often it crashes.

    A state, that it was merged, and that the find is used up are written in one transaction: on one Redis. In
    a cluster they lie in different slots, and a crash in between may merge twice.
    """

    def __init__(
        self,
        client: Any,
        project: str,
        plan: Plan,
        mine: Sequence[int],
        reader: SwappingReader,
        cache: StateCache,
        counters: Counters,
        guard: Guard,
    ) -> None:
        self._redis = client
        self._project = project
        self._plan = plan
        self._mine = mine
        self._reader = reader
        self._cache = cache
        self._counters = counters
        self._guard = guard
        self._look = 0.0

    def step(self) -> bool:
        """Merge a few; whether there was anything. Harmless to repeat."""
        found = False
        if any(self._reader.lacking.values()) and time.monotonic() >= self._look:
            self._look = time.monotonic() + LOOK_EVERY_S
            self._reader.learn(read_record(self._redis))
        for partition in self._mine:
            if self._reader.lacking[partition]:
                found = self._step(partition) or found
        return found

    def _step(self, partition: int) -> bool:
        names = [raw.decode() for raw in self._redis.lrange(ready_key(partition), 0, AT_ONCE - 1)]
        if not names:
            return False
        customers = {customer: place for place, _, customer in (each.partition(" ") for each in names)}
        pipeline = self._redis.pipeline(transaction=False)
        for customer, place in customers.items():
            pipeline.get(side_key(customer))
            pipeline.sismember(merged_key(partition, place), customer)
            pipeline.hmget(feast_key(self._project, customer), FIELDS)
        answers = iter(pipeline.execute())
        writes = self._redis.pipeline(transaction=True)
        grown: dict[str, bytes] = {}
        for customer, place in customers.items():
            side, merged, held = next(answers), next(answers), next(answers)
            writes.delete(side_key(customer))
            if side is None or merged or digest_of(side) != self._plan.digest:
                continue
            grown[customer] = blob = graft(self._plan, self._state(customer, held), side)
            instant = encode_timestamp(max(0, State(blob).newest))
            fields = dict(zip(FIELDS, map(encode_blob_value, parts_of(blob)), strict=True))
            writes.hset(feast_key(self._project, customer), mapping=fields | {TS_FIELD: instant})
            writes.sadd(merged_key(partition, place), customer)
        writes.ltrim(ready_key(partition), len(names), -1)
        self._guard()
        try:
            writes.execute()
        except redis.RedisError:
            for customer in grown:  # nobody knows whether it was done: read them again
                self._cache.forget(customer)
            raise
        for customer, blob in grown.items():
            if (entry := self._cache.get(customer)) is not None:
                recent, settled = parts_of(blob)
                self._cache.replace([entry], [recent], [settled])
                entry.changed = False
        self._counters.add("backfilled", len(grown))
        return True

    def _state(self, customer: str, held: Sequence[bytes | None]) -> bytes:
        """The customer's state as the fold would go on from it."""
        if (entry := self._cache.get(customer)) is not None:
            return entry.blob
        (blob,) = self._reader.opened([customer], [join_parts(held)])
        return empty(self._plan).blob if blob is None else blob
