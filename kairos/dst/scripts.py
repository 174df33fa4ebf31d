"""The code's Lua scripts as Python, each known by its very text; without a twin it is an error.

`tests/contracts/test_redis.py` runs script and twin side by side.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

from kairos.dst.commands import carry_out
from kairos.dst.keyspace import Keyspace, Refused, Reply
from serving import ledger, push
from stream import lease

Keys = Sequence[bytes]
Twin = Callable[[Keyspace, Keys, Sequence[bytes]], Reply]


def _record(space: Keyspace, keys: Keys, given: Sequence[bytes]) -> Reply:
    first = carry_out(space, (b"GET", keys[0]))
    if first is not None:
        return first
    carry_out(space, (b"SET", keys[0], given[0], b"EX", given[3]))
    carry_out(space, (b"SET", keys[1], given[1], b"EX", given[3]))
    carry_out(space, (b"HSET", keys[2], given[2], given[1]))
    return None


def _hold(space: Keyspace, keys: Keys, given: Sequence[bytes]) -> Reply:
    owner = carry_out(space, (b"GET", keys[0]))
    if owner is not None and owner != given[0]:
        return 0
    carry_out(space, (b"SET", keys[0], given[0], b"PX", given[1]))
    return 1


def _let_go(space: Keyspace, keys: Keys, given: Sequence[bytes]) -> Reply:
    if carry_out(space, (b"GET", keys[0])) == given[0]:
        carry_out(space, (b"DEL", keys[0]))
    return 1


def _take(space: Keyspace, keys: Keys, given: Sequence[bytes]) -> Reply:
    lasts, *names = keys
    before: list[bytes] = []
    for name in names:
        now, last = carry_out(space, (b"GET", name)), carry_out(space, (b"HGET", lasts, name)) or b""
        assert isinstance(last, bytes)
        if now is not None and now != given[0]:
            return [0, name, now]
        if now is None and given[2] == b"1" and last not in (b"", given[0]):
            return [0, name, last]
        before.append(last)
    for name in names:
        carry_out(space, (b"SET", name, given[0], b"PX", given[1]))
        carry_out(space, (b"HSET", lasts, name, given[0]))
    return [1, *before]


def _drop(space: Keyspace, keys: Keys, given: Sequence[bytes]) -> Reply:
    for key in keys:
        if carry_out(space, (b"GET", key)) == given[0]:
            carry_out(space, (b"DEL", key))
    return None


TWINS: Final[dict[bytes, Twin]] = {
    ledger.RECORD: _record,
    push._HOLD: _hold,
    push._LET_GO: _let_go,
    lease._TAKE.encode(): _take,
    lease._DROP.encode(): _drop,
}
"""Each script's twin; as in Redis, a full one refuses the first command of it that may grow."""

_BY_SHA: Final = {hashlib.sha1(text, usedforsecurity=False).hexdigest().encode(): text for text in TWINS}


class Scripts:
    """The scripts that one Redis has been shown."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()

    def eval(self, space: Keyspace, words: Sequence[bytes]) -> Reply:
        """`EVAL script numkeys key... arg...`."""
        text = words[0]
        if text not in TWINS:
            raise AssertionError(
                f"expected a script with a twin in kairos/dst/scripts.py, found {text[:80]!r}...; write one"
            )
        self._known.add(text)
        return self._run(space, text, words[1:])

    def evalsha(self, space: Keyspace, words: Sequence[bytes]) -> Reply:
        """`EVALSHA sha numkeys key... arg...`. Errors: `NOSCRIPT` for one that was not shown before."""
        text = _BY_SHA.get(words[0].lower())
        if text is None or text not in self._known:
            raise Refused("NOSCRIPT No matching script. Please use EVAL.")
        return self._run(space, text, words[1:])

    def forget(self) -> None:
        """A server that starts again knows no scripts."""
        self._known.clear()

    def _run(self, space: Keyspace, text: bytes, words: Sequence[bytes]) -> Reply:
        count = int(words[0])
        return TWINS[text](space, words[1 : 1 + count], words[1 + count :])
