"""The push door: one command for one trigger, however often it is delivered and whoever dies."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import orjson
import pytest

from events.bus import Message
from events.codec import render_cloudevent, render_time
from events.faults import PlaybookRefused
from events.identity import partition_of
from events.topics import PUSH_COMMANDS, TRIGGERS
from serving import push
from serving.decider import Decider
from serving.push_place import pushed_key
from tests.serving.corner import DAY, MORNING, Corner, Shop


def fire(shop: Shop, customer: str, instance: str, times: int = 1, at: int = MORNING - 1) -> None:
    data = {"trigger": "big_shop", "customer": customer, "time": render_time(at), "cause": "c", "payload": {}}
    value = render_cloudevent("kairos.trigger", instance, "test", data, at)
    partition = partition_of(customer, shop.setup.partitions)
    shop.bus.publish([Message(TRIGGERS, partition, customer.encode(), value)] * times)


@contextmanager
def pushing(setup: Corner, count: int = 1) -> Iterator[None]:
    stop = threading.Event()
    failures: list[BaseException] = []

    def target() -> None:
        try:
            push.run(setup, stop)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=target) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(15)
    assert not failures, failures[0]


def commands(shop: Shop) -> list[dict[str, Any]]:
    return [orjson.loads(record.value) for record in shop.on(PUSH_COMMANDS)]


def count(shop: Shop, name: str) -> int:
    value: Any = shop.redis.hget("kairos:counters:push", name)
    return int(value or 0)


def until(condition: Any, within_s: float = 60.0) -> None:
    ends = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < ends, "it did not come to that"
        time.sleep(0.01)


def test_a_trigger_becomes_one_command(shop: Shop) -> None:
    customer = shop.bought("p1", (MORNING - DAY, 5.0, "bakery"))
    before = count(shop, "commands")
    with pushing(shop.setup):
        fire(shop, customer, "big_shop-p1", times=10)
        fire(shop, customer, "big_shop-p1")
        until(lambda: count(shop, "redelivered") >= 10)
    (command,) = [each for each in commands(shop) if each["instance"] == "big_shop-p1"]
    assert command["customer"] == customer
    assert command["trigger"] == "big_shop"
    assert command["offer"] in {"bread", "soup", "tea"}
    assert command["expires"] == "2017-07-15T02:40:00Z"
    assert count(shop, "commands") == before + 1
    (record,) = [each for each in shop.decided() if each.decision_id == command["decision_id"]]
    assert record.placement == "push"
    assert record.request_id == "big_shop-p1"


def test_a_trigger_that_comes_again_later_is_recognised(shop: Shop) -> None:
    customer = shop.bought("p7", (MORNING - DAY, 5.0, "bakery"))

    def told() -> int:
        return [each["instance"] for each in commands(shop)].count("big_shop-p7")

    with pushing(shop.setup):
        fire(shop, customer, "big_shop-p7")
        until(lambda: told() == 1)
        triggers, before = count(shop, "triggers"), count(shop, "redelivered")
        fire(shop, customer, "big_shop-p7", times=3)
        until(lambda: count(shop, "triggers") >= triggers + 3)
    assert told() == 1
    assert count(shop, "redelivered") == before + 3


DYING = """
import os, signal, sys, threading
from pathlib import Path
from serving import push
from tests.serving.corner import Corner

async def die(self, place, position, commands, counts):
    if commands:
        os.kill(os.getpid(), signal.SIGKILL)

