"""The processes of the system over the simulated ports, put together by what puts the real ones together."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from events.setup import Clock
from features.feast_store import RedisStateStore
from kairos.dst import bus, redis_clients
from kairos.dst.bus import SimulatedBus
from kairos.dst.engine import Stop, run_flow
from kairos.dst.part import Incarnation, Part
from kairos.dst.stall import stall
from kairos.dst.world import World
from stream import behaviour, intake, learning
from stream.engine import Flow
from stream.lease import nobody_else
from stream.worker import Worker

PARTITIONS: Final = 2


@dataclass(frozen=True)
class Settings:
    """What the simulated processes are told; satisfies `events.setup.Setup`."""

    playbook: Path = Path("stall")
    run_dir: Path = Path("nowhere")
    bus: str = bus.ADDRESS
    redis: str = redis_clients.ADDRESS
    mlflow: str = "sqlite:///nowhere/mlflow.db"
    project: str = "kairos"
    partitions: int = PARTITIONS
    clock: Clock = "wall"
    host: str = "127.0.0.1"
    port: int = 0
    api_key: str | None = None
    catalogue: Path | None = None
    wait_s: float = 20.0
    cache_mb: int = 1
    log_level: str = "warning"


SETTINGS: Final = Settings()

Assemble = Callable[[Incarnation, SimulatedBus, Any, Stop], Flow]


def _intake(life: Incarnation, bus: SimulatedBus, redis: Any, stop: Stop) -> Flow:
    return intake.assemble(SETTINGS, stop, stall().playbook.contracts, bus, redis, nobody_else, life)


def _learner(life: Incarnation, bus: SimulatedBus, redis: Any, stop: Stop) -> Flow:
    contracts, catalogue = stall().playbook.contracts, stall().catalogue
    return learning.assemble(SETTINGS, stop, contracts, catalogue, bus, redis, nobody_else, life)


def _folding(worker: Worker) -> Assemble:
    def assemble(life: Incarnation, bus: SimulatedBus, redis: Any, stop: Stop) -> Flow:
        server = life.world.redis
        wires = redis_clients.wires(server, life)
        states = RedisStateStore(SETTINGS.redis, SETTINGS.project, client=redis, wires=wires)
        given = (SETTINGS, stop, worker, stall().plan, stop, bus, redis, states, None, nobody_else, life)
        return behaviour.assemble(*given)

    return assemble


def stream_part(world: World, name: str, assemble: Assemble) -> Part:
    """A part that runs a flow until it is asked to stop or dies."""

    def begin(life: Incarnation) -> None:
        stop = Stop(life)
        life.stop = stop.set

        def work() -> None:
            bus = SimulatedBus(world.topics, life)
            redis = redis_clients.client(world.redis, life)
            run_flow(assemble(life, bus, redis, stop), bus, life, stop, life.part.disk, world.random)

        life.block(work, last=True)

    return Part(world, name, begin)


def stream_parts(world: World, workers: int) -> list[Part]:
    """Intake, learner, and so many workers that fold."""
    parts = [stream_part(world, "intake", _intake), stream_part(world, "learner", _learner)]
    folding = [Worker(index, workers) for index in range(workers)]
    return [*parts, *(stream_part(world, worker.name, _folding(worker)) for worker in folding)]
