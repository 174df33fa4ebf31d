"""A playbook changes under a running system: what is new warms, is backfilled, is exact to the byte."""

import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from events.bus import Bus, Record
from events.contract import Contracts
from events.topics import layout
from features.feast_store import RedisStateStore
from features.plan import Plan
from features.warming import FOLDING_KEY, mask_of, side_key
from features.warming import Record as Warming
from kairos.local import Server
from stream.behaviour import POSITIONS
from stream.swap import read_record
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


@pytest.fixture
def setup(
    bus: Bus,
    bus_server: Server,
    redis_server: Server,
    state: "redis.Redis",
    contracts: Contracts,
    kiosk: Path,
    tmp_path: Path,
) -> KioskSetup:
    bus.ensure(layout(contracts, PARTITIONS))
    return KioskSetup(kiosk, tmp_path / "run", bus_server.url, redis_server.url)


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
            told, _ = job.communicate(timeout=60)
        assert job.returncode == 0, told
        assert "warming: kind, tea" in told
        assert "nothing is warming" in told
        eventually(lambda: read(logs))
        assert missing(new, read_record(state), now) == set()
        with command(setup) as again:
            assert "nothing is warming" in again.communicate(timeout=60)[0]
        young.end(signal.SIGTERM)
    store = RedisStateStore(setup.redis, setup.project)
    people = sorted(whole.blobs)
    found = dict(zip(people, store.read_many(people), strict=True))
    store.close()
    assert found == whole.blobs
    assert not list(state.scan_iter(match=side_key("*")))
