"""A Redis of one process: connections take the bytes of commands and give the bytes of replies.

Every client talks to it as to a real one: redis-py, `events.redis_wire`, `serving.redis_line`.
"""

from collections.abc import Sequence
from typing import Any, Final

import hiredis

from kairos.dst.commands import GROWING, carry_out, check
from kairos.dst.keyspace import Keyspace, Refused, Reply
from kairos.dst.scripts import Scripts

VERSION: Final = "7.4.0"


WRITING: Final = GROWING | {b"DEL", b"HDEL", b"ZREM", b"LTRIM", b"EXPIRE", b"EVAL", b"EVALSHA"}
_OF_A_SESSION: Final = frozenset(
    (b"MULTI", b"EXEC", b"DISCARD", b"EVAL", b"EVALSHA", b"CLIENT", b"SELECT", b"INFO")
)


_LONG: Final = 20_000
# A door that starts looks after all 1,024 outboxes, in the same words each time.
_parsed: dict[bytes, list[Sequence[bytes]]] = {}


class Server:
    """One Redis: what it holds, and who is connected; a kill loses connections and nothing else."""

    def __init__(self, keys: Keyspace) -> None:
        self.keys = keys
        self.scripts = Scripts()
        self.sessions: dict[int, Session] = {}
        self._next = 1

    def connect(self) -> "Session":
        """A new connection."""
        session = Session(self, self._next)
        self.sessions[session.number] = session
        self._next += 1
        return session

    def kill(self) -> int:
        """Die and come back: every acknowledged write is still there, nobody is connected; so many were."""
        lost = list(self.sessions.values())
        for session in lost:
            session.end()
        self.scripts.forget()
        return len(lost)


class Session:
    """One connection: commands in, replies out, in order."""

    def __init__(self, server: Server, number: int) -> None:
        self._server = server
        self.number = number
        self.name = b""
        self.open = True
        self._reader = hiredis.Reader()
        self._queued: list[Sequence[bytes]] | None = None
        self._spoiled = False

    def end(self) -> None:
        """Hang up."""
        self.open = False
        self._server.sessions.pop(self.number, None)

    def commands(self, sent: bytes) -> Sequence[Sequence[bytes]]:
        """The commands in what was sent."""
        if len(sent) > _LONG and (known := _parsed.get(sent)):
            return known
        self._reader.feed(sent)
        found: list[Sequence[bytes]] = []
        while (words := self._reader.gets()) is not False:
            found.append(words)
        if len(sent) > _LONG:
            _parsed.clear()
            _parsed[sent] = found
        return found

    def answer(self, words: Sequence[bytes]) -> bytes:
        """Carry out one command and give the bytes of its reply."""
        try:
            return encode(self._do(words))
        except Refused as refusal:
            return b"-%b\r\n" % str(refusal).encode()

    def answers(self, commands: Sequence[Sequence[bytes]]) -> bytes:
        """Carry out commands and give the bytes of their replies."""
        # A door that starts asks after each of 1,024 outboxes, of which hardly any is there.
        held, none = self._server.keys.names, b":0\r\n"
        replies = [
            none
            if words[0] == b"HLEN" and self._queued is None and words[1] not in held
            else self.answer(words)
            for words in commands
        ]
        return b"".join(replies)

    def _do(self, words: Sequence[bytes]) -> Any:
        name = words[0]
        if self._queued is None and name not in _OF_A_SESSION:
            return carry_out(self._server.keys, words)
        if name == b"EXEC":
            return self._exec()
        if name == b"MULTI":
            if self._queued is not None:
                raise Refused("ERR MULTI calls can not be nested")
            self._queued, self._spoiled = [], False
            return "OK"
        if name == b"DISCARD":
            if self._queued is None:
                raise Refused("ERR DISCARD without MULTI")
            self._queued = None
            return "OK"
        if self._queued is not None:
            try:
                check(self._server.keys, words)
            except Refused:
                self._spoiled = True
                raise
            self._queued.append(words)
            return "QUEUED"
        return self._run(words)

    def _exec(self) -> Any:
        queued, self._queued = self._queued, None
        if queued is None:
            raise Refused("ERR EXEC without MULTI")
        if self._spoiled:
            raise Refused("EXECABORT Transaction discarded because of previous errors.")
        replies: list[Any] = []
        for words in queued:
            try:
                replies.append(self._run(words))
            except Refused as refusal:
                replies.append(refusal)
        return replies

    def _run(self, words: Sequence[bytes]) -> Reply:
        server, name = self._server, words[0]
        if name == b"EVALSHA":
            return server.scripts.evalsha(server.keys, words[1:])
        if name == b"EVAL":
            return server.scripts.eval(server.keys, words[1:])
        if name == b"CLIENT":
            return self._client(words[1].upper(), words[2:])
        if name == b"SELECT":
            return "OK"
        if name == b"INFO":
            return f"redis_version:{VERSION}\r\n".encode()
        return carry_out(server.keys, words)

    def _client(self, action: bytes, words: Sequence[bytes]) -> Reply:
        if action == b"SETNAME":
            self.name = words[0]
            return "OK"
        if action == b"SETINFO":
            return "OK"
        if action == b"LIST":
            sessions = self._server.sessions.values()
            return b"".join(b"id=%d name=%b\n" % (each.number, each.name) for each in sessions)
        if action == b"KILL":
            named = dict(zip(words[::2], words[1::2], strict=True))
            found = self._server.sessions.get(int(named.get(b"ID", b"0")))
            if found is None:
                return 0
            found.end()
            return 1
        raise Refused(f"ERR unknown subcommand '{action.decode()}'. Try CLIENT HELP.")


