"""Folding the log again for aggregates that are new, up to where the stream folds them itself.

What is found of each customer goes to Redis beside its state, where the worker that owns the customer merges
it in (see `stream.graft`). While the states of all customers do not fit into the memory given, the log is
read again for the shards that are left. Which are done is kept in Redis: a backfill that was stopped goes on.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

import msgspec

from events.bus import Bus
from events.codec import decode
from events.envelope import Event
from events.faults import Refusal
from events.identity import SHARDS, shard_of
from events.topics import BEHAVIOUR
from features.convert import cells_of, only
from features.feast_store import WATERMARKS_KEY
from features.fold import fold_batch
from features.plan import Plan
from features.warming import (
    FOLDING_KEY,
    WARMING_KEY,
    Record,
    cut_key,
    merged_key,
    ready_key,
    side_key,
)
from stream.outlet import tail
from stream.swap import read_record

DONE_KEY: Final = "kairos:backfill"
"""Hash: task and digest of our plan -> the first shard that is not folded yet."""

KEPT_S: Final = 3_600
BATCH: Final = 10_000
WRITE: Final = 500


class CannotBackfill(Refusal):
    """The log or the stream is not as a backfill needs it; the message says what to do."""

    exit_code = 4


class Task(NamedTuple):
    """Aggregates of one partition that the stream folds behind `position`; all before is to be folded.

    `place` names the change that brought them.
    """

    partition: int
    position: int
    place: str
    keys: frozenset[str]


class Progress(NamedTuple):
    """How far a task is: records of the log read in this pass, shards done, customers found."""

    task: Task
    read: int
    shards: int
    found: int


def tasks_of(record: Record, partitions: int) -> list[Task]:
    """What is to be folded, earliest first."""
    groups: dict[tuple[int, int, str], set[str]] = {}
    for partition in range(partitions):
        for key, since in record.lacking(partition).items():
            groups.setdefault((partition, since.position, since.place), set()).add(key)
    return [Task(*change, frozenset(keys)) for change, keys in sorted(groups.items())]


class Backfill:
    """One run; `memory` bounds the bytes of states that it holds. `tell` hears of progress.

    Errors: `CannotBackfill` when the log was trimmed or the stream folds another plan.
    """

    def __init__(
        self, bus: Bus, redis: Any, plan: Plan, memory: int, tell: Callable[[Progress], None]
    ) -> None:
        self._bus = bus
        self._redis = redis
        self._plan = plan
        self._memory = memory
        self._tell = tell
        self._partitions = bus.partitions(BEHAVIOUR)
        self._found = 0

    def run(self) -> list[Task]:
        """Fold what is lacking and hand it over; what it was. Goes on where it was stopped.

        At most one task a partition: call it again until it finds nothing.
        """
        first: dict[int, Task] = {}
        for task in tasks_of(read_record(self._redis), self._partitions):
            first.setdefault(task.partition, task)
        tasks = list(first.values())
        for partition in range(self._partitions) if tasks else ():
            self._check(partition)
        for task in tasks:
            field = self._field(task)
            shard = int(self._redis.hget(DONE_KEY, field) or 0)
            while shard < SHARDS:
                shard = self._pass(task, shard)
                self._redis.hset(DONE_KEY, field, shard)
        return tasks

    def waiting(self) -> int:
        """Customers whose find is not merged yet."""
        return sum(int(self._redis.llen(ready_key(partition))) for partition in range(self._partitions))

    def finish(self, tasks: Iterable[Task]) -> int:
        """Say that the aggregates are known from now (event time, ms) on; call it when nothing waits."""
        tasks = list(tasks)
        marks = [int(ms) for ms in self._redis.hvals(WATERMARKS_KEY)]
        now = max(marks, default=0)
        pipeline = self._redis.pipeline(transaction=True)
        since = read_record(self._redis).since
        for task in tasks:
            for key in task.keys:
                done = msgspec.structs.replace(since[key][task.partition], complete=True)
                pipeline.hset(WARMING_KEY, f"{key}|{task.partition}", msgspec.json.encode(done))
                if all(each.complete or n == task.partition for n, each in since[key].items()):
                    pipeline.hset(WARMING_KEY, key, now)
                since = {**since, key: {**since[key], task.partition: done}}
            pipeline.hdel(DONE_KEY, self._field(task))
            # A worker that has not looked yet must not take what was merged for something older.
            pipeline.expire(merged_key(task.partition, task.place), KEPT_S)
            pipeline.delete(cut_key(task.partition, task.place))
        pipeline.execute()
        return now

    def _field(self, task: Task) -> str:
        return f"{task.partition}:{task.place}:{self._plan.digest}"

    def _check(self, partition: int) -> None:
        folding = self._redis.hget(FOLDING_KEY, str(partition))
        if folding is None or folding.decode() != self._plan.digest:
            raise CannotBackfill(
                f"partition {partition}: expected the stream to fold plan {self._plan.digest}, found "
                f"{folding.decode() if folding else 'none'}; start `python -m kairos behaviour` with it"
            )
        first = self._bus.first(BEHAVIOUR, partition)
        if first > 0:
            raise CannotBackfill(
                f"{BEHAVIOUR}/{partition}: expected the log from its beginning, found it trimmed up to "
                f"{first}; what is new fills by itself as its windows pass"
            )

    def _pass(self, task: Task, first: int) -> int:
        """Fold the shards from `first` on, as many as fit; the first that did not."""
        until, held = SHARDS, 0
        cuts = {
            raw.decode(): int(position)
            for raw, position in self._redis.hgetall(cut_key(task.partition, task.place)).items()
        }
        last = max([task.position, *cuts.values()])
        states: dict[str, bytes] = {}
        for read, events in self._batches(task.partition, last):
            mine = [
                (position, event)
                for position, event in events
                if first <= shard_of(event.customer) < until
                and position <= cuts.get(event.customer, task.position)
            ]
            held += self._fold(task.partition, states, mine)
            while held > self._memory and until - first > 1:
                until = first + (until - first + 1) // 2
                states = {who: blob for who, blob in states.items() if shard_of(who) < until}
                held = sum(map(len, states.values()))
            self._tell(Progress(task, read, first, self._found))
        self._write(task, states)
        self._tell(Progress(task, last + 1, until, self._found))
        return until

    def _batches(self, partition: int, last: int) -> Iterator[tuple[int, list[tuple[int, Event]]]]:
        batch: list[tuple[int, Event]] = []
        for record in tail(self._bus, (BEHAVIOUR, partition), -1):
            if record.position > last:
                break
            item = decode(record.value)
            if isinstance(item, Event):
                batch.append((record.position, item))
            if len(batch) == BATCH:
                yield record.position, batch
                batch = []
        yield last, batch

    def _fold(self, partition: int, states: dict[str, bytes], events: list[tuple[int, Event]]) -> int:
        """Fold events into the states; how many bytes they grew by."""
        if not events:
            return 0
        owner: dict[str, int] = {}
        owners = [owner.setdefault(event.customer, len(owner)) for _, event in events]
        folded = fold_batch(
            self._plan,
            [states.get(customer) for customer in owner],
            [event for _, event in events],
            owners,
            [partition] * len(events),
            [position for position, _ in events],
        )
        grown = sum(map(len, folded.blobs)) - sum(len(states.get(customer, b"")) for customer in owner)
        states.update(zip(owner, folded.blobs, strict=True))
        return grown

    def _write(self, task: Task, states: dict[str, bytes]) -> None:
        found = []
        for customer, blob in states.items():
            side = only(self._plan, blob, task.keys)
            if cells_of(side):
                found.append((customer, side))
        self._found += len(found)
        for start in range(0, len(found), WRITE):
            pipeline = self._redis.pipeline(transaction=True)
            for customer, side in found[start : start + WRITE]:
                pipeline.set(side_key(customer), side)
                pipeline.rpush(ready_key(task.partition), f"{task.place} {customer}")
            pipeline.execute()
