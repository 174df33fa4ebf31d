"""A server that goes away between a process's first answer and its first read is waited for."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import redis

from events.bus import Message, connect
from events.codec import encode
from events.contract import Contracts
from events.envelope import Tick
from events.topics import layout
from kairos.local import Server, start_redis
from stream import behaviour, intake, learning
from tests.stream.kiosk import MONDAY, PARTITIONS, KioskSetup, eventually, purchase

AWAY_S = 0.5
PROCESSES: dict[str, ModuleType] = {"intake": intake, "behaviour": behaviour, "learner": learning}


@pytest.fixture
def servers(tmp_path: Path, contracts: Contracts) -> Iterator[dict[str, Server]]:
    """A bus with a purchase and a tick on it, and an empty state server, both of which survive a kill."""
    started = {name: start_redis(tmp_path / name, durable=True) for name in ("bus", "redis")}
    bus = connect(started["bus"].url, timeout_s=10)
    bus.ensure(layout(contracts, PARTITIONS))
    bus.publish([Message("shop", 0, b"", purchase("1", MONDAY, "c1", 1))])
    bus.publish([Message("behaviour", n, b"tick", encode(Tick(MONDAY))) for n in range(PARTITIONS)])
    bus.close()
    yield started
    for server in started.values():
        server.stop()


def worked(name: str, servers: dict[str, Server]) -> bool:
    """Whether the process has done something that lasts."""
    try:
        with redis.Redis.from_url(servers["redis"].url) as state:
            if name == "behaviour":
                return int(state.hget("kairos:watermarks", "0") or -1) == MONDAY
            if name == "learner":
                return bool(state.exists(learning.KEY))
            return int(state.hget("kairos:counters:intake", "events") or 0) == 1
    except redis.ConnectionError:
        return False


@pytest.mark.parametrize(
    ("step", "away"), [("connect", "bus"), ("connect_redis", "redis"), ("run_flow", "bus")]
)
@pytest.mark.parametrize("name", PROCESSES)
def test_a_server_that_dies_as_soon_as_it_has_answered_is_waited_for(
    kiosk: Path,
    tmp_path: Path,
    servers: dict[str, Server],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    step: str,
    away: str,
) -> None:
    module, died = PROCESSES[name], threading.Event()
    opened = getattr(module, step)

    def die() -> None:
        servers[away].kill()
        died.set()

    def answered(*args: Any, **named: Any) -> Any:
        """The step, and the server's death: behind an answer, but before the flow."""
        if step == "run_flow":
            die()
        result = opened(*args, **named)
        if not died.is_set():
            die()
        return result

    monkeypatch.setattr(module, step, answered)
    setup = KioskSetup(kiosk, tmp_path / "run", servers["bus"].url, servers["redis"].url)
    stop, failures = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            module.run(setup, stop)
        except BaseException as error:
            failures.append(error)

    process = threading.Thread(target=run)
    process.start()
    try:
        assert died.wait(60)
        time.sleep(AWAY_S)
        assert process.is_alive(), failures
        servers[away].start()  # here: a server dies with the thread that starts it
        eventually(lambda: failures or worked(name, servers))
    finally:
        stop.set()
        process.join(20)
    assert failures == []
    assert not process.is_alive()