def kind_of(commands: Sequence[Sequence[bytes]]) -> str:
    """What kind of write this is, by its first command that writes; an empty text when none does.

    >>> kind_of([(b"MULTI",), (b"ZADD", b"kairos:wakes:1", b"7", b"{007}a")]), kind_of([(b"GET", b"a")])
    ('ZADD kairos:wakes:', '')
    """
    for words in commands:
        if words[0] in WRITING:
            key = words[1].partition(b"}")[2] if words[1][:1] == b"{" else words[1]
            if key[:1] < b" ":
                return "HSET state"  # Feast's key begins with a number
            family = key.translate(None, b"0123456789").rpartition(b":")
            return f"{words[0].decode()} {(family[0] + family[1] or family[2])[:24].decode(errors='replace')}"
    return ""


def shown(commands: Sequence[Sequence[bytes]]) -> str:
    """Commands as a line of a trace names them: the first, and how many there are.

    >>> shown([(b"MULTI",), (b"HSET", b"kairos:intake", b"tick", b"7"), (b"EXEC",)])
    'HSET kairos:intake ... 3 commands'
    """
    words = next((words for words in commands if len(words) > 1), commands[0] if commands else (b"nothing",))
    key = words[1] if len(words) > 1 else b""
    if key[:1] == b"\x01":  # Feast's key: the customer stands in it
        key = b"state of " + key[key.find(b"{") :]
    if words[0] in (b"EVAL", b"EVALSHA") and len(words) > 3:
        key = b"script on " + words[3]
    first = f"{words[0].decode()} {key[:60].decode(errors='replace')}".strip()
    return first if len(commands) == 1 else f"{first} ... {len(commands)} commands"


def encode(reply: Any) -> bytes:
    """A reply in Redis's protocol.

    >>> encode([1, b"a", None, "OK"])
    b'*4\\r\\n:1\\r\\n$1\\r\\na\\r\\n$-1\\r\\n+OK\\r\\n'
    """
    if type(reply) is bytes:
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    if reply is None:
        return b"$-1\r\n"
    if type(reply) is list:
        return b"*%d\r\n%b" % (len(reply), b"".join(map(encode, reply)))
    if isinstance(reply, Refused):
        return b"-%b\r\n" % str(reply).encode()
    if isinstance(reply, str):
        return b"+%b\r\n" % reply.encode()
    return b":%d\r\n" % reply