push.Push._written = die
playbook, run_dir, bus, redis, mlflow = sys.argv[1:]
push.run(Corner(Path(playbook), Path(run_dir), bus, redis, mlflow), threading.Event())
"""


def test_killed_between_the_command_and_the_cursor(shop: Shop) -> None:
    customer = shop.bought("p2", (MORNING - DAY, 5.0, "bakery"))
    fire(shop, customer, "big_shop-p2")
    setup = shop.setup
    arguments = [str(setup.playbook), str(setup.run_dir), setup.bus, setup.redis, setup.mlflow]
    died = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DYING, *arguments],
        timeout=240,
        env=os.environ | {"PYTHONPATH": "."},
    )
    assert died.returncode == -signal.SIGKILL
    assert [each["instance"] for each in commands(shop)].count("big_shop-p2") == 1
    assert not shop.redis.exists(pushed_key(customer, "big_shop-p2"))
    fire(shop, customer, "big_shop-p2", times=10)
    before = count(shop, "redelivered")
    with pushing(setup):
        until(lambda: count(shop, "redelivered") >= before + 10, 60)
    assert [each["instance"] for each in commands(shop)].count("big_shop-p2") == 1


def test_a_lost_cursor_does_not_push_again(shop: Shop) -> None:
    customer = shop.bought("p3", (MORNING - DAY, 5.0, "bakery"))
    fire(shop, customer, "big_shop-p3")
    with pushing(shop.setup):
        until(lambda: any(each["instance"] == "big_shop-p3" for each in commands(shop)))
    everything = len(commands(shop))
    read = len(shop.on(TRIGGERS))
    shop.redis.delete(push.CURSOR, pushed_key(customer, "big_shop-p3"), "kairos:counters:push")
    with pushing(shop.setup):
        until(lambda: count(shop, "triggers") >= read)
    assert len(commands(shop)) == everything


def test_two_processes_push_once(shop: Shop) -> None:
    customers = [shop.bought(f"two-{n}", (MORNING - DAY, 5.0, "bakery")) for n in range(20)]
    with pushing(shop.setup, count=2):
        for n, customer in enumerate(customers):
            fire(shop, customer, f"two-{n}", times=2)
        until(lambda: sum(each["instance"].startswith("two-") for each in commands(shop)) >= 20)
        time.sleep(0.5)
    told = [each["instance"] for each in commands(shop) if each["instance"].startswith("two-")]
    assert sorted(told) == sorted(f"two-{n}" for n in range(20))


def test_it_fails_closed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    known = shop.bought("p4", (MORNING - DAY, 5.0, "bakery"))
    stranger = shop.customer("p5")
    before = len(commands(shop))
    decide = Decider.decide

    async def broken(self: Decider, ask: Any, *, closed: bool = False) -> Any:
        if ask.request_id == "breaks":
            raise ZeroDivisionError
        return await decide(self, ask, closed=closed)

    monkeypatch.setattr(Decider, "decide", broken)
    with pushing(shop.setup):
        fire(shop, known, "breaks")
        fire(shop, stranger, "of nobody")
        partition = partition_of(known, shop.setup.partitions)
        shop.bus.publish([Message(TRIGGERS, partition, b"x", b"not a trigger")])
        until(lambda: [count(shop, n) for n in ("failed", "behind", "unreadable")] == [1, 1, 1])
    assert len(commands(shop)) == before


def test_a_state_behind_its_trigger_is_waited_for(shop: Shop) -> None:
    customer = shop.customer("p6")
    later = MORNING + 3_600_000
    with pushing(shop.setup):
        fire(shop, customer, "early", at=later)
        time.sleep(0.5)
        assert not any(each["instance"] == "early" for each in commands(shop))
        shop.bought("p6", (later, 5.0, "bakery"))
        until(lambda: any(each["instance"] == "early" for each in commands(shop)))


def test_a_playbook_without_a_push_placement_is_refused(shop: Shop, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("no-push")
    for file in shop.setup.playbook.iterdir():
        text = file.read_text()
        text = text.replace('name = "push"', 'name = "pushes"').replace("push = {", "pushes = {")
        (folder / file.name).write_text(text)
    with pytest.raises(PlaybookRefused, match="expected push, found none; did you mean pushes"):
        push.run(replace(shop.setup, playbook=folder), threading.Event())
