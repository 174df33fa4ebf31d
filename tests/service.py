"""The settings of the processes that tests start."""

from dataclasses import dataclass
from pathlib import Path

from events.setup import Clock


@dataclass(frozen=True)
class Service:
    """What `kairos.settings.Settings` reads from the environment; satisfies `events.setup.Setup`."""

    playbook: Path
    run_dir: Path
    bus: str
    redis: str
    mlflow: str = "sqlite://"
    project: str = "kairos"
    partitions: int = 2
    clock: Clock = "events"
    host: str = "127.0.0.1"
    port: int = 0
    api_key: str | None = None
    catalogue: Path | None = None
    wait_s: float = 20.0
    cache_mb: int = 64
    log_level: str = "info"
