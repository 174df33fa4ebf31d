"""The door itself: keys, exposure, parts that are away, starting and stopping."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from events.bus import BusUnavailable
from events.topics import DECISIONS
from features.store import StoreUnavailable
from kairos.local import Server, free_port, start_redis
from models.record import unpack
from serving import app
from serving.app import PortTaken
from serving.gate import Exposed
from tests.serving.corner import MORNING, Corner, Shop, fault_of, on_port, purchase, serving

ASK = {"customer": "card:1", "placement": "feed", "at": MORNING}
KEY = "a key of some length"


@pytest.fixture
def own_servers(tmp_path: Path, corner_playbook: Path) -> Any:
    """A service on servers that only this test may stop."""
    state = start_redis(tmp_path / "state")
    log = start_redis(tmp_path / "bus", durable=True)
    mlflow = f"sqlite:///{tmp_path / 'mlflow.db'}"
    setup = Corner(corner_playbook, tmp_path, log.url, state.url, mlflow, port=free_port())
    yield setup, state, log
    state.stop()
    log.stop()


def test_with_a_key_every_request_must_carry_it(shop: Shop) -> None:
    with serving(on_port(shop.setup, free_port(), api_key=KEY)) as client:
        assert client.post("/v1/decisions", json=ASK).status_code == 200
        for key in (b"", b"another", KEY.encode() + b"x", b"\xe9"):
            with httpx.Client(base_url=client.base_url) as stranger:
                headers = {b"X-API-Key": key} if key else {}
                for path in ("/v1/models", "/metrics", "/v1/customers/card:1", "/nowhere"):
                    answer = stranger.get(path, headers=headers)
                    assert fault_of(answer, 401)["where"] == "header.X-API-Key"
                assert stranger.post("/v1/decisions", json=ASK, headers=headers).status_code == 401
                assert stranger.get("/health/ready").status_code == 200
                assert stranger.get("/docs").status_code == 200


def test_without_a_key_it_listens_on_loopback_only(corner: Corner) -> None:
    for host in ("0.0.0.0", "::", "192.168.1.1", "example.org"):
        with pytest.raises(Exposed, match="set KAIROS_API_KEY"):
            app.create_app(on_port(corner, 1, host=host))
    with pytest.raises(Exposed, match="16 characters"):
        app.create_app(on_port(corner, 1, host="0.0.0.0", api_key="short"))
    app.create_app(on_port(corner, 1, host="0.0.0.0", api_key=KEY))


def test_what_is_away_is_named_and_its_return_is_noticed(own_servers: tuple[Corner, Server, Server]) -> None:
    setup, state, log = own_servers
    with serving(setup) as client:
        assert client.post("/v1/decisions", json=ASK).status_code == 200
        state.kill()
        started = time.monotonic()
        assert fault_of(client.post("/v1/decisions", json=ASK), 503)["where"] == "Redis"
        assert fault_of(client.get("/v1/customers/card:1"), 503)["where"] == "Redis"
        assert fault_of(client.get("/health/ready"), 503)["where"] == "redis"
        assert client.get("/health/live").status_code == 200
        assert "kairos_redis_up 0.0" in client.get("/metrics").text
        assert time.monotonic() - started < 5
        state.start()
        assert client.post("/v1/decisions", json=ASK).status_code == 200
        log.kill()
        event = client.post("/v1/events", json=purchase("1"))
        assert fault_of(event, 503)["where"] == "the bus"
        ready = fault_of(client.get("/health/ready"), 503)
        assert ready["where"] == "bus"
        # Decisions go on: their records wait in the outbox until the bus is back.
        kept = client.post("/v1/decisions", json=ASK | {"request_id": "while-away"})
        assert kept.status_code == 200
        log.start()
        assert client.post("/v1/events", json=purchase("1")).status_code == 202
        ends = time.monotonic() + 10
        while "kairos_outbox_pending 0.0" not in client.get("/metrics").text:
            assert time.monotonic() < ends
            time.sleep(0.05)


@pytest.mark.parametrize("part", ["redis", "bus"])
def test_what_does_not_come_ends_the_start(corner: Corner, part: str) -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}"
    setup = on_port(corner, free_port(), wait_s=0.5, **{part: nowhere})
    with pytest.raises((StoreUnavailable, BusUnavailable), match=f"{nowhere}.*set KAIROS_{part.upper()}"):
        app.run(setup)


def test_a_taken_port_ends_the_start(shop: Shop) -> None:
    setup = on_port(shop.setup, free_port())
    with serving(setup), pytest.raises(PortTaken, match="set KAIROS_PORT"):
        app.run(setup)


SERVE = """
import sys
from pathlib import Path
from serving import app
from tests.serving.corner import Corner

playbook, run_dir, bus, redis, mlflow, port = sys.argv[1:]
app.run(Corner(Path(playbook), Path(run_dir), bus, redis, mlflow, port=int(port)))
"""


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_with_everything_relayed(shop: Shop, ending: signal.Signals) -> None:
    setup, port = shop.setup, free_port()
    arguments = [str(setup.playbook), str(setup.run_dir), setup.bus, setup.redis, setup.mlflow, str(port)]
    command = [sys.executable, "-W", "ignore", "-c", SERVE, *arguments]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": "."}, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        address = f"http://127.0.0.1:{port}"
        assert process.stdout.readline().decode() == f"Kairos answers at {address} (docs at {address}/docs)\n"
        with httpx.Client(base_url=address) as client:
            ids = [client.post("/v1/decisions", json=ASK).json()["decision_id"] for _ in range(20)]
        process.send_signal(ending)
        assert process.wait(60) == 0
        assert process.stdout.read() == b""
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    sent = {unpack(record.value).decision_id for record in shop.on(DECISIONS)}
    assert set(ids) <= sent


def test_a_start_that_waits_can_be_stopped(corner: Corner) -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}"
    arguments = [str(corner.playbook), str(corner.run_dir), nowhere, nowhere, corner.mlflow, str(free_port())]
    command = [sys.executable, "-W", "ignore", "-c", SERVE, *arguments]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": "."}, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        told = {process.stderr.readline().split(b" at ")[0] for _ in range(2)}
        assert told == {b"waiting for Redis", b"waiting for the bus"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
