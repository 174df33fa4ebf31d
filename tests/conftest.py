"""Real servers for every room's tests: on loopback, in a folder of the test run, gone with it."""

import os
from collections.abc import Iterator

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings

from events.bus import Bus, connect
from kairos import local
from kairos.kafka_local import KafkaUnavailable, start_kafka
from kairos.local import Server, start_redis

# A machine shared by many is now and then slow; that is no fault of the code under test.
# One seed, so that a run says the same of the same code: KAIROS_RANDOM_TESTS=1 looks further.
settings.register_profile(
    "kairos",
    deadline=None,
    derandomize=os.environ.get("KAIROS_RANDOM_TESTS") != "1",
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("kairos")
# Whether a mutant is noticed is all that `make mutants` asks, not by how small an example.
settings.register_profile("mutants", settings.get_profile("kairos"), phases=[Phase.explicit, Phase.generate])


@pytest.fixture
def free_port() -> int:
    """A port of the loopback that nothing listens on."""
    return local.free_port()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server for states, identities and the ledger; tests share it, so flush what you need empty."""
    server = start_redis(tmp_path_factory.mktemp("state"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def bus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server for the bus: every write is on disk before it is answered."""
    server = start_redis(tmp_path_factory.mktemp("bus"), durable=True)
    yield server
    server.stop()


@pytest.fixture
def bus(bus_server: Server) -> Iterator[Bus]:
    """An empty bus."""
    with redis.Redis(port=bus_server.port) as client:
        client.flushall()
    found = connect(bus_server.url, timeout_s=10)
    yield found
    found.close()


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real Apache Kafka; where it cannot be had tests skip, but fail when CI_REQUIRE_KAFKA=1."""
    try:
        server = start_kafka(tmp_path_factory.mktemp("kafka"))
    except KafkaUnavailable as error:
        if os.environ.get("CI_REQUIRE_KAFKA") == "1":
            pytest.fail(f"CI_REQUIRE_KAFKA=1 and {error}")
        pytest.skip(str(error))
    yield server
    server.stop()
