"""One holder at a time: whoever waits says so, and who was away too long writes nothing any more."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
import redis

from kairos.local import Server
from stream.lease import Holder, LeaseLost, Leases
from stream.patience import Stopped

LIFE_MS = 1_500
NAMES = ["behaviour:0", "behaviour:1"]


@pytest.fixture
def url(redis_server: Server, state: "redis.Redis") -> str:
    return redis_server.url


@pytest.fixture
def held(url: str) -> Iterator[Leases]:
    leases = Leases(url, NAMES, LIFE_MS)
    leases.acquire("first", threading.Event())
    yield leases
    leases.release()


def foreign(held: Leases) -> Leases:
    """The same as if it ran on another machine, where nobody here can know whether it lives."""
    held.holder = held.holder._replace(machine="elsewhere")
    return held


def test_a_second_one_waits_says_so_and_goes_on_when_the_first_stops(
    url: str, held: Leases, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    second = Leases(url, ["behaviour:1"], LIFE_MS)
    done = threading.Event()

    def take() -> None:
        second.acquire("second", threading.Event())
        done.set()

    thread = threading.Thread(target=take)
    thread.start()
    assert not done.wait(3 * LIFE_MS / 1_000), "it is kept while its holder lives"
    held.guard()
    assert f"second: waiting for behaviour:1: 1 is held by process {os.getpid()} on" in caplog.text
    held.release()
    assert done.wait(30)
    thread.join()
    second.guard()
    second.release()


def test_all_or_none_is_taken(url: str, held: Leases, state: "redis.Redis") -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(Stopped):
        Leases(url, ["behaviour:2", "behaviour:1"], LIFE_MS).acquire("greedy", stop)
    assert not state.exists("kairos:{lease}:behaviour:2")


def test_a_holder_that_died_here_is_not_waited_for(url: str, state: "redis.Redis") -> None:
    child = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import sys, threading\nfrom stream.lease import Leases\n"
            f"Leases({url!r}, ['behaviour:0'], 60_000).acquire('child', threading.Event())\n"
            "print('held', flush=True)\nsys.stdin.read()\n",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == b"held\n"
    child.kill()
    ours = Leases(url, ["behaviour:0"], LIFE_MS)
    started = time.monotonic()
    while not Holder(*_split(state.get("kairos:{lease}:behaviour:0"))).died():
        assert time.monotonic() < started + 5, "a zombie is dead"
        time.sleep(0.01)
    ours.acquire("heir", threading.Event())
    assert time.monotonic() - started < 5
    ours.release()
    child.wait()
    child.stdin.close()
    child.stdout.close()


def _split(raw: object) -> tuple[str, str, int, int, str]:
    assert isinstance(raw, bytes)
    holder = Holder.parse(raw.decode())
    assert holder is not None
    return tuple(holder)


def test_one_that_cannot_be_known_to_be_dead_runs_out(url: str, state: "redis.Redis") -> None:
    dead = foreign(Leases(url, ["behaviour:0"], LIFE_MS))
    assert dead._take(again=False) == ""  # and then nothing prolongs it
    ours = Leases(url, ["behaviour:0"], LIFE_MS)
    started = time.monotonic()
    ours.acquire("heir", threading.Event())
    assert 0.1 < time.monotonic() - started < 3
    ours.release()


def test_who_was_away_and_was_followed_by_another_writes_no_more(url: str, state: "redis.Redis") -> None:
    away = foreign(Leases(url, NAMES, LIFE_MS))
    assert away._take(again=False) == ""
    writer = redis.Redis.from_url(away.address(url))
    writer.set("x", "1")
    time.sleep(LIFE_MS / 1_000)
    heir = Leases(url, NAMES, LIFE_MS)
    heir.acquire("heir", threading.Event())
    heir.release()
    with pytest.raises(LeaseLost):
        away.guard()  # free again, but another had it since
    with pytest.raises(LeaseLost):
        away.guard()


def test_what_a_stopped_holder_has_half_sent_never_arrives(url: str, state: "redis.Redis") -> None:
    away = foreign(Leases(url, NAMES, LIFE_MS))
    assert away._take(again=False) == ""
    writer = redis.Redis.from_url(away.address(url))
    connection = writer.connection_pool.get_connection()
    connection.send_command("SET", "x", "old")
    assert connection.read_response() == b"OK"
    time.sleep(LIFE_MS / 1_000)
    heir = Leases(url, NAMES, LIFE_MS)
    heir.acquire("heir", threading.Event())
    state.set("x", "new")

    def finish() -> None:
        connection.send_command("SET", "x", "old")
        connection.read_response()

    with pytest.raises((redis.ConnectionError, OSError)):
        finish()
    assert state.get("x") == b"new"
    connection.disconnect()
    heir.release()


def test_an_absence_that_nobody_used_harms_nothing(url: str, state: "redis.Redis") -> None:
    away = foreign(Leases(url, NAMES, LIFE_MS))
    assert away._take(again=False) == ""
    time.sleep(1.2 * LIFE_MS / 1_000)
    assert not state.exists("kairos:{lease}:behaviour:0")
    away.guard()
    assert state.exists("kairos:{lease}:behaviour:0")
    state.flushall()  # a Redis that came back without
    away._until = 0
    away.guard()
