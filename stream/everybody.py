"""Everybody's states beside the customers': collected from what is folded, written before the positions."""

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from events.bus import Record
from features.everybody import fold_records
from features.everybody_store import FIELDS, NEVER, NOTHING, Kept, everybody_key, fields_of, kept_of, opened
from features.fold import BlobDamaged, UnknownPlan, empty
from features.log import LogReader
from features.plan import Plan
from features.storage import storage_of
from stream.lease import Guard
from stream.patience import persist

HELD: Final = 20_000
"""Events that wait to be folded at most."""

log = logging.getLogger("kairos.behaviour")


class EverybodyKeeper:
    """One state of everybody for each partition of `mine`; every write is absolute.

    It is written before the positions from which a crash reads on, and skips what it holds already: whatever
    moment a crash picks, each event counts once. `done` are those positions and `watermarks` (ms) up to when
    each partition was read. With `eager` it is also written before each watermark is, so that who has seen
    the watermark sees everything before it counted: for replays, in which a day passes in a second.
    """

    def __init__(
        self,
        redis: Any,
        crowd: Plan,
        mine: Sequence[int],
        done: Mapping[int, int],
        watermarks: Mapping[int, int],
        stop: threading.Event,
        guard: Guard,
        *,
        eager: bool,
    ) -> None:
        self._redis = redis
        self._crowd = crowd
        self._stop = stop
        self._guard = guard
        self._eager = eager
        self._reader = LogReader(crowd)
        self._waiting: dict[int, tuple[list[bytes], list[int]]] = {each: ([], []) for each in mine}
        self._held = 0
        self._changed = set(mine)
        self._kept = {each: self._begin(each, done, watermarks.get(each, -1)) for each in mine}

    def take(self, records: Sequence[Record]) -> None:
        """Note a piece of the log that is being folded."""
        for record in records:
            values, positions = self._waiting[record.partition]
            values.append(record.value)
            positions.append(record.position)
        self._held += len(records)
        if self._held > HELD:
            self._fold()

    def reach(self, partition: int, ms: int) -> None:
        """Note a tick: up to when (ms) the partition is read, once what stands before it is taken too."""
        kept = self._kept[partition]
        since = {key: ms if begun == -1 else begun for key, begun in kept.since.items()}
        read = max(ms, -1 if kept.read is None else kept.read)
        if (read, since) != (kept.read, kept.since):
            self._kept[partition] = kept._replace(read=read, since=since)
            self._changed.add(partition)

    def before_watermarks(self) -> None:
        """Make durable what a watermark about to be written promises."""
        if self._eager:
            self.flush()

    def flush(self) -> None:
        """Write what has changed; durable on return."""
        self._fold()
        if not self._changed:
            return

        def write() -> None:
            self._guard()
            pipeline = self._redis.pipeline(transaction=True)
            for partition in sorted(self._changed):
                kept = self._kept[partition]
                assert kept.state is not None, "folded above"
                fields = fields_of(self._crowd, kept.state, kept.read, kept.since)
                pipeline.hset(everybody_key(partition), mapping=fields)
            pipeline.execute()

        persist(write, "writing everybody's counts to Redis", self._stop)
        self._changed.clear()

    def _fold(self) -> None:
        for partition, (values, positions) in self._waiting.items():
            if values:
                self._waiting[partition] = ([], [])
                kept = self._kept[partition]
                state = fold_records(self._reader, kept.state, values, partition, positions)
                if state != kept.state:
                    self._kept[partition] = kept._replace(state=state)
                    self._changed.add(partition)
        self._held = 0

    def _begin(self, partition: int, done: Mapping[int, int], watermark: int) -> Kept:
        """What Redis holds of the partition, as ours; what is not in it is so from now on."""

        def read() -> Kept:
            return kept_of(self._redis.hmget(everybody_key(partition), FIELDS))

        kept = persist(read, "reading everybody's counts from Redis", self._stop)
        try:
            found = opened(self._crowd, kept)
        except (BlobDamaged, UnknownPlan) as error:
            log.warning("partition %d: counts over everybody begin anew: %s", partition, error)
            found = NOTHING
        since = dict(found.since)
        if found.state is None:
            found = found._replace(state=empty(self._crowd).blob)
            if partition in done:  # the log was read without us
                since = {each.key: NEVER for each in storage_of(self._crowd).stored}
        begun = {key: watermark if ms == NEVER else ms for key, ms in since.items()}
        if begun != kept.since:
            new = [each.name for each in storage_of(self._crowd).stored if since.get(each.key) == NEVER]
            log.warning(
                "partition %d: counted over everybody from now on, missing for a whole window: %s",
                *(partition, ", ".join(new) or "nothing new"),
            )
        return found._replace(since=begun)
