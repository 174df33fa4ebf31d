"""Servers of a benchmark's own and the true processes of Kairos on them; all gone afterwards."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from zlib import crc32

from redis import Redis

from events.bus import Bus, Message, connect
from events.codec import render_mark
from events.counters import counters_key
from events.faults import Refusal
from events.setup import Clock
from events.topics import BEHAVIOUR, layout
from features.declare import Playbook
from kairos.bench.measure import Reading, cpu_s, redis_cpu_s
from kairos.bench.wide_events import Published
from kairos.local import Server, free_port, spawn, start_redis
from kairos.settings import load
from stream import intake_journal
from stream.behaviour import POSITIONS
from stream.counters import EVERY_S
from stream.intake import places

LOOK_S: Final = 0.02
TELL_S: Final = 10.0
_AT_ONCE: Final = 2_000


class BenchFailed(Refusal):
    """A process of the benchmark ended, or was not done in time; the message carries the end of its log."""


class Rig:
    """A bus and a Redis of states below a folder that goes away, and processes started on them by name.

    Use it as a context manager. `fresh_state` gives the next processes an empty Redis on the same bus.
    """

    flush_s: Final = EVERY_S
    """How far behind what a process says of itself may be, s."""

    def __init__(
        self,
        playbook: Playbook,
        *,
        partitions: int = 2,
        clock: Clock = "events",
        catalogue: Path | None = None,
    ) -> None:
        self.playbook = playbook
        self.partitions = partitions
        self._clock: Clock = clock
        self._catalogue = catalogue
        self._folder = Path(tempfile.mkdtemp(prefix="kairos-bench-"))
        self._servers: list[Server] = []
        self._running: dict[str, tuple[subprocess.Popen[bytes], Path]] = {}
        self._round = 0

    def __enter__(self) -> Self:
        try:
            self._bus_server = self._server("bus", durable=True)
            self.bus: Bus = connect(self._bus_server.url)
            self.bus_redis: Any = Redis.from_url(self._bus_server.url)
            self.bus.ensure(layout(self.playbook.contracts, self.partitions))
            self.fresh_state()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def fresh_state(self) -> None:
        """Go on with a Redis of states that knows nothing."""
        self._round += 1
        if self._round > 1:
            self._servers.pop().stop()
            self.redis.close()
        server = self._server(f"state-{self._round}", durable=False)
        self.redis: Any = Redis.from_url(server.url)
        self.settings = load(
            playbook=self.playbook.folder,
            run_dir=self._folder / f"run-{self._round}",
            bus=self._bus_server.url,
            redis=server.url,
            partitions=self.partitions,
            clock=self._clock,
            port=free_port(),
            catalogue=self._catalogue,
            log_level="warning",
        )

    def start(self, name: str, *argv: str, environment: Mapping[str, str] | None = None) -> int:
        """Start `python ARGV` with the rig's settings; its process id."""
        log = self._folder / "logs" / f"{name}.log"
        given = {**os.environ, **self.settings.environment(), **(environment or {})}
        process = spawn([sys.executable, *argv], log, given)
        self._running[name] = process, log
        return process.pid

    def kill(self, name: str) -> None:
        """End a process as a crash would."""
        process, _ = self._running.pop(name)
        process.kill()
        process.wait()

    def stop(self, name: str, patience_s: float = 30.0) -> None:
        """Ask a process to end, and wait until it has."""
        process, log = self._running.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise BenchFailed(f"{name}: expected it to stop within {patience_s:.0f} s; {_end(log)}") from None

    def finished(self, name: str, timeout_s: float) -> None:
        """Wait until a process has ended by itself. Errors: `BenchFailed`."""
        process, log = self._running[name]
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise BenchFailed(f"{name}: expected an end within {timeout_s:.0f} s; {_end(log)}") from None
        if code:
            raise BenchFailed(f"{name}: expected exit 0, found {code}; {_end(log)}")
        del self._running[name]

    def check(self) -> None:
        """Raise `BenchFailed` when a process has ended by itself."""
        for name, (process, log) in self._running.items():
            if (code := process.poll()) is not None:
                raise BenchFailed(f"{name}: expected to be running, found exit code {code}; {_end(log)}")

    def publish(self, published: Iterable[Published]) -> int:
        """Publish what the domains say, durably; how many it was."""
        messages = messages_of(published, self.partitions)
        for at in range(0, len(messages), _AT_ONCE):
            self.bus.publish(messages[at : at + _AT_ONCE])
        return len(messages)

    def mark(self, before: int) -> None:
        """Say on every source that all before `before` (ms) is published."""
        value = render_mark(before, "bench")
        every = places(self.playbook.contracts, self.partitions)
        self.bus.publish([Message(topic, number, b"mark", value) for topic, number in every])

    def taken_in(self) -> int:
        """How many events intake has put on the log."""
        return int(self.redis.hget(counters_key("intake"), "events") or 0)

    def folded(self) -> int:
        """How many records of the log the fold has done with."""
        return sum(int(position) + 1 for position in self.redis.hvals(POSITIONS))

    def logged(self) -> int:
        """How many records the log holds."""
        return sum(self.bus.last(BEHAVIOUR, number) + 1 for number in range(self.partitions))

    def unread(self) -> int:
        """How many records of the domains intake has not read."""
        read = intake_journal.load(self.redis).read
        topics = self.playbook.contracts.topics
        every = [(topic, number) for topic in topics for number in range(self.partitions)]
        return sum(self.bus.last(*place) - read.get(place, -1) for place in every)

    def server_cpu_s(self) -> dict[str, float]:
        """Processor time of both servers so far, s."""
        return {"bus_server": redis_cpu_s(self.bus_redis), "state_server": redis_cpu_s(self.redis)}

    def watch(
        self,
        watched: Mapping[str, tuple[Callable[[], int], Callable[[], int], list[int]]],
        timeout_s: float,
        say: Callable[[str], None],
    ) -> dict[str, list[Reading]]:
        """Read how far each of `watched` is until all are done.

        Each is given by how it tells what it has done, what is enough, and whose processor time counts.
        A reading is kept whenever there is more done. Errors: `BenchFailed` after `timeout_s`.
        """
        readings: dict[str, list[Reading]] = {name: [] for name in watched}
        ends = time.monotonic() + timeout_s
        told = time.monotonic()
        while True:
            open_ = []
            for name, (done_now, enough, pids) in watched.items():
                done = done_now()
                if not readings[name] or done > readings[name][-1].done:
                    spent = sum(cpu_s(pid) for pid in pids)
                    readings[name].append(Reading(done, spent, time.monotonic()))
                if done < enough():
                    open_.append(f"{name} {done:,}")
            if not open_:
                return readings
            self.check()
            if time.monotonic() > ends:
                raise BenchFailed(f"expected all done within {timeout_s:.0f} s, found: {', '.join(open_)}")
            if time.monotonic() - told > TELL_S:
                told = time.monotonic()
                say("   " + ", ".join(open_))
            time.sleep(LOOK_S)

    def _server(self, name: str, *, durable: bool) -> Server:
        server = start_redis(self._folder / name, durable=durable)
        self._servers.append(server)
        return server

    def _close(self) -> None:
        for name in list(self._running):
            self.kill(name)
        while self._servers:
            self._servers.pop().kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def _end(log: Path, lines: int = 12) -> str:
    if not log.exists():
        return "it logged nothing"
    return f"the end of {log.name}:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def messages_of(published: Iterable[Published], partitions: int) -> list[Message]:
    """What the domains publish, each customer's to one partition of a topic."""
    return [Message(each.topic, crc32(each.key) % partitions, each.key, each.value) for each in published]
