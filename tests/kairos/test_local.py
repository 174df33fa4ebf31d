"""Local servers: ready when they answer, restarted in place, and never left behind."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
import redis

from kairos import kafka_local
from kairos.kafka_local import KafkaUnavailable, start_kafka
from kairos.local import Server, ServerFailed, spawn, start_redis

ROOT = Path(__file__).parents[2]


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead but not yet reaped by its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pid: int, patience_s: float = 60.0) -> bool:
    ends = time.monotonic() + patience_s
    while alive(pid) and time.monotonic() < ends:
        time.sleep(0.02)
    return not alive(pid)


@pytest.mark.parametrize("durable", [True, False])
def test_a_killed_server_comes_back_on_its_port_with_its_data(tmp_path: Path, durable: bool) -> None:
    server = start_redis(tmp_path / "data", durable=durable)
    with redis.Redis.from_url(server.url) as client:
        client.set("a", "b")
        assert client.config_get("appendfsync")["appendfsync"] == ("always" if durable else "everysec")
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        assert client.config_get("bind")["bind"] == "127.0.0.1"
    first = server.pid
    assert first is not None
    server.kill()
    assert server.pid is None
    assert gone(first)
    server.start()
    with redis.Redis.from_url(server.url) as client:
        assert client.get("a") == b"b"
    server.stop()
    assert server.pid is None
    server.stop()


def test_a_second_server_on_the_folder_goes_on_where_the_first_stopped(tmp_path: Path) -> None:
    server = start_redis(tmp_path)
    with redis.Redis.from_url(server.url) as client:
        client.set("a", "b")
    server.stop()
    again = start_redis(tmp_path)
    with redis.Redis.from_url(again.url) as client:
        assert client.get("a") == b"b"
    again.stop()


def test_a_port_that_is_taken_is_an_error_with_the_servers_own_words(
    tmp_path: Path, redis_server: Server
) -> None:
    with pytest.raises(ServerFailed, match=r"(?s)redis: expected an answer at .*exit code.*in use"):
        start_redis(tmp_path, port=redis_server.port)


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM", "crash", "end"])
def test_servers_die_with_the_process_that_started_them(tmp_path: Path, how: str) -> None:
    program = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from kairos.local import spawn, start_redis
        server = start_redis(Path(sys.argv[1]) / "redis")
        child = spawn([sys.executable, "-c", "import time; time.sleep(600)"], Path(sys.argv[1]) / "child.log")
        print(server.pid, child.pid, flush=True)
        if sys.argv[2] == "crash":
            raise SystemError
        if sys.argv[2] != "end":
            time.sleep(600)
        """
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path), how],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    parent.stdout.close()
    assert len(pids) == 2
    try:
        if how.startswith("SIG"):
            assert all(alive(pid) for pid in pids)
            parent.send_signal(signal.Signals[how])
        parent.wait(60)
        assert all(gone(pid) for pid in pids)
    finally:  # a test that fails leaves nothing behind either
        parent.kill()
        for pid in filter(alive, pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_a_child_is_not_started_from_a_thread_that_may_end_before_us(tmp_path: Path) -> None:
    errors: list[str] = []

    def start() -> None:
        try:
            spawn(["true"], tmp_path / "log")
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "expected the main thread" in errors[0]


def test_a_child_has_a_process_group_of_its_own(tmp_path: Path) -> None:
    child = spawn(["sleep", "600"], tmp_path / "log")
    assert os.getpgid(child.pid) == child.pid != os.getpgid(0), "Ctrl-C in a terminal reaches us alone"
    child.kill()
    child.wait()


def test_a_kafka_that_cannot_be_had_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))

    def program(name: str, script: str) -> None:
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)

    def why() -> str:
        with pytest.raises(KafkaUnavailable) as caught:
            start_kafka(tmp_path / "data", tmp_path / "jars")
        return str(caught.value)

    assert "expected java on PATH, found none; install Java 17" in why()
    program("java", "echo 'openjdk version \"11.0.2\"' >&2")
    assert "expected Java 17 or newer, found 'openjdk version \"11.0.2\"'" in why()
    program("java", "echo 'openjdk version \"17.0.2\"' >&2")
    assert "expected mvn on PATH" in why()
    program("mvn", "echo 'no network'; exit 1")
    assert "expected Maven to fetch the jars, found:\nno network" in why()
    assert not list((tmp_path / "jars").iterdir()), "a failed fetch leaves nothing that looks like jars"
    monkeypatch.setattr(kafka_local, "_RESOLVE_S", 0.2)
    program("mvn", "exec /bin/sleep 600")
    assert "did not fetch the jars" in why()


@pytest.mark.kafka
def test_a_kafka_goes_on_with_its_folder(kafka_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The jars are there by now: Maven is not asked again, and what the broker kept is found."""
    from events.bus import Message, connect

    kafka_server.start()
    bus = connect(kafka_server.url)
    bus.ensure({"kept": 1})
    bus.publish([Message("kept", 0, b"", b"v")])
    last = bus.last("kept", 0)
    bus.close()
    kafka_server.stop()
    java = Path(kafka_server._argv[0]).parent
    monkeypatch.setenv("PATH", str(java))
    again = start_kafka(kafka_server.folder)
    bus = connect(again.url)
    assert bus.last("kept", 0) == last
    bus.close()
    again.stop()
    kafka_server.start()
