"""docker-compose.yml holds the scaled shape, and each of its commands runs natively."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from kairos.demo.shopping import Shopping
from kairos.local import Server
from kairos.settings import Settings

ROOT = Path(__file__).parent.parent.parent
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
OURS = {
    name: service["command"][3:]
    for name, service in SERVICES.items()
    if service.get("command", [])[:3] == ["python", "-m", "kairos"]
}
PATIENCE_S = 300


def test_the_scaled_shape_is_all_there() -> None:
    wanted = {
        "redis-state",
        "redis-bus",
        "kafka",
        "mlflow",
        "intake",
        "behaviour",
        "learner",
        "serving",
        "push",
    }
    assert wanted <= set(SERVICES)
    assert set(OURS) == {"intake", "behaviour", "learner", "serving", "push"}


def test_its_settings_are_known() -> None:
    known = {f"KAIROS_{name.upper()}" for name in Settings.model_fields}
    for name, service in SERVICES.items():
        variables = [v for v in service.get("environment", {}) if v.startswith("KAIROS_")]
        assert set(variables) <= known, f"{name}: {set(variables) - known}"


def test_each_command_of_ours_starts_natively(
    tmp_path: Path, bus_server: Server, redis_server: Server, free_port: int
) -> None:
    """The commands as written, with only addresses and folders of this test in the environment."""
    Shopping(days=1).write_catalogue(tmp_path / "catalogue.parquet")
    settings = Settings(
        playbook=ROOT / "playbooks" / "grocery",
        run_dir=tmp_path,
        bus=bus_server.url,
        redis=redis_server.url,
        mlflow=f"sqlite:///{tmp_path / 'mlflow.db'}",
        catalogue=tmp_path / "catalogue.parquet",
        api_key="a key, as the door is open to the network",
    )
    environment = {**os.environ, **settings.environment()}
    commands = {name: [sys.executable, "-m", "kairos", *words] for name, words in OURS.items()}
    commands["serving"][-4:] = ["--host", "127.0.0.1", "--port", str(free_port)]
    with _running(commands, environment, tmp_path) as processes:
        _until_answers(f"http://127.0.0.1:{free_port}/health/ready", processes)
        time.sleep(2)
        _all_run(processes)
        for process in processes.values():
            process.terminate()
        codes = {name: process.wait(120) for name, process in processes.items()}
    assert set(codes.values()) == {0}, codes


def test_the_mlflow_command_starts_natively(tmp_path: Path, free_port: int) -> None:
    command = [word.replace("/run/kairos", str(tmp_path)) for word in SERVICES["mlflow"]["command"]]
    command[0] = str(Path(sys.executable).parent / command[0])
    command[command.index("0.0.0.0")] = "127.0.0.1"
    command[command.index("5000")] = str(free_port)
    with _running({"mlflow": command}, dict(os.environ), tmp_path) as processes:
        _until_answers(f"http://127.0.0.1:{free_port}/health", processes)


@contextlib.contextmanager
def _running(
    commands: dict[str, list[str]], environment: dict[str, str], folder: Path
) -> Iterator[dict[str, "subprocess.Popen[bytes]"]]:
    processes = {}
    try:
        for name, command in commands.items():
            with (folder / f"{name}.log").open("wb") as output:
                processes[name] = subprocess.Popen(
                    command,
                    env=environment,
                    cwd=ROOT,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        yield processes
    finally:
        for process in processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _all_run(processes: dict[str, "subprocess.Popen[bytes]"]) -> None:
    ended = {name: process.returncode for name, process in processes.items() if process.poll() is not None}
    assert not ended, f"ended by themselves: {ended}"


def _until_answers(address: str, processes: dict[str, "subprocess.Popen[bytes]"]) -> None:
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        _all_run(processes)
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=10) as answer:
            if answer.status == 200:
                return
        time.sleep(0.2)
    raise AssertionError(f"{address} did not answer 200 within {PATIENCE_S} s")
