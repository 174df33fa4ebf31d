"""The real processes over real servers: killed in the middle, and everything is as if they had not been."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from events import dead_letters
from events.bus import Bus, Message, connect
from events.codec import decode, parse_cloudevent
from events.contract import Contracts
from events.envelope import Event, Tick
from events.topics import layout
from features.feast_store import RedisStateStore
from features.plan import Plan
from kairos.history import everything
from kairos.local import Server, start_redis
from models.catalogue import Catalogue
from models.online import OnlineModel, online_key
from stream.intake import places
from stream.intake_journal import load as load_journal
from tests.stream.kiosk import (
    DAY,
    HOUR,
    MONDAY,
    PARTITIONS,
    SOURCES,
    KioskSetup,
    MemoryStore,
    as_messages,
    behaviour_log,
    eventually,
    invited,
    joined,
    learning_log,
    mark,
    polls_of,
    purchase,
    redeemed,
)
from tests.stream.test_behaviour_fold import Process
from tests.stream.test_learner import kept, online, stage, take

ROOT = Path(__file__).parents[2]


def environment(setup: KioskSetup) -> dict[str, str]:
    named = {key: value for key, value in os.environ.items() if not key.startswith("KAIROS_")}
    for name in ("playbook", "run_dir", "bus", "redis", "clock", "partitions", "wait_s", "cache_mb"):
        named["KAIROS_" + name.upper()] = str(getattr(setup, name))
    return named


class Running:
    """A verb as a process of its own, and what it has said."""

    def __init__(self, setup: KioskSetup, *verb: str) -> None:
        setup.run_dir.mkdir(parents=True, exist_ok=True)
        self.log = setup.run_dir / f"{verb[0]}-{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "kairos", *verb],
                cwd=ROOT,
                env=environment(setup),
                stderr=log,
            )

    def said(self, words: str) -> bool:
        return words in self.log.read_text()

    def end(self, how: signal.Signals) -> None:
        self.process.send_signal(how)
        assert self.process.wait(60) == (0 if how is signal.SIGTERM else -how)


@contextmanager
def started(setup: KioskSetup, *verb: str) -> Iterator[Running]:
    running = Running(setup, *verb)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


@contextmanager
def running(verb: str, setup: KioskSetup) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "kairos", verb], cwd=ROOT, env=environment(setup), stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def kill_when(verb: str, setup: KioskSetup, condition: Callable[[], object]) -> None:
    with running(verb, setup) as process:
        eventually(condition, step_s=0.001)
        process.send_signal(signal.SIGKILL)


def finish(verb: str, setup: KioskSetup, condition: Callable[[], object]) -> None:
    with running(verb, setup) as process:
        eventually(condition)
        process.terminate()
        assert process.wait(60) == 0


def number(state: Any, name: str, field: str) -> int:
    return int(state.hget(name, field) or -1)


def learned_to(state: Any) -> int:
    packed = state.get(online_key("feed"))
    return msgspec.msgpack.decode(packed, type=OnlineModel).learned_to if packed else -1


def test_behaviour_killed_twice_ends_in_the_same_states(
    setup: KioskSetup, bus: Bus, state: "redis.Redis", plan: Plan
) -> None:
    logs = behaviour_log(days=40, customers=300, events_a_day=400)
    whole = MemoryStore()
    expected = Process(plan, whole)
    expected.read(logs, 1_000)
    bus.publish(as_messages(logs))

    def watermark() -> int:
        return min(number(state, "kairos:watermarks", str(n)) for n in range(PARTITIONS))

    end = MONDAY + 40 * DAY
    kill_when("behaviour", setup, lambda: state.dbsize() > 150)
    first = watermark()
    kill_when("behaviour", setup, lambda: watermark() > max(first, 0))
    second = watermark()
    assert first < second < end, "the kills came in mid-replay"
    finish("behaviour", setup, lambda: watermark() == end)
    store = RedisStateStore(setup.redis, setup.project)
    people = sorted(whole.blobs)
    found = store.read_many(people)
    assert store.watermarks() == whole.marks
    store.close()
    assert dict(zip(people, found, strict=True)) == whole.blobs
    instances = {parse_cloudevent(record.value).id for record in everything(bus, "triggers")}
    assert instances == {
        parse_cloudevent(each.value).id for each in expected.outlet.messages if each.topic == "triggers"
    }


def domain_messages(count: int) -> list[Message]:
    """Links first; then shop, marketing and loyalty, every tenth event twice, every fiftieth damaged."""
    people = range(50)
    messages = [
        Message("loyalty", n % 2, b"", joined(f"l{n}", MONDAY, card=f"c{n}", mailing=f"a{n}", member=f"m{n}"))
        for n in people
    ]
    for n in range(count):
        at, who = MONDAY + n * 1_000, n % len(people)
        if n % 50 == 7:
            messages.append(Message("shop", n % 2, b"", b"damaged %d" % n))
        elif n % 13 == 0:
            messages.append(Message("marketing", n % 2, b"", invited(f"i{n}", at, f"a{who}", "A")))
        elif n % 17 == 0:
            messages.append(Message("loyalty", n % 2, b"", redeemed(f"r{n}", at, f"m{who}", "A")))
        else:
            messages.append(Message("shop", n % 2, b"", purchase(f"p{n}", at, f"c{who}", n)))
        if n % 10 == 3:
            messages.append(messages[-1])
    messages += [Message(topic, n, b"", mark(MONDAY + DAY)) for topic in SOURCES for n in range(PARTITIONS)]
    return messages


def test_intake_killed_twice_takes_every_event_in_once(
    setup: KioskSetup, bus: Bus, state: "redis.Redis", contracts: Contracts
) -> None:
    messages = domain_messages(20_000)
    for start in range(0, len(messages), 5_000):
        bus.publish(messages[start : start + 5_000])

    def written() -> int:
        return sum(bus.last("behaviour", n) + 1 for n in range(PARTITIONS))

    kill_when("intake", setup, lambda: written() > 1_000)
    first = written()
    kill_when("intake", setup, lambda: written() > first + 1_000)
    assert first < written() < 18_000, "the kills came in mid-replay"
    sources = places(contracts, PARTITIONS)

    def done() -> bool:
        read = load_journal(state).read
        return all(read.get(place, -1) == bus.last(*place) for place in sources)

    finish("intake", setup, done)
    events: list[Event] = []
    ticks = []
    for record in everything(bus, "behaviour"):
        item = decode(record.value)
        if isinstance(item, Event):
            events.append(item)
        else:
            assert isinstance(item, Tick)
            ticks.append((record.partition, item.time))
    sent: Counter[str] = Counter()
    damaged = 0
    for message in messages:
        if message.value.startswith(b"damaged"):
            damaged += 1
        else:
            event = parse_cloudevent(message.value)
            if event.type != "kairos.mark":
                named = [event.data.get(name) for name in ("receipt", "invitation", "redemption", "link_id")]
                sent[str(next(filter(None, named)))] = 1
    assert Counter(event.id for event in events) == sent
    assert ticks == [(n, MONDAY + DAY) for n in range(PARTITIONS)]
    assert len({event.customer for event in events}) == 50
    letters = [dead_letters.decode(each.value) for each in everything(bus, "dead-letters")]
    assert len(letters) == damaged
    assert len({(each.topic, each.partition, each.position) for each in letters}) == damaged
    for n in range(PARTITIONS):
        mine = [
            parse_cloudevent(m.value).data["receipt"]
            for m in messages
            if (m.topic, m.partition) == ("shop", n) and m.value[:1] == b"{" and b"receipt" in m.value
        ]
        wanted = set(mine)
        for partition in range(PARTITIONS):
            got = [
                each.id
                for record in everything(bus, "behaviour", [partition])
                if isinstance(each := decode(record.value), Event) and each.id in wanted
            ]
            order = {receipt: place for place, receipt in reversed(list(enumerate(mine)))}
            assert [order[ident] for ident in got] == sorted(order[ident] for ident in got)


def test_the_learner_killed_in_the_middle_ends_with_the_same_weights(
    setup: KioskSetup, bus: Bus, state: "redis.Redis", catalogue: Catalogue
) -> None:
    days = 12
    logs = learning_log(catalogue, days=days, decisions_a_day=60)
    take(stage(catalogue, state), polls_of(logs, 1_000))
    whole, left = online(state), kept(state)
    state.flushall()
    half = as_messages([log[: len(log) * 2 // 3] for log in logs])
    bus.publish(half)

    kill_when("learner", setup, lambda: learned_to(state) > MONDAY)
    with running("learner", setup) as process:
        bus.publish(as_messages([log[len(log) * 2 // 3 :] for log in logs]))
        eventually(lambda: learned_to(state) > MONDAY + 5 * DAY, step_s=0.001)
        process.send_signal(signal.SIGKILL)
    finish("learner", setup, lambda: learned_to(state) == MONDAY + days * DAY)
    assert online(state) == whole
    assert kept(state) == left


def test_a_second_learner_waits_says_so_and_goes_on_after_a_kill(
    setup: KioskSetup, bus: Bus, state: "redis.Redis", catalogue: Catalogue
) -> None:
    """Two at once would each teach the models what the other has taught them."""
    logs = learning_log(catalogue, days=12, decisions_a_day=60)
    take(stage(catalogue, state), polls_of(logs, 1_000))
    whole, left = online(state), kept(state)
    state.flushall()

    bus.publish(as_messages([log[: len(log) // 2] for log in logs]))
    with started(setup, "learner") as first, started(setup, "learner") as second:
        eventually(lambda: first.said("waiting for learner") or second.said("waiting for learner"))
        if first.said("waiting for learner"):
            first, second = second, first
        assert second.said(f"learner is held by process {first.process.pid} on")
        eventually(lambda: learned_to(state) > MONDAY, step_s=0.001)
        first.end(signal.SIGKILL)
        at = learned_to(state)
        bus.publish(as_messages([log[len(log) // 2 :] for log in logs]))
        eventually(lambda: learned_to(state) == MONDAY + 12 * DAY)
        assert second.said("learner: reading")
        assert at < MONDAY + 12 * DAY
        second.end(signal.SIGTERM)
    assert online(state) == whole
    assert kept(state) == left


@pytest.mark.parametrize("verb", ["intake", "behaviour", "learner"])
@pytest.mark.parametrize("away", ["bus", "redis"])
def test_what_is_away_at_start_is_named_and_waited_for_a_stated_time(
    kiosk: Path,
    tmp_path: Path,
    redis_server: Server,
    bus_server: Server,
    free_port: int,
    verb: str,
    away: str,
) -> None:
    nowhere = f"redis://127.0.0.1:{free_port}"
    urls = {"bus": bus_server.url, "redis": redis_server.url} | {away: nowhere}
    setup = KioskSetup(kiosk, tmp_path, **urls, wait_s=0.5)
    done = subprocess.run(
        [sys.executable, "-m", "kairos", verb],
        cwd=ROOT,
        env=environment(setup),
        capture_output=True,
        text=True,
    )
    assert done.returncode not in (0, -signal.SIGKILL)
    assert "waiting for" in done.stderr
    assert nowhere in done.stderr


def test_a_stop_ends_the_waiting_at_start(
    kiosk: Path, tmp_path: Path, bus_server: Server, free_port: int
) -> None:
    setup = KioskSetup(kiosk, tmp_path, bus_server.url, f"redis://127.0.0.1:{free_port}")
    process = subprocess.Popen(
        [sys.executable, "-m", "kairos", "behaviour"],
        cwd=ROOT,
        env=environment(setup),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "waiting for Redis" in process.stderr.readline()
    process.terminate()
    assert process.wait(60) == 0
    process.stderr.close()


def test_a_state_redis_that_forgot_the_journal_is_refused(
    setup: KioskSetup, bus: Bus, state: "redis.Redis"
) -> None:
    bus.publish([Message("shop", 0, b"", purchase("1", MONDAY, "c1", 1))])
    finish("intake", setup, lambda: bus.last("behaviour", 0) + bus.last("behaviour", 1) > -2)
    state.flushall()
    done = subprocess.run(
        [sys.executable, "-m", "kairos", "intake"],
        cwd=ROOT,
        env=environment(setup),
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "kairos:intake" in done.stderr
    assert done.returncode == 4, "an exit code of its own, and no traceback"
    assert "Traceback" not in done.stderr


def test_servers_that_go_away_in_the_middle_are_waited_for(
    kiosk: Path, tmp_path: Path, contracts: Contracts
) -> None:
    servers = [start_redis(tmp_path / name, durable=True) for name in ("bus", "state")]
    setup = KioskSetup(kiosk, tmp_path / "run", *(server.url for server in servers))
    messages = domain_messages(12_000)
    wanted = {m.value for m in messages if m.value[:1] == b"{" and b"kairos.mark" not in m.value}
    try:
        bus = connect(setup.bus, timeout_s=10)
        bus.ensure(layout(contracts, PARTITIONS))
        bus.publish(messages)
        with running("intake", setup) as intake, running("behaviour", setup) as behaviour:
            for server in servers:
                at = bus.last("behaviour", 0)
                eventually(lambda at=at: bus.last("behaviour", 0) > at + 500, step_s=0.001)  # type: ignore[misc]
                server.kill()
                server.start()
            redis_client = redis.Redis.from_url(setup.redis)
            eventually(
                lambda: (
                    min(number(redis_client, "kairos:watermarks", str(n)) for n in range(PARTITIONS))
                    == MONDAY + DAY
                )
            )
            assert intake.poll() is None
            assert behaviour.poll() is None
            counted = redis_client.hgetall("kairos:counters:intake")
            redis_client.close()
        every = [decode(record.value) for record in everything(bus, "behaviour")]
        ids = [each.id for each in every if isinstance(each, Event)]
        assert len(ids) == len(set(ids)) == len(wanted)
        assert int(counted[b"events"]) == len(ids)
        bus.close()
    finally:
        for server in servers:
            server.stop()


def test_time_is_the_wall_clocks_when_live(setup: KioskSetup, state: "redis.Redis") -> None:

    live = replace(setup, clock="wall")
    with running("intake", live), running("behaviour", live):
        eventually(lambda: number(state, "kairos:watermarks", "0") > 0)
        now = int(time.time() * 1_000)
        eventually(lambda: number(state, "kairos:watermarks", "0") > now)
        assert number(state, "kairos:watermarks", "0") < time.time() * 1_000 + HOUR
