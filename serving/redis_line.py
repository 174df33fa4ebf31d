"""One line to Redis that all requests share: whatever is asked in the same instant travels together.

A pooled client costs 90-120 us of CPU a round trip; this one 8-20 us, because commands are packed and
replies parsed by hiredis and nothing stands between. It never retries: a caller with milliseconds to
live wants to be told, and every write of ours may be repeated by whoever knows what it meant.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast
from urllib.parse import unquote, urlparse

import hiredis

Command = tuple[bytes | str | int | float, ...]
Reply = Any
RedisRefused = hiredis.ReplyError

DEADLINE_S: Final = 1.0
CONNECT_S: Final = 1.0

_NOT_YET: Final = ("LOADING ", "MASTERDOWN ", "TRYAGAIN ", "OOM ", "MISCONF ", "READONLY ")
"""What a Redis says that cannot do it now: it loads, is full, cannot save, or is no master any more."""

# hiredis declares one-element tuples only.
_pack = cast(Callable[[Command], bytes], hiredis.pack_command)


class RedisAway(Exception):
    """Redis could not be reached, or did not answer in time; whether it did what was asked is unknown."""


class _Wire(asyncio.Protocol):
    """Replies come in the order of the commands; each waiter takes as many as it asked for."""

    def __init__(self) -> None:
        self.reader = hiredis.Reader()
        self.waiting: deque[tuple[int, list[Reply], asyncio.Future[list[Reply]]]] = deque()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.reader.feed(data)
        waiting, gets = self.waiting, self.reader.gets
        while waiting:
            count, replies, future = waiting[0]
            while len(replies) < count:
                reply = gets()
                if reply is False:
                    return
                replies.append(reply)
            waiting.popleft()
            if not future.done():
                future.set_result(replies)

    def connection_lost(self, exc: Exception | None) -> None:
        self.hang_up(f"the connection was lost ({exc or 'closed by the server'})")

    def hang_up(self, why: str) -> None:
        """Close, and tell everyone who still waits."""
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.abort()
        while self.waiting:
            future = self.waiting.popleft()[2]
            if not future.done():
                future.set_exception(RedisAway(why))


class RedisLine:
    """A line to `redis://[user:password@]host:port[/db]`; opened when first used, and anew after a loss."""

    def __init__(self, url: str) -> None:
        parsed = urlparse(url)
        if parsed.scheme != "redis" or not parsed.hostname:
            raise ValueError(f"redis: expected redis://host:port, found {url!r}; mend the setting `redis`")
        self.url = f"redis://{parsed.hostname}:{parsed.port or 6379}"
        self._host, self._port = parsed.hostname, parsed.port or 6379
        self._greeting: list[Command] = []
        if parsed.password:
            user = (unquote(parsed.username),) if parsed.username else ()
            self._greeting.append(("AUTH", *user, unquote(parsed.password)))
        if parsed.path.strip("/"):
            self._greeting.append(("SELECT", parsed.path.strip("/")))
        self._wire: _Wire | None = None
        self._opening = asyncio.Lock()

    async def ask(self, *commands: Command, deadline_s: float = DEADLINE_S) -> list[Reply]:
        """Send commands in one write and give their replies in order.

        Errors: `RedisAway`, also while it still loads what it holds or is full; `RedisRefused` when a command
        was refused for good (the others were carried out).
        """
        wire = self._wire
        if wire is None or wire.transport is None:
            wire = await self._open()
        replies = await self._send(wire, commands, deadline_s)
        for reply in replies:
            if isinstance(reply, RedisRefused):
                if str(reply).startswith(_NOT_YET):
                    raise RedisAway(str(reply))
                raise reply
        return replies

    async def close(self) -> None:
        """Hang up; a later `ask` would open the line again."""
        if self._wire is not None:
            self._wire.hang_up("the line was closed")
        self._wire = None

    async def _send(self, wire: _Wire, commands: tuple[Command, ...], deadline_s: float) -> list[Reply]:
        if wire.transport is None:
            raise RedisAway("the connection was lost")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Reply]] = loop.create_future()
        wire.waiting.append((len(commands), [], future))
        wire.transport.write(b"".join([_pack(command) for command in commands]))
        # Replies have no names: after one is given up, only a new connection knows whose the next one is.
        timer = loop.call_later(deadline_s, wire.hang_up, f"no answer within {deadline_s * 1000:.0f} ms")
        try:
            return await future
        finally:
            timer.cancel()

    async def _open(self) -> _Wire:
        async with self._opening:
            if self._wire is not None and self._wire.transport is not None:
                return self._wire
            loop = asyncio.get_running_loop()
            try:
                async with asyncio.timeout(CONNECT_S):
                    _, wire = await loop.create_connection(_Wire, self._host, self._port)
                    if self._greeting:
                        for reply in await self._send(wire, tuple(self._greeting), CONNECT_S):
                            if isinstance(reply, RedisRefused):
                                wire.hang_up("refused")
                                raise RedisAway(f"{self.url} refused the greeting: {reply}")
            except (OSError, TimeoutError) as error:
                raise RedisAway(f"{self.url}: {str(error) or 'no connection in time'}") from error
            self._wire = wire
            return wire
