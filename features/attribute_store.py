"""Attributes online: written by `features load` in Feast's layout, and only where they differ."""

from collections.abc import Mapping, Sequence
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from features.attribute import AttributeTable
from features.attribute_fields import LOADED_KEY, fields_of, fields_to_write, held_of
from features.attributes import Held, Version
from features.feast_store import feast_key


class RedisAttributeStore:
    """Attributes on Redis; a call to a dead server fails at once. Errors of calls: `redis.RedisError`."""

    def __init__(self, redis_url: str, project: str, *, timeout_s: float = 5.0) -> None:
        self.project = project
        self.redis: Any = Redis.from_url(
            redis_url, retry=Retry(NoBackoff(), 0), socket_timeout=timeout_s, socket_connect_timeout=timeout_s
        )

    def read_many(self, tables: Sequence[AttributeTable], customers: Sequence[str]) -> list[Held]:
        """What is held of each customer, in order; one round trip. Errors: `AttributesDamaged`."""
        fields = fields_of(tables)
        if not fields:
            return [Held((), ()) for _ in customers]
        pipe = self.redis.pipeline(transaction=False)
        pipe.hmget(LOADED_KEY, [table.name for table in tables])
        for customer in customers:
            pipe.hmget(feast_key(self.project, customer), fields)
        loaded, *rows = pipe.execute()
        return [held_of(tables, row, loaded) for row in rows]

    def loaded(self, tables: Sequence[AttributeTable]) -> list[int | None]:
        """From when on each table counts as loaded, ms; None when it never was."""
        if not tables:
            return []
        found = self.redis.hmget(LOADED_KEY, [table.name for table in tables])
        return [None if each is None else int(each) for each in found]

    def set_loaded(self, table: AttributeTable, since: int) -> None:
        """Say that the table counts as loaded from `since` (ms) on."""
        self.redis.hset(LOADED_KEY, table.name, str(since))

    def write_many(self, table: AttributeTable, rows: Mapping[str, Sequence[Version]]) -> int:
        """Make each customer's fields hold these versions, newest first, or nothing; how many differed.

        Two round trips; a customer's fields change all at once.
        """
        fields = [*fields_of([table]), f"_ts:{table.name}".encode()]
        reading = self.redis.pipeline(transaction=False)
        for customer in rows:
            reading.hmget(feast_key(self.project, customer), fields)
        writing = self.redis.pipeline(transaction=False)
        differing = 0
        for (customer, versions), found in zip(rows.items(), reading.execute(), strict=True):
            key = feast_key(self.project, customer)
            wanted: dict[Any, Any] = fields_to_write(table, versions) if versions else {}
            if [wanted.get(name) for name in fields] == found:
                continue
            differing += 1
            if wanted:
                writing.hset(key, mapping=wanted)
            else:
                writing.hdel(key, *fields)
        if differing:
            writing.execute()
        return differing

    def close(self) -> None:
        """Close the connections."""
        self.redis.close()
