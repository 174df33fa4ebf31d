"""Everybody's counts are exact whatever moment a crash picks, and whoever folds the partitions."""

import signal
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from events.bus import Bus, Record
from events.codec import decode, encode
from events.contract import Contracts
from events.envelope import Event
from events.setup import Clock
from events.topics import layout
from features.everybody import fold_everybody
from features.everybody_store import Kept, everybody_key, read_kept, seen_at
from features.plan import Plan
from features.row import cross, row
from features.state import State
from kairos.local import Server
from stream.behaviour import POSITIONS
from stream.everybody import EverybodyKeeper
from tests.stream.kiosk import (
    DAY,
    FILES,
    HOUR,
    MONDAY,
    PARTITIONS,
    Crash,
    KioskSetup,
    as_messages,
    behaviour_log,
    eventually,
    plan_of,
    write_playbook,
)
from tests.stream.test_processes import finish, kill_when, number, running
from tests.stream.test_workers import worker

EVERYBODY = """
[[aggregate]]
name = "shop"
of = "global"
event = "purchase"
value = "amount"
functions = ["count", "sum", "max"]
windows = ["1h", "7d"]
unit = "USD"
meaning = "what everybody pays"

[[aggregate]]
name = "kinds"
of = "offer_group"
event = "purchase"
by = "kind"
match = "kind"
functions = ["count", "share"]
windows = ["1d"]
unit = "sales"
meaning = "sales of this kind to everybody"
"""
REDEEMED = """
[[aggregate]]
name = "redeemed"
of = "offer"
event = "redeemed"
by = "campaign"
functions = ["count"]
windows = ["7d"]
unit = "times"
meaning = "how often everybody redeems it"
"""
Log = Sequence[tuple[int, Event]]


def playbook(folder: Path, more: str) -> Path:
    write_playbook(folder)
    (folder / "playbook.toml").write_text(FILES["playbook.toml"] + more)
    return folder


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kiosk's folder, which counts over everybody too."""
    return playbook(tmp_path_factory.mktemp("crowded"), EVERYBODY + REDEEMED)


@pytest.fixture(scope="module")
def plan(crowded: Path) -> Plan:
    return plan_of(crowded)


def events_of(log: Sequence[Record]) -> Log:
    return [(r.position, item) for r in log if isinstance(item := decode(r.value), Event)]


def records_of(log: Log, partition: int) -> list[Record]:
    return [Record("behaviour", partition, position, b"", encode(event)) for position, event in log]


def whole(plan: Plan, partition: int, log: Log) -> bytes:
    """What the partition comes to, folded at once."""
    assert plan.crowd is not None
    events = [event for _, event in log]
    return fold_everybody(plan.crowd, None, events, partition, [position for position, _ in log])


class PaperRedis:
    """As much of Redis as a keeper asks for; the process dies after `lives` more transactions."""

    def __init__(self) -> None:
        self.hashes: dict[str, dict[str, Any]] = {}
        self.lives: int | None = None
        self._queue: list[tuple[str, Mapping[str, Any]]] = []

    def hmget(self, key: str, fields: Sequence[str]) -> list[Any]:
        held = self.hashes.get(key, {})
        return [held.get(field) for field in fields]

    def pipeline(self, transaction: bool) -> "PaperRedis":
        assert transaction, "a state and how far it was read belong together"
        return self

    def hset(self, key: str, mapping: Mapping[str, Any]) -> None:
        self._queue.append((key, mapping))

    def execute(self) -> None:
        queue, self._queue = self._queue, []
        self.effect()
        for key, mapping in queue:
            self.hashes.setdefault(key, {}).update(mapping)

    def effect(self) -> None:
        if self.lives is not None:
            if self.lives == 0:
                raise Crash
            self.lives -= 1

    def kept(self, partition: int) -> Kept:
        return read_kept(_Answers(self), partition + 1)[partition]


class _Answers:
    def __init__(self, paper: PaperRedis) -> None:
        self._paper, self._told = paper, list[Any]()

    def pipeline(self, transaction: bool) -> "_Answers":
        return self

    def hmget(self, key: str, fields: Sequence[str]) -> None:
        self._told.append(self._paper.hmget(key, fields))

    def execute(self) -> list[Any]:
        return self._told


