"""The engine's snapshots hold cursors: as small with many customers as with few; what they cost is told."""

import contextlib
import sqlite3
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from events.bus import Bus, Message
from events.codec import encode
from events.envelope import Event, Tick
from events.identity import mint, partition_of
from features.feast_store import RedisStateStore
from features.plan import Plan
from stream.behaviour import BehaviourStage
from stream.behaviour_fold import BehaviourFold
from stream.bus_source import BusSource
from stream.counters import Counters
from stream.engine import run_flow
from stream.outlet import Outlet, ends
from stream.snapshots import LARGEST_BYTES, LONGEST_S, store_bytes
from stream.state_cache import StateCache
from stream.taps import Poll
from tests.stream.kiosk import MONDAY, PARTITIONS

FEW, MANY = 20, 20_000


class Stopping(BehaviourStage):
    """Stops the flow some epochs after everything has been read."""

    left = 12
    end: dict[int, int]
    over: threading.Event

    def take(self, polls: list[Poll]) -> None:
        super().take(polls)
        if all(self._done.get(n, -1) >= at for n, at in self.end.items()):
            self.left -= 1
            if not self.left:
                self.over.set()


def flow(
    bus: Bus, state: "redis.Redis[Any]", url: str, plan: Plan, customers: int, store: Path
) -> dict[str, int]:
    """Fold one event of each customer; what was counted."""
    state.flushall()
    topic = {"behaviour": PARTITIONS, "triggers": PARTITIONS, "dead-letters": 1}
    bus.ensure(topic)
    messages = []
    for n in range(customers):
        who = mint("card", str(n))
        event = Event("purchase", str(n), MONDAY, who, {"amount": 10_000, "kind": "soup", "note": None})
        messages.append(Message("behaviour", partition_of(who, PARTITIONS), who.encode(), encode(event)))
    messages += [Message("behaviour", n, b"", encode(Tick(MONDAY + 1))) for n in range(PARTITIONS)]
    bus.publish(messages)
    stop, counters = threading.Event(), Counters(state, "behaviour")
    states = RedisStateStore(url, "kairos")
    folding = BehaviourFold(plan, states, PARTITIONS, StateCache(), counters, {})
    places = [("triggers", n) for n in range(PARTITIONS)] + [("dead-letters", 0)]
    stage = Stopping(plan, folding, states, Outlet(bus, ends(bus, places), stop), counters, bus, stop, {})
    stage.end, stage.over = {n: bus.last("behaviour", n) for n in range(PARTITIONS)}, stop
    source = BusSource(bus, [("behaviour", n) for n in range(PARTITIONS)], stop)
    run_flow("test", source, stage, stop, store, timedelta(seconds=0.1), counters)
    states.close()
    assert len(list(state.scan_iter(match=b"*kairos", count=10_000))) >= customers
    return dict(counters.values)


def largest(store: Path) -> int:
    """Bytes of the largest thing that a snapshot keeps."""
    sizes = [0]
    for file in store.glob("*.sqlite3"):
        with contextlib.closing(sqlite3.connect(file)) as connection:
            sizes += [
                size or 0 for (size,) in connection.execute("SELECT max(length(ser_change)) FROM snaps")
            ]
    return max(sizes)


def test_they_do_not_grow_with_the_customers(
    bus: Bus, state: Any, redis_server: Any, plan: Plan, tmp_path: Path
) -> None:
    few = flow(bus, state, redis_server.url, plan, FEW, tmp_path / "few")
    state.flushall()
    for n in range(PARTITIONS):
        bus.trim("behaviour", n, bus.last("behaviour", n) + 1)
    many = flow(bus, state, redis_server.url, plan, MANY, tmp_path / "many")
    for counted, store in ((few, "few"), (many, "many")):
        assert counted["snapshots"] > 2
        assert 0 < counted["snapshot_bytes"] < LARGEST_BYTES
        assert 0 <= counted["snapshot_us"] <= counted["snapshot_longest_us"]
        assert store_bytes(tmp_path / store) < LARGEST_BYTES
    assert many["folded"] == MANY
    assert max(largest(tmp_path / "many"), largest(tmp_path / "few")) < 100, "a number for each partition"
    assert many["snapshot_us"] < LONGEST_S * 1e6


@pytest.mark.parametrize("away", [0.0, 0.05])
def test_the_time_of_the_stage_is_not_the_snapshots(away: float, monkeypatch: pytest.MonkeyPatch) -> None:
    import stream.snapshots as module

    class NoRedis:
        def hgetall(self, key: str) -> dict[bytes, bytes]:
            return {}

    clock = iter([10.0, 10.07])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    counters = Counters(NoRedis(), "x")
    snapshots = module.Snapshots(counters, None)
    snapshots.end()
    snapshots.begin()
    snapshots.begin()
    snapshots.away(away)
    snapshots.end()
    snapshots.end()
    assert counters.values["snapshots"] == 1
    assert counters.values["snapshot_us"] == round((0.07 - away) * 1e6)
