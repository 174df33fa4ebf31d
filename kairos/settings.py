"""Typed settings from the environment (`KAIROS_*`) and an optional `kairos.toml`."""

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from events.faults import Refusal, nearest
from events.setup import Clock

PREFIX = "KAIROS_"
DEFAULT_FILE = Path("kairos.toml")


class BadSettings(Refusal):
    """A setting is unknown or has a value of the wrong kind; the message names each one."""

    exit_code = 2


class Settings(BaseSettings):
    """What a process is told when it starts; the environment wins over the file.

    >>> Settings(partitions=4).partitions
    4
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    playbook: Path = Field(Path("playbooks/grocery"), description="folder of the playbook to run")
    run_dir: Path = Field(Path("var/run"), description="where this run keeps its files")
    bus: str = Field(
        "redis://127.0.0.1:6390", description="event bus: redis://host:port or kafka://host:port"
    )
    redis: str = Field("redis://127.0.0.1:6391", description="Redis that holds states, ledger and outbox")
    mlflow: str = Field("sqlite:///var/run/mlflow.db", description="MLflow tracking and registry address")
    project: str = Field("kairos", description="Feast project; part of every feature key")
    partitions: int = Field(2, ge=1, le=1024, description="partitions of each topic")
    workers: int = Field(1, ge=1, le=1024, description="processes that share the partitions of the log")
    cache_mb: int = Field(512, ge=1, description="megabytes of states that each of them keeps in memory")
    clock: Clock = Field("wall", description="wall: live; events: only publishers' marks move time")
    host: str = Field("127.0.0.1", description="address the HTTP door listens on")
    port: int = Field(8700, ge=0, le=65535, description="port of the HTTP door")
    api_key: str | None = Field(None, description="key that requests must carry in X-API-Key")
    catalogue: Path | None = Field(None, description="table of offers, where the playbook asks for one")
    data: Path | None = Field(None, description="folder of batch tables' files; left out: the run's own")
    wait_s: float = Field(30.0, gt=0, description="seconds to wait for bus and Redis at start")
    log_level: str = Field("info", description="debug, info, warning or error")

    @field_validator("workers")
    @classmethod
    def _a_partition_each(cls, workers: int, known: ValidationInfo) -> int:
        partitions = known.data.get("partitions", workers)
        if workers > partitions:
            raise ValueError(f"expected at most {partitions}, as each needs a partition (KAIROS_PARTITIONS)")
        return workers

    def environment(self) -> dict[str, str]:
        """These settings as environment variables, for a process started with the same ones."""
        return {
            PREFIX + name.upper(): str(value)
            for name, value in self.model_dump().items()
            if value is not None
        }


def load(file: Path | None = None, **given: Any) -> Settings:
    """Read the settings; unknown keys in the file or the environment are refused with the nearest known one.

    Errors: `BadSettings` lists every fault with its place.
    """
    path = file or DEFAULT_FILE
    if file is not None and not file.exists():
        raise BadSettings(f"{file}: expected a settings file, found none; write it or drop --settings")
    from_file: dict[str, Any] = tomllib.loads(path.read_text()) if path.exists() else {}
    known = set(Settings.model_fields)
    faults = [_unknown(f"{path}: {key}", key, known) for key in from_file if key not in known]
    faults += [
        _unknown(f"environment: {name}", name[len(PREFIX) :].lower(), known, PREFIX)
        for name in os.environ
        if name.startswith(PREFIX) and name[len(PREFIX) :].lower() not in known
    ]
    if faults:
        raise BadSettings("\n".join(faults))
    from_environment = {key for key in known if PREFIX + key.upper() in os.environ}
    values = {key: value for key, value in from_file.items() if key not in from_environment}
    try:
        return Settings(**{**values, **{k: v for k, v in given.items() if v is not None}})
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}, found {fault['input']!r}"
            for fault in error.errors()
        ]
        raise BadSettings("\n".join(lines)) from error


def _unknown(place: str, key: str, known: set[str], prefix: str = "") -> str:
    guess = nearest(key, known)
    shown = prefix + guess.upper() if guess and prefix else guess
    hint = f"; did you mean {shown}?" if shown else f"; known are {', '.join(sorted(known))}"
    return f"{place}: expected a known setting, found {key!r}{hint}"
