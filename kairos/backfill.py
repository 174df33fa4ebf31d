"""`backfill`: fold the log for what a changed playbook has added, while everything goes on running."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console

from events.bus import UnknownTopic, connect
from events.topics import BEHAVIOUR
from features.declare import load as load_playbook
from features.plan import compile_plan
from features.warming import Record
from kairos.settings import Settings
from stream.backfill import Backfill, CannotBackfill, Progress, tasks_of
from stream.behaviour import POSITIONS
from stream.steady import connect_redis
from stream.swap import read_record

LOOK_S, TELL_S = 0.2, 2.0


def run(settings: Settings, *, memory_mb: int, stop: threading.Event) -> int:
    """Fold what is warming and wait until it is merged; 0 when nothing is lacking any more, 130 when stopped.

    Errors: `CannotBackfill`, `BusUnavailable`, `StoreUnavailable`, `PlaybookRefused`.
    """
    console = Console(highlight=False, soft_wrap=True)
    plan = compile_plan(load_playbook(settings.playbook))
    bus = connect(settings.bus, timeout_s=settings.wait_s)
    redis = connect_redis(settings.redis, settings.wait_s, stop)
    told = 0.0

    def tell(progress: Progress) -> None:
        nonlocal told
        if time.monotonic() - told >= TELL_S or progress.read > progress.task.position:
            told = time.monotonic()
            console.print(
                f"partition {progress.task.partition}: {progress.read:,} of {progress.task.position + 1:,} "
                f"records, shards {progress.shards:,} of 1,024 done, {progress.found:,} customers found"
            )
        if stop.is_set():
            raise KeyboardInterrupt

    try:
        ends = {n: bus.last(BEHAVIOUR, n) for n in range(bus.partitions(BEHAVIOUR))}
    except UnknownTopic as error:
        raise CannotBackfill(f"{settings.bus}: expected the log of a stack that has run; {error}") from error
    work = Backfill(bus, redis, plan, memory_mb * 1_000_000, tell)
    while tasks_of(record := read_record(redis), len(ends)):
        console.print(f"warming: {_names(record, len(ends))}")
        # What the worker before had folded past its position is known once ours has read it again.
        _until(lambda: _behind(redis, ends), "records the stream has to read first", console, stop)
        tasks = work.run()
        _until(work.waiting, "customers to be merged by the stream's workers", console, stop)
        work.finish(tasks)
    console.print("nothing is warming: every aggregate has seen the whole log")
    bus.close()
    return 0


def _names(record: Record, partitions: int) -> str:
    return ", ".join(
        sorted({each.name for partition in range(partitions) for each in record.lacking(partition).values()})
    )


def _behind(redis: Any, ends: Mapping[int, int]) -> int:
    read = {int(partition): int(position) for partition, position in redis.hgetall(POSITIONS).items()}
    return sum(max(0, end - read.get(partition, -1)) for partition, end in ends.items())


def _until(left: Callable[[], int], what: str, console: Console, stop: threading.Event) -> None:
    """Wait until nothing is left, saying now and then how much is. Errors: KeyboardInterrupt when stopped."""
    told = 0.0
    while count := left():
        if time.monotonic() - told >= TELL_S:
            told = time.monotonic()
            console.print(f"waiting: {count:,} {what}")
        if stop.wait(LOOK_S):
            raise KeyboardInterrupt
