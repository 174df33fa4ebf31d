"""Workers share the partitions: from one to four and back, killed and stopped, every state stays exact."""

import signal
import subprocess
import sys
import threading
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import replace
from typing import Any

import pytest
import redis

from events.bus import Bus, Message
from events.codec import parse_cloudevent
from events.counters import WORKERS_KEY, counters_key
from features.feast_store import RedisStateStore
from features.plan import Plan
from kairos.history import everything
from stream.behaviour import POSITIONS
from stream.worker import NothingToDo, Worker
from tests.stream.kiosk import DAY, MONDAY, KioskSetup, MemoryStore, as_messages, behaviour_log, eventually
from tests.stream.test_behaviour_fold import Process
from tests.stream.test_processes import ROOT, Running, environment, number, started

PARTITIONS, DAYS = 4, 40
END = MONDAY + DAYS * DAY


@pytest.fixture
def partitions() -> int:
    return PARTITIONS


@pytest.fixture
def setup(setup: KioskSetup) -> KioskSetup:
    return replace(setup, cache_mb=1)


def worker(setup: KioskSetup, name: str) -> AbstractContextManager[Running]:
    return started(setup, "behaviour", "--worker", name)


class Publisher:
    """Publishes a log bit by bit up to a share of it, so that what ends ends in the middle of something."""

    def __init__(self, bus: Bus, messages: list[Message]) -> None:
        self._bus, self._messages = bus, messages
        self._share = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._publish)
        self._thread.start()

    def upto(self, share: float) -> None:
        self._share = share

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def _publish(self) -> None:
        size, at = len(self._messages) // 200 + 1, 0
        while at < len(self._messages) and not self._over.wait(0.03):
            if at < self._share * len(self._messages):
                self._bus.publish(self._messages[at : at + size])
                at += size


def by_day(logs: list[list[Any]]) -> list[Message]:
    """All partitions side by side, as they grow in life."""
    messages = [as_messages([log]) for log in logs]
    longest = max(map(len, messages))
    return [log[n] for n in range(longest) for log in messages if n < len(log)]


