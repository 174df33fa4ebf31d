"""The transactional outbox's second half: recorded decisions go from Redis to the topic `decisions`."""

import asyncio
import logging
from collections import deque
from typing import Final, NamedTuple

from events.bus import BusUnavailable, Message
from events.identity import partition_of
from events.topics import DECISIONS
from models.decision import customer_of
from serving.ledger import outbox_key
from serving.publisher import Publisher
from serving.redis_line import Command, RedisAway, RedisLine

SHARDS: Final = 1024
BATCH: Final = 500
GATHER_S: Final = 0.005
REMEMBERED: Final = 20_000
SWEEP_EVERY_S: Final = 30.0
LONGEST_PAUSE_S: Final = 2.0

_OUTBOXES: Final = tuple(outbox_key(f"{{{shard:03d}}}") for shard in range(SHARDS))
_COUNTS: Final[tuple[Command, ...]] = tuple(("HLEN", outbox) for outbox in _OUTBOXES)

log = logging.getLogger("kairos.relay")


class Recorded(NamedTuple):
    """A decision that stands in the outbox of its customer's shard."""

    customer: str
    decision_id: str
    record: bytes


class Relay:
    """Moves outbox entries to the bus and deletes them once acknowledged.

    It waits a few milliseconds for more before each batch: a batch of one costs as much as a batch of fifty.
    The decider hands over what it has just written, so nothing is read back in the usual course. What a
    crash left behind is found by a sweep of all shards at start; later sweeps take only what two of them
    have seen, so that another process's decisions are left to it while it lives. An entry that goes
    twice carries the same id twice, which readers take as one.
    """

    def __init__(self, line: RedisLine, publisher: Publisher, partitions: int) -> None:
        self._line, self._publisher, self._partitions = line, publisher, partitions
        self._queue: deque[Recorded] = deque()
        self._awake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False
        self._overflowed = False
        self._seen: set[bytes] = set()
        self.moved = 0

    @property
    def pending(self) -> int:
        """How many decisions this process has recorded that are not on the bus yet."""
        return len(self._queue)

    def hand(self, recorded: Recorded) -> None:
        """Take over a decision that has just been recorded."""
        self._idle.clear()
        if len(self._queue) < REMEMBERED:
            self._queue.append(recorded)
        else:  # The bus has been away for long: Redis keeps the entry, a sweep will fetch it.
            self._overflowed = True
        self._awake.set()

    async def run(self) -> None:
        """Sweep, then move entries until `stop`; a bus or Redis that is away is waited for."""
        await self._sweep_patiently(everything=True)
        loop = asyncio.get_running_loop()
        next_sweep = loop.time() + SWEEP_EVERY_S
        pause = 0.05
        while not (self._stopping and not self._queue):
            if not self._queue:
                if self._overflowed:
                    self._overflowed = False
                    await self._sweep_patiently(everything=True)
                    continue
                self._idle.set()
                self._awake.clear()
                if self._stopping:
                    break
                try:
                    async with asyncio.timeout(max(0.0, next_sweep - loop.time())):
                        await self._awake.wait()
                except TimeoutError:
                    await self._sweep_patiently(everything=False)
                    next_sweep = loop.time() + SWEEP_EVERY_S
                continue
            if len(self._queue) < BATCH and not self._stopping:
                await asyncio.sleep(GATHER_S)
            batch = [self._queue[index] for index in range(min(BATCH, len(self._queue)))]
            try:
                await self._move(batch)
                pause = 0.05
            except (BusUnavailable, RedisAway) as error:
                log.warning("decisions wait in the outbox: %s", error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
                continue
            for _ in batch:
                self._queue.popleft()

    async def flush(self, within_s: float) -> bool:
        """Wait until everything handed over is on the bus; False when that takes longer than `within_s`."""
        try:
            async with asyncio.timeout(within_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def stop(self) -> None:
        """Let `run` end once the queue is empty."""
        self._stopping = True
        self._awake.set()

    async def sweep(self, *, everything: bool) -> int:
        """Move what stands in any shard's outbox; unless `everything`, only what the last sweep saw too."""
        counts = await self._line.ask(*_COUNTS)
        seen: set[bytes] = set()
        moved = 0
        for outbox, count in zip(_OUTBOXES, counts, strict=True):
            if not count:
                continue
            (flat,) = await self._line.ask(("HGETALL", outbox), deadline_s=10)
            entries = dict(zip(flat[::2], flat[1::2], strict=True))
            chosen = [key for key in entries if everything or key in self._seen]
            seen.update(entries.keys())
            found = [Recorded(customer_of(key.decode()), key.decode(), entries[key]) for key in chosen]
            for start in range(0, len(found), BATCH):
                await self._move(found[start : start + BATCH])
            moved += len(found)
        self._seen = seen
        return moved

    async def _sweep_patiently(self, *, everything: bool) -> bool:
        try:
            moved = await self.sweep(everything=everything)
        except (BusUnavailable, RedisAway) as error:
            log.warning("the sweep of the outboxes waits: %s", error)
            self._overflowed = True
            await asyncio.sleep(LONGEST_PAUSE_S)
            return False
        if moved:
            log.info("moved %d decisions that another run had left in the outbox", moved)
        return True

    async def _move(self, batch: list[Recorded]) -> None:
        partitions = self._partitions
        await self._publisher.publish(
            [
                Message(DECISIONS, partition_of(one.customer, partitions), one.customer.encode(), one.record)
                for one in batch
            ]
        )
        by_outbox: dict[str, list[str]] = {}
        for one in batch:
            by_outbox.setdefault(outbox_key(one.customer), []).append(one.decision_id)
        commands: list[Command] = [("HDEL", key, *ids) for key, ids in by_outbox.items()]
        await self._line.ask(*commands)
        self.moved += len(batch)