def keeper(
    plan: Plan, paper: PaperRedis, done: Mapping[int, int], marks: Mapping[int, int], eager: bool = False
) -> EverybodyKeeper:
    assert plan.crowd is not None
    return EverybodyKeeper(
        *(paper, plan.crowd, [0, 1], done, marks, threading.Event(), lambda: None), eager=eager
    )


def life(plan: Plan, paper: PaperRedis, done: dict[int, int], logs: Sequence[Log], piece: int) -> None:
    """One life of a process: it reads on from `done`, which it moves on after the counts are written."""
    ours = keeper(plan, paper, done, {})
    for start in range(0, max(map(len, logs)), piece):
        for partition, log in enumerate(logs):
            part = [each for each in log if each[0] > done.get(partition, -1)][:piece]
            ours.take(records_of(part, partition))
            if part:
                ours.reach(partition, start)
        paper.effect()  # between the customers' states and these
        ours.flush()
        paper.effect()  # between these and the positions
        for partition, log in enumerate(logs):
            rest = [each for each in log if each[0] > done.get(partition, -1)][:piece]
            if rest:
                done[partition] = rest[-1][0]


@pytest.mark.parametrize("piece", [7, 100])
def test_wherever_a_crash_comes_each_event_counts_once(plan: Plan, piece: int) -> None:
    logs = [events_of(log) for log in behaviour_log(days=3, customers=10, events_a_day=40)]
    for lives in range(12):
        paper, done = PaperRedis(), dict[int, int]()
        paper.lives = lives
        with suppress(Crash):
            life(plan, paper, done, logs, piece)
        paper.lives = None
        life(plan, paper, done, logs, piece)
        for partition, log in enumerate(logs):
            assert paper.kept(partition).state == whole(plan, partition, log)


def test_a_watermark_is_seen_only_after_everything_before_it_counts(plan: Plan) -> None:
    (log, *_) = [events_of(log) for log in behaviour_log(days=1, customers=5)]
    for eager in (True, False):
        paper = PaperRedis()
        ours = keeper(plan, paper, {}, {}, eager)
        ours.take(records_of(log, 0))
        ours.reach(0, MONDAY + DAY)
        ours.before_watermarks()
        assert (paper.kept(0).read == MONDAY + DAY) == eager
        ours.flush()
        assert (paper.kept(0).read, paper.kept(0).since) == (MONDAY + DAY, {})
        assert paper.kept(0).state == whole(plan, 0, log)
        before = dict(paper.hashes)
        ours.flush()
        assert paper.hashes == before, "nothing new, nothing written"


