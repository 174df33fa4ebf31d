"""Triggers change under the running process: live within a second, or refused whole while the old ones go on."""

import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event as Flag

import pytest
import redis

from events.bus import Bus, Message
from events.codec import encode, parse_cloudevent
from events.envelope import Event, Tick
from events.identity import mint, partition_of
from features.convert import convert, digest_of
from features.declare import load
from features.feast_store import RedisStateStore
from features.fold import empty, merge
from features.fold import encode as bytes_of
from features.plan import compile_plan
from features.remembered import unpack
from features.state import State
from features.storage import storage_of
from features.triggers import act
from kairos.verify import History, everything
from stream.hot_change import CHANGED, REFUSED, HotPlan
from tests.stream.kiosk import DAY, FILES, HOUR, MONDAY, PARTITIONS, KioskSetup, eventually, plan_of
from tests.stream.test_processes import Running, started

ANNE, BOB = mint("card", "anne"), mint("card", "bob")
SMALL = """
[[trigger]]
name = "small_sale"
meaning = "something small was bought"
on = "purchase"
when = "event.amount < 5"
"""
OFTEN = SMALL.replace("small_sale", "third_sale").replace('when = "event.amount < 5"', "nth = 3")
SEASON = SMALL.replace("event.amount", "event.amuont")


class Till:
    """Puts purchases of customers onto the log, each some minutes after the one before."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._count = 0

    def sell(self, who: str, amount: int, kind: str = "purchase") -> Event:
        self._count += 1
        fields = {"amount": amount * 10_000, "kind": "tea", "note": None}
        fields = fields if kind == "purchase" else {"campaign": "A"}
        event = Event(kind, f"e{self._count}", MONDAY + self._count * HOUR // 10, who, fields)
        partition = partition_of(who, PARTITIONS)
        self._bus.publish([Message("behaviour", partition, who.encode(), encode(event))])
        return event

    def tick(self, ms: int) -> None:
        self._bus.publish([Message("behaviour", n, b"", encode(Tick(ms))) for n in range(PARTITIONS)])


@pytest.fixture
def till(bus: Bus) -> Till:
    return Till(bus)


@pytest.fixture
def changing(setup: KioskSetup, tmp_path: Path) -> KioskSetup:
    """The kiosk's processes over a playbook of their own, which may change."""
    folder = Path(shutil.copytree(setup.playbook, tmp_path / "playbook"))
    return replace(setup, playbook=folder)


def write(setup: KioskSetup, text: str) -> float:
    """Change the triggers as an editor does; when that was."""
    fresh = setup.playbook / "triggers.toml.new"
    fresh.write_text(text)
    fresh.rename(setup.playbook / "triggers.toml")
    return time.monotonic()


def fired(bus: Bus) -> list[tuple[str, str]]:
    """(trigger, cause) of all that fired."""
    told = [parse_cloudevent(record.value).data for record in everything(bus, "triggers")]
    return [(str(each["trigger"]), str(each.get("cause"))) for each in told]


def counted(state: "redis.Redis", name: str) -> int:
    return int(state.hget("kairos:counters:behaviour", name) or 0)  # type: ignore[arg-type]


def folding(state: "redis.Redis", setup: KioskSetup) -> bool:
    """Whether every partition is folded by the plan of the folder as it stands."""
    digest = plan_of(setup.playbook).digest.encode()
    return set(state.hgetall("kairos:plan").values()) == {digest}  # type: ignore[union-attr]


def warm(till: Till, bus: Bus, running: Running) -> None:
    """The first event is folded once the process is up."""
    sold = till.sell(ANNE, 150)
    eventually(lambda: ("big_week", sold.id) in fired(bus), within_s=60)
    assert running.process.poll() is None


def live(till: Till, bus: Bus, name: str, amount: int) -> float:
    """Sell until one that was sold here fires the trigger; when that was."""
    sold = set()
    ends = time.monotonic() + 15
    while time.monotonic() < ends:
        sold.add(till.sell(BOB, amount).id)
        if any(each == name and cause in sold for each, cause in fired(bus)):
            return time.monotonic()
        time.sleep(0.03)
    raise AssertionError(f"{name} did not fire within 15 s")


def test_added_edited_removed_and_bad_ones(
    changing: KioskSetup, bus: Bus, state: "redis.Redis", till: Till
) -> None:
    with started(changing, "behaviour") as running:
        warm(till, bus, running)
        took = []
        for text, amount, name in (
            (FILES["triggers.toml"] + SMALL, 3, "small_sale"),
            (FILES["triggers.toml"] + SMALL.replace("< 5", "< 50"), 40, "small_sale"),
        ):
            before = counted(state, CHANGED)
            wrote = write(changing, text)
            took.append(live(till, bus, name, amount) - wrote)
            assert counted(state, CHANGED) == before + 1
        print("live after", took)
        assert max(took) < 1, took
        small = [cause for each, cause in fired(bus) if each == "small_sale"]
        # Refused whole: what stands beside the fault is not taken either, and the old ones go on.
        write(changing, FILES["triggers.toml"].replace(">= 100", ">= 1") + SEASON)
        eventually(lambda: counted(state, REFUSED) == 1, within_s=5)
        assert running.said("amuont")
        write(changing, FILES["triggers.toml"] + OFTEN)
        eventually(lambda: counted(state, REFUSED) == 2, within_s=5)
        assert running.said("trigger third_sale: nth")
        sold = till.sell(BOB, 30)
        eventually(lambda: ("small_sale", sold.id) in fired(bus), within_s=5)
        # Removed: the next purchase fires nothing.
        wrote = write(changing, FILES["triggers.toml"])
        eventually(lambda: folding(state, changing), within_s=5)
        assert time.monotonic() - wrote < 1
        small = [cause for each, cause in fired(bus) if each == "small_sale"]
        till.sell(BOB, 30)
        campaign = till.sell(BOB, 0, "invited")
        eventually(lambda: ("invitation_came", campaign.id) in fired(bus), within_s=5)
        assert [cause for each, cause in fired(bus) if each == "small_sale"] == small
        running.end(signal.SIGTERM)
