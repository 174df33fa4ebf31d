"""Leases in Redis: what one process at a time may do, such as fold a partition of the log.

A lease is a key with a lifetime that its holder prolongs. It is let go at a clean stop, runs out after a
crash, and is taken at once from a holder that died on this machine. Who has been away for longer than a lease
lives goes on only if nobody held it since. A holder that was stopped in the middle of a write cannot finish
it later: its connections carry its name, and whoever takes over ends them before it reads anything.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import redis

from stream.patience import AWAY, Stopped

LIFE_MS: Final = 4_000
RENEWALS: Final = 4
"""Times that a lease is prolonged in its life."""

MARGIN_S: Final = 0.25
"""So long before it may have run out a lease no longer counts: what a write takes."""

LOOK_S: Final = 0.2
TELL_EVERY_S: Final = 5.0

_LAST: Final = "kairos:{lease}:last"
"""Hash: the last holder of each lease, held or not. The braces put all leases into one slot."""

# Takes every lease or none. A lease of nobody is ours to prolong only if nobody had it since: ARGV[3] is '1'.
_TAKE: Final = """
local before = {}
for i = 2, #KEYS do
  local now = redis.call('GET', KEYS[i])
  local last = redis.call('HGET', KEYS[1], KEYS[i]) or ''
  if now and now ~= ARGV[1] then return {0, KEYS[i], now} end
  if not now and ARGV[3] == '1' and last ~= '' and last ~= ARGV[1] then return {0, KEYS[i], last} end
  before[#before + 1] = last
end
for i = 2, #KEYS do
  redis.call('SET', KEYS[i], ARGV[1], 'PX', ARGV[2])
  redis.call('HSET', KEYS[1], KEYS[i], ARGV[1])
end
return {1, unpack(before)}
"""

_DROP: Final = """
for i = 1, #KEYS do
  if redis.call('GET', KEYS[i]) == ARGV[1] then redis.call('DEL', KEYS[i]) end
end
"""

log = logging.getLogger("kairos.stream")


class LeaseLost(Exception):
    """Another process has taken a lease over; what was not written before must not be written now."""


class Holder(NamedTuple):
    """A process as its lease names it: enough to tell people who, and this machine whether it still lives."""

    host: str
    machine: str
    pid: int
    started: int
    mark: str

    @classmethod
    def this(cls) -> "Holder":
        """This process, anew each time it is asked."""
        return cls(socket.gethostname(), _machine(), os.getpid(), _started(os.getpid()), uuid4().hex[:8])

    @classmethod
    def parse(cls, text: str) -> "Holder | None":
        """What `str` made; None of anything else."""
        parts = text.split("/")
        if len(parts) != 5 or not (parts[2] + parts[3]).removeprefix("-").isdigit():
            return None
        return cls(parts[0], parts[1], int(parts[2]), int(parts[3]), parts[4])

    def __str__(self) -> str:
        return "/".join(map(str, self))

    def died(self) -> bool:
        """Whether it ran on this machine and does not any more; False when that cannot be known."""
        return bool(self.machine) and self.machine == _machine() and _started(self.pid) != self.started


class Leases:
    """Named leases, taken all or none and held until `release`.

    `guard` belongs before every write that a second holder must not overlap. Give `address(url)` to the
    clients that write, so that whoever takes over can end them.
    """

    def __init__(self, url: str, names: Sequence[str], life_ms: int = LIFE_MS) -> None:
        self.names = tuple(names)
        self.holder = Holder.this()
        self._keys = [f"kairos:{{lease}}:{name}" for name in names]
        self._life_ms = life_ms
        wait = life_ms / 2_000
        self._redis: Any = redis.Redis.from_url(url, socket_timeout=wait, socket_connect_timeout=wait)
        self._until = 0.0
        self._lost = ""
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._renewer: threading.Thread | None = None

    def address(self, url: str) -> str:
        """The address of Redis for clients whose connections end when the lease is taken over."""
        return f"{url}{'&' if urlsplit(url).query else '?'}client_name={_client(str(self.holder))}"

    def acquire(self, what: str, stop: threading.Event) -> None:
        """Wait until every lease is ours; the log says who has them. Errors: `Stopped`."""
        told = float("-inf")
        while True:
            try:
                refused = self._take(again=False)
            except AWAY as error:
                refused = f"Redis does not answer: {error}"
            if not refused:
                break
            if time.monotonic() - told >= TELL_EVERY_S:
                told = time.monotonic()
                log.warning("%s: waiting for %s: %s", what, ", ".join(self.names), refused)
            if stop.wait(LOOK_S):
                raise Stopped(f"the lease of {what}")
        self._renewer = threading.Thread(target=self._renew, name="leases", daemon=True)
        self._renewer.start()

    def guard(self) -> None:
        """Return when the leases are ours for as long as a write takes.

        Errors: `LeaseLost`; while Redis does not answer, what the client raises.
        """
        if self._lost or time.monotonic() >= self._until - MARGIN_S:
            self._again()

    def release(self) -> None:
        """Let go of what is held, so that the next one need not wait."""
        self._over.set()
        if self._renewer is not None:
            self._renewer.join(self._life_ms / 1_000)
        try:
            self._redis.eval(_DROP, len(self._keys), *self._keys, str(self.holder))
        except redis.RedisError as error:
            log.info("leases %s run out by themselves: %s", ", ".join(self.names), error)
        self._redis.close()

    def _again(self) -> None:
        with self._lock:
            if not self._lost:
                self._lost = self._take(again=True)
            if self._lost:
                raise LeaseLost(self._lost)

    def _take(self, *, again: bool) -> str:
        """Take or prolong every lease; why not, else an empty text."""
        if not self._keys:
            self._until = float("inf")
            return ""
        asked = time.monotonic()  # before Redis counts, so that we never think a lease longer than it is
        arguments = (str(self.holder), self._life_ms, "1" if again else "0")
        taken, *rest = self._redis.eval(_TAKE, len(self._keys) + 1, _LAST, *self._keys, *arguments)
        if not taken:
            key, held = rest[0].decode(), rest[1].decode()
            other = Holder.parse(held)
            if not again and other is not None and other.died():
                self._redis.eval(_DROP, 1, key, held)
                return self._take(again=False)
            who = f"process {other.pid} on {other.host}" if other is not None else held
            return f"{key.rpartition(':')[2]} is held by {who}"
        if not again:
            self._end({before.decode() for before in rest} - {"", str(self.holder)})
        self._until = asked + self._life_ms / 1_000
        return ""

    def _end(self, holders: set[str]) -> None:
        """End the connections of those who held before: nothing they have begun to write comes later."""
        names = {_client(holder) for holder in holders}
        if not names:
            return
        clients: Sequence[Mapping[str, str]] = self._redis.client_list()
        for client in clients:
            if client.get("name") in names:
                self._redis.client_kill_filter(_id=client["id"])

    def _renew(self) -> None:
        while not self._over.wait(self._life_ms / 1_000 / RENEWALS):
            try:
                self._again()
            except LeaseLost as lost:
                log.warning("a lease was lost: %s", lost)
                return
            except redis.RedisError as error:
                log.debug("prolonging leases: %s", error)


def while_held(
    url: str, names: Sequence[str], what: str, stop: threading.Event, work: Callable[[Leases], None]
) -> None:
    """Do `work` under these leases of the Redis at `url` until `stop` is set, waiting for whoever has one.

    Work that loses a lease ends, and begins again from nothing once they are ours again. Errors: `Stopped`,
    and those of `work` but `LeaseLost`.
    """
    while not stop.is_set():
        leases = Leases(url, names)
        try:
            leases.acquire(what, stop)
            work(leases)
        except LeaseLost as lost:
            log.warning("%s: %s; waiting for it again", what, lost)
        finally:
            leases.release()


def nobody_else() -> None:
    """The guard of a writer that needs no lease."""


Guard = Callable[[], None]


def _client(holder: str) -> str:
    return "kairos:" + holder.replace(" ", "_")


def _machine() -> str:
    """This boot of this machine (or container), by which a process id means something; empty if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
        return f"{boot}-{os.readlink('/proc/self/ns/pid')[5:-1]}"
    except OSError:
        return ""


def _started(pid: int) -> int:
    """When the process started, in the kernel's ticks since boot; -1 when it is gone, or a zombie."""
    try:
        # Behind the name in brackets, which may hold blanks: state is field 3, the start is field 22.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -1
    return -1 if fields[0] in "ZX" else int(fields[19])