def test_what_is_new_to_a_running_system_is_missing_until_a_whole_window_has_passed(
    plan: Plan, tmp_path: Path
) -> None:
    older = plan_of(playbook(tmp_path, EVERYBODY))
    logs = [events_of(log) for log in behaviour_log(days=3, customers=10)]
    paper, done = PaperRedis(), dict[int, int]()
    life(older, paper, done, logs, 50)
    until = MONDAY + 3 * DAY
    ours = keeper(plan, paper, done, {0: until, 1: until})
    for partition in range(2):
        ours.reach(partition, until)
    ours.flush()
    names = [feature.name for feature in plan.customer_features]
    crossed = [feature.name for feature in plan.cross_features]
    for at, known in ((until, False), (until + 7 * DAY, False), (until + 7 * DAY + 7 * DAY // 100, True)):
        kept = [paper.kept(partition)._replace(read=at) for partition in range(2)]
        everybody, _ = seen_at(plan, kept, at)
        values = row(plan, None, at, at, everybody)
        held = [Kept(whole(older, n, log), at, {}, None) for n, log in enumerate(logs)]
        expected = row(older, None, at, at, seen_at(older, held, at)[0])
        place = names.index("shop_sum_7d")
        assert values[place] == expected[place], "what stays is carried over"
        table = cross(plan, None, at, {"kind": ["soup"], "offer": ["A"]}, at, everybody)[0]
        assert (table[crossed.index("redeemed_count_7d")] == 0) == known, "missing, then empty"
        assert table[crossed.index("kinds_count_1d")] == table[crossed.index("kinds_count_1d")]


def test_counts_that_are_new_to_a_log_that_was_read_say_so(plan: Plan) -> None:
    paper = PaperRedis()
    ours = keeper(plan, paper, {0: 17}, {})
    ours.flush()
    assert set(paper.kept(0).since.values()) == {-1}, "nobody knows up to when it was read"
    assert paper.kept(1).since == {}, "nothing of this one was"
    ours.reach(0, MONDAY)
    ours.flush()
    assert set(paper.kept(0).since.values()) == {MONDAY}


def test_counts_that_cannot_be_read_begin_anew_and_say_so(
    plan: Plan, caplog: pytest.LogCaptureFixture
) -> None:
    paper = PaperRedis()
    paper.hashes[everybody_key(0)] = {"state": b"not a state of anybody", "read": 5}
    ours = keeper(plan, paper, {0: 17}, {0: MONDAY})
    assert "counts over everybody begin anew" in caplog.text
    ours.flush()
    assert set(paper.kept(0).since.values()) == {MONDAY}


@pytest.fixture
def setup(
    bus: Bus,
    bus_server: Server,
    redis_server: Server,
    state: Any,
    contracts: Contracts,
    crowded: Path,
    tmp_path: Path,
) -> KioskSetup:
    bus.ensure(layout(contracts, PARTITIONS))
    return KioskSetup(crowded, tmp_path / "run", bus_server.url, redis_server.url)


@pytest.mark.parametrize("clock", ["events", "wall"])
def test_a_process_that_is_killed_twice_counts_everybody_once(
    setup: KioskSetup, bus: Bus, state: Any, plan: Plan, clock: Clock
) -> None:
    setup = replace(setup, clock=clock)
    logs = behaviour_log(days=40, customers=300, events_a_day=400)
    end = MONDAY + 40 * DAY

    def watermark() -> int:
        return min(number(state, "kairos:watermarks", str(n)) for n in range(PARTITIONS))

    bus.publish(as_messages([log[: len(log) // 3] for log in logs]))
    kill_when("behaviour", setup, lambda: number(state, POSITIONS, "0") > 0)
    first = watermark()
    bus.publish(as_messages([log[len(log) // 3 :] for log in logs]))
    kill_when("behaviour", setup, lambda: watermark() > first)
    assert first < watermark() < end, "the kills came in mid-replay"
    finish("behaviour", setup, lambda: watermark() == end)
    found = read_kept(state, PARTITIONS)
    for partition, log in enumerate(logs):
        assert found[partition].state == whole(plan, partition, events_of(log))
        assert (found[partition].read, found[partition].since) == (end, {})


def test_counts_are_written_while_nothing_else_happens(
    setup: KioskSetup, bus: Bus, state: Any, plan: Plan
) -> None:
    logs = behaviour_log(days=1, customers=10)
    with running("behaviour", replace(setup, clock="wall")) as process:
        eventually(lambda: state.exists(everybody_key(0)))
        bus.publish(as_messages(logs))
        eventually(lambda: read_kept(state, 2)[0].state == whole(plan, 0, events_of(logs[0])), within_s=60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    at = MONDAY + DAY + HOUR
    everybody, cut = seen_at(plan, read_kept(state, PARTITIONS), at)
    assert cut.read == MONDAY + DAY
    applied = [State(whole(plan, n, events_of(log))).applied[n] for n, log in enumerate(logs)]
    assert cut.positions == tuple(applied)
    assert everybody.read == cut.read


def test_more_workers_and_fewer_count_everybody_once(
    setup: KioskSetup, bus: Bus, state: Any, plan: Plan
) -> None:
    logs = behaviour_log(days=30, customers=100, events_a_day=200)
    third = len(logs[0]) // 3

    def position() -> int:
        return min(number(state, POSITIONS, str(n)) for n in range(PARTITIONS))

    with ExitStack() as stack:
        alone = stack.enter_context(worker(setup, "0/1"))
        bus.publish(as_messages([log[:third] for log in logs]))
        eventually(lambda: position() > 0)
        alone.end(signal.SIGKILL)
        both = [stack.enter_context(worker(setup, f"{n}/2")) for n in range(2)]
        bus.publish(as_messages([log[third : 2 * third] for log in logs]))
        eventually(lambda: position() == 2 * third - 1)
        again = stack.enter_context(worker(setup, "0/1"))
        both[0].end(signal.SIGTERM)
        both[1].end(signal.SIGKILL)
        bus.publish(as_messages([log[2 * third :] for log in logs]))
        eventually(lambda: all(number(state, POSITIONS, str(n)) == len(logs[n]) - 1 for n in range(2)))
        again.end(signal.SIGTERM)
    found = read_kept(state, PARTITIONS)
    for partition, log in enumerate(logs):
        assert found[partition].state == whole(plan, partition, events_of(log))