def test_one_worker_then_four_then_one_with_kills_in_between_end_in_the_same_states(
    setup: KioskSetup, bus: Bus, state: "redis.Redis", plan: Plan
) -> None:
    logs = behaviour_log(days=DAYS, customers=300, events_a_day=400, partitions=PARTITIONS)
    whole = MemoryStore()
    expected = Process(plan, whole, partitions=PARTITIONS)
    expected.read(logs, 1_000)

    def reached(partitions: range = range(PARTITIONS)) -> int:
        return min((number(state, "kairos:watermarks", str(n)) - MONDAY) // DAY for n in partitions)

    with closing(Publisher(bus, by_day(logs))) as log, ExitStack() as stack:
        log.upto(0.2)
        alone = stack.enter_context(worker(setup, "0/1"))
        eventually(lambda: reached() > 3, step_s=0.001)
        second = stack.enter_context(worker(setup, "0/1"))
        eventually(lambda: second.said("waiting for behaviour:0, behaviour:1, behaviour:2, behaviour:3"))
        assert second.said(f"held by process {alone.process.pid} on")
        alone.end(signal.SIGKILL)
        at = reached()
        log.upto(0.35)
        eventually(lambda: reached() > at + 1, step_s=0.001)
        four = [stack.enter_context(worker(setup, f"{n}/4")) for n in range(4)]
        eventually(lambda: all(each.said("waiting for behaviour:") for each in four))
        second.end(signal.SIGKILL)
        at = reached()
        log.upto(0.5)
        eventually(lambda: reached() > at + 1, step_s=0.001)
        assert {name.decode() for name in state.hkeys(WORKERS_KEY)} == {
            *("behaviour", "behaviour-1", "behaviour-2", "behaviour-3"),
        }
        four[2].end(signal.SIGKILL)
        dead = number(state, "kairos:watermarks", "2")
        log.upto(0.7)
        eventually(lambda: reached(range(2)) > (dead - MONDAY) // DAY + 1, step_s=0.001)
        assert number(state, "kairos:watermarks", "2") == dead, "nobody else writes the partition of the dead"
        four[2] = stack.enter_context(worker(setup, "2/4"))
        at = reached()
        eventually(lambda: reached() > at + 1, step_s=0.001)
        for each in four:
            each.end(signal.SIGTERM)
        last = stack.enter_context(worker(setup, "0/1"))
        log.upto(1.0)
        eventually(lambda: last.said("partitions 0, 1, 2, 3 of 4"))
        eventually(lambda: min(number(state, "kairos:watermarks", str(n)) for n in range(PARTITIONS)) == END)
        last.end(signal.SIGTERM)
    store = RedisStateStore(setup.redis, setup.project)
    people = sorted(whole.blobs)
    found = store.read_many(people)
    store.close()
    assert dict(zip(people, found, strict=True)) == whole.blobs
    ends = {n: number(state, POSITIONS, str(n)) for n in range(PARTITIONS)}
    assert ends == {n: len(log) - 1 for n, log in enumerate(logs)}
    assert list(state.hkeys(WORKERS_KEY)) == [b"behaviour"], "metrics forget who is gone"
    counted: Any = state.hgetall(counters_key("behaviour"))
    assert 0 < int(counted[b"snapshot_bytes"]) < 16_000_000
    instances = {parse_cloudevent(record.value).id for record in everything(bus, "triggers")}
    assert instances == {
        parse_cloudevent(each.value).id for each in expected.outlet.messages if each.topic == "triggers"
    }


def test_who_was_stopped_too_long_writes_nothing_any_more(
    setup: KioskSetup, bus: Bus, state: "redis.Redis", plan: Plan
) -> None:
    """SIGSTOP is worse than a kill: the process wakes up and believes it still holds everything."""
    logs = behaviour_log(days=DAYS, customers=300, events_a_day=200, partitions=PARTITIONS)
    whole = MemoryStore()
    Process(plan, whole, partitions=PARTITIONS).read(logs, 1_000)

    def watermark() -> int:
        return min(number(state, "kairos:watermarks", str(n)) for n in range(PARTITIONS))

    with closing(Publisher(bus, by_day(logs))) as log, ExitStack() as stack:
        log.upto(0.3)
        sleeper = stack.enter_context(worker(setup, "0/1"))
        eventually(lambda: watermark() > MONDAY, step_s=0.001)
        sleeper.process.send_signal(signal.SIGSTOP)
        log.upto(1.0)  # only now: however fast the sleeper was, the end of the log is its heir's
        heir = stack.enter_context(worker(setup, "0/1"))
        eventually(lambda: watermark() == END)
        sleeper.process.send_signal(signal.SIGCONT)
        eventually(lambda: sleeper.said("waiting for it again"))
        eventually(lambda: sleeper.said("waiting for behaviour:0"))
        people = sorted(whole.blobs)
        store = RedisStateStore(setup.redis, setup.project)
        assert dict(zip(people, store.read_many(people), strict=True)) == whole.blobs
        heir.end(signal.SIGKILL)
        eventually(lambda: sleeper.said("partitions 0, 1, 2, 3 of 4"))
        sleeper.end(signal.SIGTERM)
        assert dict(zip(people, store.read_many(people), strict=True)) == whole.blobs
        store.close()


def test_a_second_intake_waits(setup: KioskSetup) -> None:
    with started(setup, "intake") as first:
        eventually(lambda: first.said("intake: reading"))
        with started(setup, "intake") as second:
            eventually(lambda: second.said("waiting for intake: intake is held"))
            assert second.said(f"held by process {first.process.pid} on")
            assert not second.said("intake: reading")
            first.end(signal.SIGTERM)
            eventually(lambda: second.said("intake: reading"))
            second.end(signal.SIGTERM)


def test_a_worker_without_partitions_says_so(setup: KioskSetup) -> None:
    assert [Worker(n, 3).partitions(4) for n in range(3)] == [[0, 3], [1], [2]]
    with pytest.raises(NothingToDo, match="at most 4 workers"):
        Worker(4, 5).partitions(4)
    done = subprocess.run(
        [sys.executable, "-m", "kairos", "behaviour", "--worker", "4/5"],
        cwd=ROOT,
        env=environment(replace(setup)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "expected at most 4 workers" in done.stderr
