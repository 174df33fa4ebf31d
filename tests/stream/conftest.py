"""The kiosk on real servers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from events.bus import Bus
from events.contract import Contracts
from events.topics import layout
from features.declare import load
from features.plan import Plan
from kairos.local import Server
from models.catalogue import Catalogue
from models.catalogue import load as load_catalogue
from tests.stream.kiosk import PARTITIONS, KioskSetup, plan_of, write_playbook


@pytest.fixture(scope="session")
def kiosk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kiosk's playbook folder."""
    return write_playbook(tmp_path_factory.mktemp("kiosk"))


@pytest.fixture(scope="session")
def contracts(kiosk: Path) -> Contracts:
    return load(kiosk).contracts


@pytest.fixture(scope="session")
def plan(kiosk: Path) -> Plan:
    return plan_of(kiosk)


@pytest.fixture(scope="session")
def catalogue(kiosk: Path, plan: Plan) -> Catalogue:
    return load_catalogue(kiosk, plan)


@pytest.fixture
def state(redis_server: Server) -> Iterator["redis.Redis"]:
    """An empty Redis for states."""
    client = redis.Redis(port=redis_server.port)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def partitions() -> int:
    """How many partitions each topic has."""
    return PARTITIONS


@pytest.fixture
def setup(
    bus: Bus,
    bus_server: Server,
    redis_server: Server,
    state: "redis.Redis",
    contracts: Contracts,
    kiosk: Path,
    tmp_path: Path,
    partitions: int,
) -> KioskSetup:
    """The settings of processes over an empty bus, with its topics, and an empty Redis."""
    bus.ensure(layout(contracts, partitions))
    return KioskSetup(kiosk, tmp_path / "run", bus_server.url, redis_server.url, partitions=partitions)
