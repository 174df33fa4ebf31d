"""The corner shop on real servers."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from events.bus import Bus, connect
from events.topics import layout
from kairos.local import Server, free_port
from tests.serving.corner import FILES, MORNING, Corner, Shop, on_port, serving


@pytest.fixture(scope="session")
def corner_playbook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corner shop's folder."""
    folder = tmp_path_factory.mktemp("corner")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def corner(
    corner_playbook: Path,
    redis_server: Server,
    bus_server: Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> Corner:
    """Settings of a service over empty servers."""
    for server in (redis_server, bus_server):
        with redis.Redis(port=server.port) as client:
            client.flushall()
    run_dir = tmp_path_factory.mktemp("run")
    return Corner(
        playbook=corner_playbook,
        run_dir=run_dir,
        bus=bus_server.url,
        redis=redis_server.url,
        mlflow=f"sqlite:///{run_dir / 'mlflow.db'}",
    )


@pytest.fixture(scope="module")
def shop(corner: Corner) -> Iterator[Shop]:
    """What the stream would have written, read up to that morning."""
    bus: Bus = connect(corner.bus, timeout_s=10)
    found = Shop(corner, bus)
    bus.ensure(layout(found.plan.playbook.contracts, corner.partitions))
    found.read_up_to(MORNING)
    yield found
    found.redis.close()
    bus.close()


@pytest.fixture(scope="module")
def door(shop: Shop) -> Iterator[httpx.Client]:
    """A client of a server whose clock is the log's."""
    with serving(on_port(shop.setup, free_port())) as client:
        yield client


@pytest.fixture(scope="module")
def wall_door(shop: Shop) -> Iterator[httpx.Client]:
    """A client of a server whose clock is the wall's."""
    with serving(on_port(shop.setup, free_port(), clock="wall")) as client:
        yield client
