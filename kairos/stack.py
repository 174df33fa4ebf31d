"""The whole service on one machine: embedded servers, then every process of Kairos, then all of it gone."""

import contextlib
import http.client
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from events.faults import Refusal
from kairos import stack_file
from kairos.kafka_local import start_kafka
from kairos.local import Server, free_port, spawn, start_redis
from kairos.settings import Settings

PARTS = ("intake", "behaviour", "learner", "serve", "push")
PATIENCE_S: Final = 15.0
log = logging.getLogger(__name__)


def workers(count: int) -> tuple[str, ...]:
    """The names of so many workers of the fold.

    >>> workers(3)
    ('behaviour', 'behaviour-1', 'behaviour-2')
    """
    return ("behaviour", *(f"behaviour-{index}" for index in range(1, count)))


class StackDown(Refusal):
    """A process of the stack ended or did not get ready; the message carries the end of its log."""


@dataclass(frozen=True, slots=True)
class Part:
    """One `python -m kairos ...` process of the stack and where it logs."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def ask(self) -> None:
        """Ask the process to finish."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def stop(self, patience_s: float = PATIENCE_S) -> None:
        """Ask the process to finish; kill it when it has not within `patience_s` seconds."""
        self.ask()
        try:
            self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            log.warning("%s did not stop in time: killed; see %s", self.name, self.log)
            self.process.kill()
            self.process.wait()

    def tail(self, lines: int = 15) -> str:
        """The last lines of its log."""
        with contextlib.suppress(FileNotFoundError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return "(no log)"


class Stack:
    """Starts what `settings` leaves open (bus, Redis) on free loopback ports, then the parts.

    `kafka=True` starts a local Apache Kafka as the bus. State stays below `settings.run_dir`, so a
    second start goes on where the first stopped; `stack.env` there says how to reach it while it runs.
    Use it as a context manager: whatever happens inside, every process is gone afterwards; if this
    process is killed the kernel ends them.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        kafka: bool = False,
        parts: Sequence[str] = PARTS,
        say: Callable[[str], None] = print,
    ) -> None:
        self._given = settings
        self._kafka = kafka
        self._names = tuple(
            name for part in parts for name in (workers(settings.workers) if part == "behaviour" else (part,))
        )
        self._say = say
        self._servers: list[Server] = []
        self._told: Path | None = None
        self.parts: dict[str, Part] = {}
        self.settings = settings

    def __enter__(self) -> Self:
        try:
            self._start_servers()
            for name in self._names:
                self.start(name)
            if "serve" in self._names:
                self._wait_ready()
            self._told = stack_file.write(self.settings)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, name: str) -> Part:
        """Start (again) the process of that name with the stack's settings."""
        verb, _, index = name.partition("-")
        worker = ("--worker", f"{index or 0}/{self.settings.workers}") if verb == "behaviour" else ()
        part = self._spawn(name, verb, *worker)
        self.parts[name] = part
        return part

    def crash(self, name: str) -> None:
        """Kill a part as a crash would (SIGKILL) and start it again."""
        part = self.parts[name]
        part.process.kill()
        part.process.wait()
        self.start(name)

    def crash_server(self, name: str) -> None:
        """Kill a server the stack started (`bus`, `state`, `kafka`) as a crash would and start it again."""
        server = next(server for server in self._servers if server.folder.name == name)
        server.kill()
        server.start()

    def once(self, *words: str, accept: Sequence[int] = ()) -> int:
        """Run `python -m kairos` with these words to its end, with the stack's settings; its exit code.

        Errors: `StackDown` with the end of its log when that is neither 0 nor among `accept`.
        """
        part = self._spawn(words[0], *words)
        try:
            while part.process.poll() is None:
                self.check()
                time.sleep(0.02)
        finally:
            part.stop()
        code = part.process.returncode
        if code and code not in accept:
            raise StackDown(
                f"{' '.join(words)}: expected exit 0, found {code}; the end of {part.log}:\n{part.tail()}"
            )
        return code

    def cpu_seconds(self) -> dict[str, float]:
        """Processor time, user and system, that each part and server has used so far (Linux), s."""
        pids = {name: part.process.pid for name, part in self.parts.items()}
        pids |= {server.folder.name: server.pid for server in self._servers if server.pid is not None}
        return {name: _cpu_seconds(pid) for name, pid in pids.items()}

    def check(self) -> None:
        """Raise `StackDown` when any part has ended by itself."""
        for part in self.parts.values():
            code = part.process.poll()
            if code is not None:
                raise StackDown(
                    f"{part.name}: expected to be running, found ended with exit code {code}; "
                    f"the end of {part.log}:\n{part.tail()}"
                )

    def stop(self) -> None:
        """Stop the parts, all at once because each goes on where it was, then the servers."""
        if self._told is not None:
            self._told.unlink(missing_ok=True)
        ends = time.monotonic() + PATIENCE_S
        for part in self.parts.values():
            part.ask()
        while self.parts:
            self.parts.popitem()[1].stop(max(0.0, ends - time.monotonic()))
        while self._servers:
            self._servers.pop().stop()

    def _spawn(self, name: str, *words: str) -> Part:
        path = self.settings.run_dir / "logs" / f"{name}.log"
        environment = {**os.environ, **self.settings.environment()}
        return Part(name, spawn([sys.executable, "-m", "kairos", *words], path, environment), path)

    @property
    def address(self) -> str:
        """Where the HTTP door listens."""
        return f"http://{self.settings.host}:{self.settings.port}"

    def _start_servers(self) -> None:
        folder = self._given.run_dir
        folder.mkdir(parents=True, exist_ok=True)
        given = self._given.model_fields_set
        chosen: dict[str, object] = {}
        if self._kafka:
            self._say("starting Apache Kafka (the first time, Maven fetches it)")
            broker = start_kafka(folder / "kafka")
            self._servers.append(broker)
            chosen["bus"] = broker.url
        elif "bus" not in given:
            bus = start_redis(folder / "bus", durable=True)
            self._servers.append(bus)
            chosen["bus"] = bus.url
        if "redis" not in given:
            state = start_redis(folder / "state", durable=False)
            self._servers.append(state)
            chosen["redis"] = state.url
        if "mlflow" not in given:
            chosen["mlflow"] = f"sqlite:///{(folder / 'mlflow.db').resolve()}"
        if "port" not in given:
            chosen["port"] = free_port()
        self.settings = self._given.model_copy(update=chosen)

    def _wait_ready(self, patience_s: float = 240.0) -> None:
        ends = time.monotonic() + patience_s
        reason = "no answer"
        while time.monotonic() < ends:
            self.check()
            try:
                door = http.client.HTTPConnection(self.settings.host, self.settings.port, timeout=2)
                with contextlib.closing(door):
                    door.request("GET", "/health/ready")
                    answer = door.getresponse()
                    reason = answer.read().decode(errors="replace")
                if answer.status == 200:
                    return
            except OSError as error:
                reason = str(error)
            time.sleep(0.1)
        raise StackDown(
            f"serve: expected /health/ready to answer 200 within {patience_s:.0f} s, found: {reason}\n"
            + self.parts["serve"].tail()
        )


def _cpu_seconds(pid: int) -> float:
    # Behind the name in brackets, which may hold blanks: state is field 3, utime and stime are 14 and 15.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
