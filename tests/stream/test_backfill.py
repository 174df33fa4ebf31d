"""A playbook changes under a running system: what is new warms, is backfilled, is exact to the byte."""

import copy
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from events.bus import Bus, Record
from features.feast_store import RedisStateStore
from features.fold import decode, settled
from features.plan import Plan
from features.warming import FOLDING_KEY, mask_of, side_key
from features.warming import Record as Warming
from stream.backfill import DONE_KEY, Backfill, CannotBackfill, Progress, tasks_of
from stream.behaviour import POSITIONS
from stream.counters import Counters
from stream.graft import Grafter
from stream.lease import nobody_else
from stream.state_cache import StateCache
from stream.swap import SwappingReader, begin, read_record
from tests.stream.kiosk import (
    DAY,
    FILES,
    MONDAY,
    PARTITIONS,
    KioskSetup,
    MemoryStore,
    as_messages,
    behaviour_log,
    eventually,
    plan_of,
    polls_of,
)
from tests.stream.test_behaviour_fold import Process
from tests.stream.test_processes import ROOT, environment, number
from tests.stream.test_workers import worker

DAYS = 30
TEA = """
[[aggregate]]
name = "tea"
event = "purchase"
value = "amount"
where = "kind == 'tea'"
functions = ["sum", "since_first"]
windows = ["7d"]
ever = true
unit = "USD"
meaning = "what was paid for tea"
"""
CHANGED = (
    FILES["playbook.toml"]
    .replace('name = "visit"', 'name = "presence"')
    .replace('match = "kind"\nwindows = ["7d"]', 'match = "kind"\nwindows = ["7d", "28d"]')
    .replace('freshness = "2d"\n', f'freshness = "2d"\n{TEA}')
)


def changed(folder: Path) -> Path:
    """The kiosk's playbook with tea added, kinds widened, and visits called presence."""
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(CHANGED if name == "playbook.toml" else text)
    return folder


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return changed(tmp_path_factory.mktemp("changed") / "kiosk")


@pytest.fixture(scope="module")
def new(after: Path) -> Plan:
    return plan_of(after)


