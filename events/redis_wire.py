"""One connection to Redis with nothing between: bytes of commands out, replies in.

redis-py takes 1.2 us to hand over each reply of a pipeline, more than an event may cost where thousands
travel together. Everything that is asked now and then stays with redis-py.
"""

import select
import socket
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlparse

import hiredis

Refused = hiredis.ReplyError
_CONNECT_S: Final = 2.0
_READ_BYTES: Final = 262_144


class Wire:
    """A connection to `redis://[user:password@]host:port[/db][?client_name=]`, for one thread at a time.

    Errors of every method: `OSError` when Redis is away or silent for `timeout_s`; then only a new wire
    knows whose the next reply is, so this one is closed. `connect` opens the socket.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float,
        connect: Callable[[tuple[str | None, int], float], socket.socket] = socket.create_connection,
    ) -> None:
        parsed = urlparse(url)
        self._reader = hiredis.Reader()
        self._buffer = bytearray(_READ_BYTES)
        self._socket = connect((parsed.hostname, parsed.port or 6379), _CONNECT_S)
        weakref.finalize(self, self._socket.close)  # a reader that is dropped hangs up too
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(timeout_s)
        greeting = []
        if parsed.password:
            user = (unquote(parsed.username),) if parsed.username else ()
            greeting.append(pack("AUTH", *user, unquote(parsed.password)))
        if parsed.path.strip("/"):
            greeting.append(pack("SELECT", parsed.path.strip("/")))
        names = parse_qs(parsed.query).get("client_name", ())
        greeting += [pack("CLIENT", "SETNAME", name) for name in names]
        for reply in self.ask(b"".join(greeting), len(greeting)):
            if isinstance(reply, Refused):
                self.close()
                raise ConnectionError(f"refused the greeting: {reply}")

    def ask(self, commands: bytes, count: int = 1) -> list[Any]:
        """The replies of `count` packed commands, in order; a refused one's is a `Refused`."""
        self.send(commands)
        return self.replies(count)

    def send(self, commands: bytes) -> None:
        """Hand over packed commands; `replies` are to be read for all of them."""
        try:
            self._socket.sendall(commands)
        except OSError:
            self.close()
            raise

    def replies(self, count: int) -> list[Any]:
        """The next `count` replies, in order; a refused command's is a `Refused`."""
        reader, buffer, receive = self._reader, self._buffer, self._socket.recv_into
        replies: list[Any] = []
        try:
            while len(replies) < count:
                while (reply := reader.gets()) is not False:
                    replies.append(reply)
                if len(replies) < count:
                    size = receive(buffer)
                    if not size:
                        raise ConnectionError("the connection was closed by the server")
                    reader.feed(buffer, 0, size)  # type: ignore[arg-type]
        except hiredis.HiredisError as error:
            self.close()
            raise ConnectionError(f"what came is no reply of Redis: {error}") from error
        except OSError:
            self.close()
            raise
        return replies

    def fresh(self) -> bool:
        """Whether it is still open; a wire with something to read before anything was asked is not."""
        if self._socket.fileno() < 0:
            return False
        look = select.poll()  # select() knows no descriptor above 1,023
        look.register(self._socket, select.POLLIN)
        return not look.poll(0)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


class Wires:
    """Wires to one address, for any number of threads: one that nobody uses and that is open, or a new one.

    Errors: those of `Wire`; a wire that broke is not used again.
    """

    def __init__(self, url: str, timeout_s: float, connect: Callable[[str, float], Wire] = Wire) -> None:
        self._url = url
        self._connect = connect
        self._timeout_s = timeout_s
        self._idle: deque[Wire] = deque()

    def ask(self, commands: Iterable[bytes], count: int) -> list[Any]:
        """The replies of `count` packed commands, in order; while they are packed, Redis is at work."""
        wire = self._take()
        for each in commands:
            wire.send(each)
        replies = wire.replies(count)
        self._idle.append(wire)
        return replies

    def close(self) -> None:
        """Hang up every wire that is not in use."""
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> Wire:
        while self._idle:
            try:
                wire = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if wire.fresh():
                return wire
            wire.close()
        return self._connect(self._url, self._timeout_s)


def pack(*words: str | bytes | int) -> bytes:
    """One command in Redis' protocol.

    >>> pack("GET", b"a")
    b'*2\\r\\n$3\\r\\nGET\\r\\n$1\\r\\na\\r\\n'
    """
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]
    return packed
