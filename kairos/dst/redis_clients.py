"""The clients that the code uses, each on a simulated connection: redis-py and `events.redis_wire`.

Nothing of theirs is replaced but the socket: packing, parsing, pipelines and errors are the real ones.
"""

from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from events.redis_wire import Wire, Wires
from kairos.dst.life import Life
from kairos.dst.redis_server import Server, Session, kind_of, shown

ADDRESS: Final = "redis://simulated:6379"


class Socket:
    """A socket connected to a simulated Redis. Errors: `ConnectionError`, as a real one's."""

    def __init__(self, server: Server, life: Life) -> None:
        self._life = life
        if why := life.away("redis"):
            raise ConnectionRefusedError(111, why)
        self.server = server
        self._session: Session = server.connect()
        self._inbox = bytearray()

    def sendall(self, sent: bytes) -> None:
        """Send commands; what of them the schedule lets through is carried out."""
        session, life = self._session, self._life
        commands = session.commands(bytes(sent))
        life.pause(f"redis {shown(commands)}")
        self._check()
        kind = kind_of(commands)
        through = life.through("redis", kind, len(commands)) if kind else None
        self._inbox += session.answers(commands if through is None else commands[:through])
        if through is not None:
            self._hang_up()

    def recv_into(self, buffer: bytearray, *_: Any) -> int:
        """Give what has come."""
        if not self._inbox:
            self._check()
            raise TimeoutError("nothing has come")
        size = min(len(buffer), len(self._inbox))
        buffer[:size] = self._inbox[:size]
        del self._inbox[:size]
        return size

    def fileno(self) -> int:
        """-1 once it is closed."""
        return 0 if self._session.open else -1

    def settimeout(self, seconds: float | None) -> None:
        """Nothing waits here."""

    def setsockopt(self, *_: Any) -> None:
        """There is nothing to set."""

    def shutdown(self, how: int) -> None:
        """See `close`."""
        self._session.end()

    def close(self) -> None:
        """Hang up."""
        self._session.end()

    def _check(self) -> None:
        why = self._life.away("redis") or (
            "" if self._session.open else "the server has ended the connection"
        )
        if why:
            self._hang_up(why)

    def _hang_up(self, why: str = "the connection broke") -> None:
        self._session.end()
        self._inbox.clear()
        raise ConnectionResetError(104, why)


class SimulatedWire(Wire):
    """An `events.redis_wire.Wire` on a simulated socket."""

    def __init__(self, server: Server, life: Life, url: str, timeout_s: float) -> None:
        super().__init__(url, timeout_s, lambda *_: Socket(server, life))  # type: ignore[arg-type]

    def fresh(self) -> bool:
        """Whether it is still open."""
        return self._socket.fileno() >= 0


def wires(server: Server, life: Life, url: str = ADDRESS) -> Wires:
    """Raw connections to the simulated server."""
    return Wires(url, 5.0, lambda address, timeout: SimulatedWire(server, life, address, timeout))


def client(server: Server, life: Life, name: str | None = None) -> "redis.Redis":
    """A redis-py client of the simulated server, set up as the dataflows set up theirs."""

    class Connection(redis.Connection):
        def _connect(self) -> Socket:
            return Socket(server, life)

    pool = redis.ConnectionPool(
        connection_class=Connection, client_name=name, retry=Retry(NoBackoff(), 0), driver_info=None
    )
    return redis.Redis(connection_pool=pool)