@pytest.fixture(scope="module")
def newest(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Of the playbook with yet another change."""
    folder = changed(tmp_path_factory.mktemp("changed twice") / "kiosk")
    text = (folder / "playbook.toml").read_text()
    (folder / "playbook.toml").write_text(text + TEA.replace("tea", "soup"))
    return plan_of(folder)


def command(setup: KioskSetup, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "kairos", "backfill", *words],
        cwd=ROOT,
        env=environment(setup),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def missing(plan: Plan, record: Warming, at: int) -> set[str]:
    mask = mask_of(plan, record, PARTITIONS)
    found = {f.name for f, since in zip(plan.customer_features, mask.row, strict=True) if since > at}
    return found | {f.name for f, since in zip(plan.cross_features, mask.cross, strict=True) if since > at}


NEW = {"tea_sum_7d", "tea_sum_ever", "tea_since_first", "kind_sum_7d", "kind_sum_28d"}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_what_is_new_is_missing_until_backfilled_and_then_exact_to_the_byte(
    setup: KioskSetup, bus: Bus, state: "redis.Redis", new: Plan, after: Path, how: signal.Signals
) -> None:
    logs = behaviour_log(days=DAYS, customers=200, events_a_day=150)
    whole = MemoryStore()
    Process(new, whole).read(logs, 1_000)
    first = [log[: len(log) // 2] for log in logs]
    rest = as_messages([log[len(log) // 2 :] for log in logs])
    now = MONDAY + DAYS * DAY

    def read(log: list[list[Record]]) -> bool:
        return all(number(state, POSITIONS, str(n)) == len(each) - 1 for n, each in enumerate(log))

    bus.publish(as_messages(first))
    with ExitStack() as stack:
        old = stack.enter_context(worker(setup, "0/1"))
        eventually(lambda: state.dbsize() > 100 if how is signal.SIGKILL else read(first), step_s=0.001)
        old.end(how)
        setup = replace(setup, playbook=after)
        young = stack.enter_context(worker(setup, "0/1"))
        ours = new.digest.encode()
        eventually(lambda: read(first) and set(state.hvals(FOLDING_KEY)) == {ours})
        assert missing(new, read_record(state), MONDAY + (DAYS // 2 + 2) * DAY) == NEW
        bus.publish(rest[: len(rest) // 2])
        with command(setup, "--memory-mb", "1") as job:
            bus.publish(rest[len(rest) // 2 :])
            told, _ = job.communicate(timeout=240)
        assert job.returncode == 0, told
        assert "warming: kind, tea" in told
        assert "nothing is warming" in told
        eventually(lambda: read(logs))
        assert missing(new, read_record(state), now) == set()
        with command(setup) as again:
            assert "nothing is warming" in again.communicate(timeout=240)[0]
        young.end(signal.SIGTERM)
    store = RedisStateStore(setup.redis, setup.project)
    people = sorted(whole.blobs)
    found = dict(zip(people, store.read_many(people), strict=True))
    store.close()
    assert settled_all(new, found.items()) == settled_all(new, whole.blobs.items())
    assert not list(state.scan_iter(match=side_key("*")))


def settled_all(plan: Plan, blobs: Iterable[tuple[str, bytes | None]]) -> dict[str, bytes]:
    """The states with their recent events added: a merge has done so, the fold does so now and then."""
    return {who: settled(plan, decode(plan, blob)).blob for who, blob in blobs if blob is not None}


class SwappingMemory(MemoryStore):
    """A store in memory whose states are read as those of the plan that folds now."""

    reader: SwappingReader

    def read_many(self, customers: Sequence[str]) -> list[bytes | None]:
        blobs = super().read_many(customers)
        opened = self.reader.opened(customers, blobs)
        self.rewritten = frozenset(
            who for who, was, now in zip(customers, blobs, opened, strict=True) if now is not was
        )
        return opened


class Life:
    """One log folded under one playbook after another, and a Redis that hears of it."""

    def __init__(self, client: Any, bus: Bus, logs: list[list[Record]]) -> None:
        self.redis, self.bus, self.logs = client, bus, logs
        self.store = SwappingMemory()
        self.done = dict.fromkeys(range(PARTITIONS), -1)
        bus.ensure({"behaviour": PARTITIONS})
        bus.publish(as_messages(logs))

    def under(self, plan: Plan, share: float) -> None:
        """Fold on under `plan` up to that share of the log; the last piece is written but not positioned."""
        known = {n: at for n, at in self.done.items() if at >= 0}
        record = begin(self.redis, plan, range(PARTITIONS), known, self.store.marks)
        self.store.reader = SwappingReader(self.redis, plan, record, PARTITIONS)
        process = Process(plan, self.store)
        upto = [log[: int(len(log) * share)] for log in self.logs]
        for poll in polls_of(upto, 50, [self.done[n] for n in range(PARTITIONS)]):
            process.stage.take([poll])
        self.done = {n: len(log) - 1 for n, log in enumerate(upto)}

    def crash(self, plan: Plan, beyond: int) -> None:
        """Fold on, but for the positions: those stay where they were."""
        before, blobs = dict(self.done), dict(self.store.blobs)
        marks, wakes = copy.deepcopy((self.store.marks, self.store.wakes))
        self.under(plan, 0.0)  # as the same worker
        self.done = before
        process = Process(plan, self.store)
        upto = [log[: self.done[n] + 1 + beyond] for n, log in enumerate(self.logs)]
        for poll in polls_of(upto, 50, [self.done[0], len(upto[1]) - 1]):
            process.stage.take([poll])
        # Of the second partition nothing came through, of the first every other: a pipeline is cut anywhere.
        self.store.marks, self.store.wakes = marks, wakes
        for who in sorted(self.store.blobs)[::2]:
            if who in blobs:
                self.store.blobs[who] = blobs[who]
            else:
                del self.store.blobs[who]

    def merged(self, plan: Plan) -> dict[str, bytes]:
        """The states after a worker has merged all that is ready."""
        store = RedisStateStore(_url(self.redis), "kairos")
        store.write_many([(who, blob, 0) for who, blob in self.store.blobs.items()])
        reader = SwappingReader(self.redis, plan, read_record(self.redis), PARTITIONS)
        beside = (reader, StateCache(), Counters(self.redis, "behaviour"), nobody_else)
        grafter = Grafter(self.redis, "kairos", plan, range(PARTITIONS), *beside)
        while grafter.step():
            pass
        people = sorted(self.store.blobs)
        found = reader.opened(people, store.read_many(people))
        store.close()
        return settled_all(plan, zip(people, found, strict=True))

    def whole(self, plan: Plan) -> dict[str, bytes]:
        """The states of the same log folded under `plan` from the start."""
        store = MemoryStore()
        upto = [log[: self.done[n] + 1] for n, log in enumerate(self.logs)]
        Process(plan, store).read(upto, 1_000)
        return settled_all(plan, store.blobs.items())


def _url(client: Any) -> str:
    return f"redis://127.0.0.1:{client.connection_pool.connection_kwargs['port']}"


@pytest.fixture
def life(bus: Bus, state: "redis.Redis") -> Life:
    return Life(state, bus, behaviour_log(days=12, customers=250, events_a_day=80))


def run_backfill(life: Life, plan: Plan, memory: int = 10_000_000, stop_after: int = 10**9) -> list[Progress]:
    told: list[Progress] = []

    def tell(progress: Progress) -> None:
        told.append(progress)
        if len(told) > stop_after:
            raise KeyboardInterrupt

    Backfill(life.bus, life.redis, plan, memory, tell).run()
    return told


def test_a_backfill_that_was_stopped_goes_on_and_merges_each_customer_once(
    life: Life, plan: Plan, new: Plan
) -> None:
    life.under(plan, 0.6)
    life.under(new, 1.0)
    with pytest.raises(KeyboardInterrupt):
        run_backfill(life, new, memory=5_000, stop_after=3)
    done = life.redis.hgetall(DONE_KEY)
    assert 0 < int(next(iter(done.values()))) < 1_024, "some shards of the first partition are done"
    merged = life.merged(new)
    assert merged != life.whole(new)
    life.store.blobs.update(merged)
    told = run_backfill(life, new, memory=5_000)
    assert len({(each.task, each.shards) for each in told}) > 3, "memory was bounded, so it read again"
    assert life.merged(new) == life.whole(new)


def test_a_find_that_is_ready_twice_is_merged_once(life: Life, plan: Plan, new: Plan) -> None:
    """A backfill that died between its finds and its note says them again; some are merged by then."""
    life.under(plan, 0.5)
    life.under(new, 0.9)
    run_backfill(life, new)
    life.store.blobs.update(life.merged(new))
    life.redis.delete(DONE_KEY)
    run_backfill(life, new)
    assert life.merged(new) == life.whole(new)


def test_what_was_folded_past_its_position_is_not_folded_again(life: Life, plan: Plan, new: Plan) -> None:
    life.under(plan, 0.5)
    life.crash(plan, beyond=150)
    life.under(new, 0.9)
    run_backfill(life, new)
    assert life.merged(new) == life.whole(new)


def test_going_back_to_an_earlier_playbook_takes_nothing_stale(life: Life, plan: Plan, new: Plan) -> None:
    """The first playbook's cells of kinds, untouched while another ran, are not taken for whole."""
    life.under(new, 0.3)
    life.under(plan, 0.6)
    life.under(new, 0.9)
    (task, *_) = tasks_of(read_record(life.redis), PARTITIONS)
    assert task.position == life.logs[0][: int(len(life.logs[0]) * 0.6)][-1].position
    run_backfill(life, new)
    assert life.merged(new) == life.whole(new)


def test_two_changes_in_a_row_are_backfilled_each_to_its_own_position(
    life: Life, plan: Plan, new: Plan, newest: Plan
) -> None:
    life.under(plan, 0.3)
    life.under(new, 0.6)
    life.under(newest, 0.9)
    for _ in range(2):
        work = Backfill(life.bus, life.redis, newest, 10_000_000, lambda progress: None)
        tasks = work.run()
        assert len({task.position for task in tasks}) == len(tasks) == PARTITIONS
        life.store.blobs.update(life.merged(newest))
        work.finish(tasks)
    assert life.merged(newest) == life.whole(newest)
    assert work.run() == []


def test_a_log_that_was_trimmed_or_a_stream_of_another_plan_is_refused(
    life: Life, plan: Plan, new: Plan
) -> None:
    life.under(plan, 0.5)
    life.under(new, 0.9)
    life.bus.trim("behaviour", 0, 10)
    with pytest.raises(CannotBackfill, match="trimmed up to 10"):
        run_backfill(life, new)
    life.under(plan, 0.95)
    with pytest.raises(CannotBackfill, match=f"found {plan.digest}"):
        run_backfill(life, new)


def test_two_changes_at_one_position_are_told_apart(life: Life, plan: Plan, new: Plan, newest: Plan) -> None:
    """An idle night: a playbook, half its backfill, and the next playbook, while nothing happens."""
    life.under(plan, 0.5)
    life.under(new, 0.5)
    with pytest.raises(KeyboardInterrupt):
        run_backfill(life, new, memory=5_000, stop_after=3)
    life.store.blobs.update(life.merged(new))
    life.under(newest, 0.9)
    for _ in range(2):
        work = Backfill(life.bus, life.redis, newest, 10_000_000, lambda progress: None)
        tasks = work.run()
        life.store.blobs.update(life.merged(newest))
        work.finish(tasks)
    assert work.run() == []
    assert life.merged(newest) == life.whole(newest)


def test_a_partition_whose_worker_has_not_begun_yet_is_waited_for(life: Life, plan: Plan, new: Plan) -> None:
    life.under(plan, 0.5)
    life.under(new, 0.9)
    life.redis.hset(FOLDING_KEY, "1", plan.digest)
    with pytest.raises(CannotBackfill, match=r"partition 1.*found " + plan.digest):
        run_backfill(life, new)
    life.redis.hset(FOLDING_KEY, "1", new.digest)
    work = Backfill(life.bus, life.redis, new, 10_000_000, lambda progress: None)
    tasks = work.run()
    life.store.blobs.update(life.merged(new))
    work.finish(tasks[:1])
    assert missing(new, read_record(life.redis), 0), "one of two partitions is not enough"
    assert {task.partition for task in tasks_of(read_record(life.redis), PARTITIONS)} == {1}
    work.finish(tasks[1:])
    assert not tasks_of(read_record(life.redis), PARTITIONS)
    assert life.merged(new) == life.whole(new)
