"""What every process is told when it starts."""

from pathlib import Path
from typing import Literal, Protocol

Clock = Literal["wall", "events"]


class Setup(Protocol):
    """The settings a room may read; `kairos.settings.Settings` is the one that people write.

    `clock` says whose time decides: `wall` for a live system, `events` for a replay in which
    only the publishers' marks move time on. `wait_s` is how long a process waits for its bus and
    Redis at start before it gives up. Files that a run makes go below `run_dir`.
    """

    @property
    def playbook(self) -> Path:
        """The folder of the playbook to run."""
        ...

    @property
    def run_dir(self) -> Path:
        """Where this run keeps its files."""
        ...

    @property
    def bus(self) -> str:
        """Address of the event bus: `redis://host:port` or `kafka://host:port`."""
        ...

    @property
    def redis(self) -> str:
        """Address of the Redis that holds states, ledger and outbox."""
        ...

    @property
    def mlflow(self) -> str:
        """MLflow's registry: `sqlite:///file` or a server's address."""
        ...

    @property
    def project(self) -> str:
        """Feast's project, part of every feature key."""
        ...

    @property
    def partitions(self) -> int:
        """Partitions of each topic."""
        ...

    @property
    def clock(self) -> Clock:
        """Whose time decides."""
        ...

    @property
    def host(self) -> str:
        """Address the HTTP door listens on."""
        ...

    @property
    def port(self) -> int:
        """Port of the HTTP door."""
        ...

    @property
    def api_key(self) -> str | None:
        """Key that requests must carry; None: loopback only."""
        ...

    @property
    def catalogue(self) -> Path | None:
        """Table of offers, where the playbook asks for one."""
        ...

    @property
    def wait_s(self) -> float:
        """Seconds to wait for bus and Redis at start."""
        ...

    @property
    def log_level(self) -> str:
        """Level of the log."""
        ...

    @property
    def cache_mb(self) -> int:
        """Megabytes of states that a worker of the stream keeps in memory."""
        ...
