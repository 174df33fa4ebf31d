"""A connection between an event loop and the simulated Redis: what is sent arrives later, and may not."""

import asyncio
from random import Random
from typing import Any

from kairos.dst.life import Life
from kairos.dst.loop import SimulatedLoop
from kairos.dst.redis_server import Server, kind_of, shown

SLOWEST_S = 0.004


class Line(asyncio.Transport):
    """The transport of one `serving.redis_line` connection. Errors: `OSError` when Redis is away."""

    def __init__(
        self, server: Server, life: Life, loop: SimulatedLoop, protocol: asyncio.Protocol, random: Random
    ) -> None:
        super().__init__()
        if why := life.away("redis"):
            raise ConnectionRefusedError(111, why)
        self._session = server.connect()
        self._life, self._loop, self._protocol, self._random = life, loop, protocol, random
        self._sent: list[bytes] = []
        self._there = self._here = 0.0

    def write(self, data: Any) -> None:
        """Send; it arrives in the order of sending."""
        self._sent.append(bytes(data))
        self._there = max(self._there, self._loop.time() + self._random.random() * SLOWEST_S)
        self._loop.call_at(self._there, self._arrive)

    def abort(self) -> None:
        """Hang up; what has not arrived is lost."""
        self._session.end()
        self._sent.clear()

    close = abort

    def is_closing(self) -> bool:
        """Whether it was hung up."""
        return not self._session.open

    def lose(self) -> None:
        """The sender has died; some of what it sent may arrive all the same."""
        if self._session.open and self._sent:
            commands = [words for sent in self._sent for words in self._session.commands(sent)]
            for words in commands[: self._random.randrange(len(commands) + 1)]:
                self._session.answer(words)
        self.abort()

    def _arrive(self) -> None:
        if not self._sent:
            return
        sent = self._sent.pop(0)
        why = self._life.away("redis") or (
            "" if self._session.open else "the server has ended the connection"
        )
        if why:
            self._break(why)
            return
        commands = self._session.commands(sent)
        if kind := kind_of(commands):
            self._life.pause(f"redis {shown(commands)}")
        through = self._life.through("redis", kind, len(commands)) if kind else None
        replies = self._session.answers(commands if through is None else commands[:through])
        if through is not None:
            self._break("the connection broke")
            return
        self._here = max(self._here, self._loop.time() + self._random.random() * SLOWEST_S)
        self._loop.call_at(self._here, self._deliver, replies)

    def _deliver(self, replies: bytes) -> None:
        if self._session.open:
            self._protocol.data_received(replies)
        else:
            self._break("the server has ended the connection")

    def _break(self, why: str) -> None:
        self._session.end()
        self._sent.clear()
        self._loop.call_soon(self._protocol.connection_lost, ConnectionResetError(104, why))
