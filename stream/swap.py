"""A worker under a changed playbook: which aggregates are new, and states of other plans read as our own."""

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from events.identity import partition_of
from features.convert import convert, digest_of
from features.fold import State, UnknownPlan
from features.plan import Plan
from features.storage import Storage, pack, storage_of
from features.warming import (
    FOLDING_KEY,
    PLANS_KEY,
    WARMING_KEY,
    Record,
    Since,
    cut_key,
    merged_key,
    quiet_until,
    record_of,
)
from stream.patience import persist
from stream.steady import SteadyStore

log = logging.getLogger("kairos.behaviour")


def read_record(redis: Any) -> Record:
    """What Redis holds about plans."""
    pipeline = redis.pipeline(transaction=False)
    pipeline.hgetall(WARMING_KEY)
    pipeline.hgetall(PLANS_KEY)
    warming, plans = pipeline.execute()
    return record_of(warming, plans)


def begin(
    redis: Any, plan: Plan, mine: Sequence[int], done: Mapping[int, int], watermarks: Mapping[int, int]
) -> Record:
    """Say that `plan` folds these partitions from now on, and since where each aggregate new to them does.

    `done` is the last position of each that is durable, `watermarks` (ms) up to when it was read. Saying it
    again changes nothing. Errors: `UnknownPlan` when nobody knows what the plan before it stored.
    """
    storage = storage_of(plan)
    redis.hset(PLANS_KEY, plan.digest, pack(storage))
    record = read_record(redis)
    folding = {int(p): digest.decode() for p, digest in redis.hgetall(FOLDING_KEY).items()}
    for partition in mine:
        before = folding.get(partition, plan.digest)
        if before == plan.digest:
            redis.hset(FOLDING_KEY, str(partition), plan.digest)
            continue
        if before not in record.storages:
            raise UnknownPlan(before, plan.digest)
        held = record.storages[before]
        at, ms = done.get(partition, -1), watermarks.get(partition, -1)
        new = [each for each in storage.stored if each.key not in held.keys]
        gone = [each for each in held.stored if each.key not in storage.keys]
        # Together: a crash in between must not forget that something is new.
        pipeline = redis.pipeline(transaction=True)
        for each in new:
            since = Since(each.name, at, ms, plan.digest)
            pipeline.hset(WARMING_KEY, f"{each.key}|{partition}", msgspec.json.encode(since))
            pipeline.hdel(WARMING_KEY, each.key)
        for each in gone:
            pipeline.hdel(WARMING_KEY, f"{each.key}|{partition}", each.key)
        pipeline.delete(merged_key(partition, f"{at}:{plan.digest}"))
        pipeline.hset(FOLDING_KEY, str(partition), plan.digest)
        pipeline.execute()
        log.warning(
            "partition %d: plan %s after %s; warming from position %d on: %s; no longer kept: %s",
            *(partition, plan.digest, before, at, ", ".join(each.name for each in new) or "nothing"),
            ", ".join(each.name for each in gone) or "nothing",
        )
    return read_record(redis)


class SwappingReader:
    """States as a worker reads them: those of other plans converted, what they lack noted.

    A state may already hold more of the log than the position from which an aggregate is folded, if the
    worker before died between a state and its position: how far such a one is, is written down before it is
    used, so that a backfill folds just what the state did not.
    """

    def __init__(self, redis: Any, plan: Plan, record: Record, partitions: int) -> None:
        self._redis = redis
        self._plan = plan
        self._partitions = partitions
        self.learn(record)

    def learn(self, record: Record) -> None:
        """Go by this record from now on."""
        self._record = record
        self.lacking = {partition: record.lacking(partition) for partition in range(self._partitions)}
        self._warming = any(self.lacking.values())
        self.quiet = quiet_until(self._plan, record, self._partitions) if self._warming else {}

    def opened(self, customers: Sequence[str], blobs: Sequence[bytes | None]) -> list[bytes | None]:
        """The states as those of our plan. Errors: `UnknownPlan`, `BlobDamaged`."""
        ours = self._plan.digest
        if not self._warming and all(blob is None or digest_of(blob) == ours for blob in blobs):
            return list(blobs)
        known = [(who, blob) for who, blob in zip(customers, blobs, strict=True) if blob is not None]
        older = self._older(known)
        cuts: dict[str, dict[str, int]] = {}
        made = {who: self._opened(who, blob, older[who], cuts) for who, blob in known}
        for key, fields in cuts.items():
            self._redis.hset(key, mapping=fields)
        return [made.get(customer) for customer in customers]

    def _older(self, known: Sequence[tuple[str, bytes]]) -> dict[str, list[str]]:
        """For each customer the keys whose cells, if there are any, are from before they were folded here.

        Those of a state into which a backfill has been merged are not.
        """
        older: dict[str, list[str]] = {}
        asked: list[tuple[str, int, str]] = []
        for customer, blob in known:
            partition = partition_of(customer, self._partitions)
            lacking, applied = self.lacking[partition], State(blob).applied.get(partition, -1)
            older[customer] = [key for key, since in lacking.items() if applied <= since.position]
            places = {lacking[key].place for key in older[customer]}
            asked += [(customer, partition, place) for place in sorted(places)]
        if asked:
            pipeline = self._redis.pipeline(transaction=False)
            for customer, partition, place in asked:
                pipeline.sismember(merged_key(partition, place), customer)
            for (customer, partition, place), merged in zip(asked, pipeline.execute(), strict=True):
                if merged:
                    lacking = self.lacking[partition]
                    older[customer] = [key for key in older[customer] if lacking[key].place != place]
        return older

    def _opened(
        self, customer: str, blob: bytes, older: Sequence[str], cuts: dict[str, dict[str, int]]
    ) -> bytes:
        digest = digest_of(blob)
        if digest == self._plan.digest:
            return convert(storage_of(self._plan), self._plan, blob, older) if older else blob
        partition, storage = partition_of(customer, self._partitions), self._storage(digest)
        for key, since in self.lacking[partition].items():
            if key not in older and key not in storage.keys:
                applied = State(blob).applied.get(partition, -1)
                cuts.setdefault(cut_key(partition, since.place), {})[customer] = applied
        return convert(storage, self._plan, blob, older)

    def _storage(self, digest: str) -> Storage:
        if digest not in self._record.storages:
            self.learn(read_record(self._redis))
        if digest not in self._record.storages:
            raise UnknownPlan(digest, self._plan.digest)
        return self._record.storages[digest]


class SwappingStore:
    """The store as the fold reads it: every state is one of our plan."""

    def __init__(self, store: SteadyStore, reader: SwappingReader, stop: threading.Event) -> None:
        self._store = store
        self._reader = reader
        self._stop = stop
        self.due = store.due
        self.rewritten: set[str] = set()

    def read_many(self, customers: Sequence[str]) -> list[bytes | None]:
        """See `StateStore.read_many`. Errors: `UnknownPlan`, `BlobDamaged`."""
        blobs = self._store.read_many(customers)
        opened = persist(lambda: self._reader.opened(customers, blobs), "reading plans in Redis", self._stop)
        self.rewritten = {
            who for who, was, now in zip(customers, blobs, opened, strict=True) if now is not was
        }
        return opened
