"""The commands that Kairos asks of Redis, each as Redis carries it out.

Only what the code uses is here; anything else is an error that names the command, so new code is noticed.
`tests/contracts/test_redis.py` asks the same of this and of a real server.
"""

from collections.abc import Callable
from typing import Final

from kairos.dst.keyspace import Keyspace, Ranked, Refused, Reply, Words

_NO_MEMORY: Final = "OOM command not allowed when used memory > 'maxmemory'."
_NO_NUMBER: Final = "ERR value is not an integer or out of range"


def carry_out(keys: Keyspace, words: Words) -> Reply:
    """Carry out one command. Errors: `Refused` with Redis's own words."""
    command = _COMMANDS.get(words[0])
    if command is None or len(words) <= command[1] or (command[2] and keys.full):
        return check(keys, words)(keys, words[1:])
    if command[2]:
        keys.version += 1
        keys.touched.add(words[1])
    return command[0](keys, words[1:])


def check(keys: Keyspace, words: Words) -> "_Run":
    """How a command is carried out. Errors: `Refused` for one that Redis does not begin with."""
    name = words[0].upper()
    command = _COMMANDS.get(name)
    if command is None:
        shown = " ".join(f"'{word.decode(errors='replace')[:128]}'" for word in words[1:3])
        raise Refused(
            f"ERR unknown command '{name.decode(errors='replace')}', with args beginning with: {shown}"
        )
    run, least, grows = command
    if len(words) <= least:
        raise Refused(f"ERR wrong number of arguments for '{name.decode().lower()}' command")
    if grows and keys.full:
        keys.refused += 1
        raise Refused(_NO_MEMORY)
    return run


def _number(word: bytes) -> int:
    try:
        return int(word)
    except ValueError:
        raise Refused(_NO_NUMBER) from None


def _ping(keys: Keyspace, words: Words) -> Reply:
    return words[0] if words else "PONG"


def _get(keys: Keyspace, words: Words) -> Reply:
    found: bytes | None = keys.held(words[0], bytes)
    return found


def _set(keys: Keyspace, words: Words) -> Reply:
    key, value, *options = words
    lives: int | None = None
    only_new = answer = False
    rest = iter(options)
    for option in rest:
        match option.upper():
            case b"NX":
                only_new = True
            case b"GET":
                answer = True
            case b"EX":
                lives = _number(next(rest, b"")) * 1_000
            case b"PX":
                lives = _number(next(rest, b""))
            case _:
                raise Refused("ERR syntax error")
    before: bytes | None = keys.held(key, bytes) if answer else None
    if only_new and keys.there(key):
        return before
    if lives is not None and lives <= 0:
        raise Refused("ERR invalid expire time in 'set' command")
    keys.put(key, value, lives)
    return before if answer else "OK"


def _mset(keys: Keyspace, words: Words) -> Reply:
    if len(words) % 2:
        raise Refused("ERR wrong number of arguments for 'mset' command")
    for key, value in zip(words[::2], words[1::2], strict=True):
        keys.put(key, value)
    return "OK"


def _del(keys: Keyspace, words: Words) -> Reply:
    return sum(keys.there(key) and keys.drop(key) for key in words)


def _exists(keys: Keyspace, words: Words) -> Reply:
    return sum(map(keys.there, words))


def _expire(keys: Keyspace, words: Words) -> Reply:
    return keys.expire(words[0], _number(words[1]) * 1_000)


def _pttl(keys: Keyspace, words: Words) -> Reply:
    return keys.left_ms(words[0])


def _hset(keys: Keyspace, words: Words) -> Reply:
    if len(words) % 2 == 0:
        raise Refused("ERR wrong number of arguments for 'hset' command")
    held = keys.kept(words[0], dict)
    before = len(held)
    held.update(zip(words[1::2], words[2::2], strict=True))
    return len(held) - before


def _hget(keys: Keyspace, words: Words) -> Reply:
    found: bytes | None = (keys.held(words[0], dict) or {}).get(words[1])
    return found


def _hmget(keys: Keyspace, words: Words) -> Reply:
    held = keys.held(words[0], dict) or {}
    return [held.get(field) for field in words[1:]]


def _hgetall(keys: Keyspace, words: Words) -> Reply:
    return [each for pair in (keys.held(words[0], dict) or {}).items() for each in pair]


def _hkeys(keys: Keyspace, words: Words) -> Reply:
    return list(keys.held(words[0], dict) or {})


def _hvals(keys: Keyspace, words: Words) -> Reply:
    return list((keys.held(words[0], dict) or {}).values())


def _hlen(keys: Keyspace, words: Words) -> Reply:
    return len(keys.held(words[0], dict) or {})


def _hdel(keys: Keyspace, words: Words) -> Reply:
    held = keys.held(words[0], dict)
    if held is None:
        return 0
    gone = sum(held.pop(field, None) is not None for field in words[1:])
    keys.empty(words[0], held)
    return gone


def _hincrby(keys: Keyspace, words: Words) -> Reply:
    by = _number(words[2])
    held = keys.held(words[0], dict) or {}
    try:
        value = int(held.get(words[1], b"0")) + by
    except ValueError:
        raise Refused("ERR hash value is not an integer") from None
    keys.kept(words[0], dict)[words[1]] = b"%d" % value
    return value


def _bound(word: bytes) -> float:
    try:
        return float(word)  # -inf and +inf as well
    except ValueError:
        raise Refused("ERR min or max is not a float") from None


def _zadd(keys: Keyspace, words: Words) -> Reply:
    if len(words) % 2 == 0:
        raise Refused("ERR syntax error")
    try:
        scores = [float(word) for word in words[1::2]]
    except ValueError:
        raise Refused("ERR value is not a valid float") from None
    held = keys.kept(words[0], Ranked)
    before = len(held)
    held.update(zip(words[2::2], scores, strict=True))
    return len(held) - before


def _zrem(keys: Keyspace, words: Words) -> Reply:
    held = keys.held(words[0], Ranked)
    if held is None:
        return 0
    gone = sum(held.pop(member, None) is not None for member in words[1:])
    keys.empty(words[0], held)
    return gone


def _zrangebyscore(keys: Keyspace, words: Words) -> Reply:
    least, most = _bound(words[1]), _bound(words[2])
    held = keys.held(words[0], Ranked) or {}
    return [member for score, member in sorted((held[m], m) for m in held) if least <= score <= most]


def _zscore(keys: Keyspace, words: Words) -> Reply:
    score = (keys.held(words[0], Ranked) or {}).get(words[1])
    return None if score is None else b"%.17g" % score


def _sadd(keys: Keyspace, words: Words) -> Reply:
    held = keys.kept(words[0], set)
    before = len(held)
    held.update(words[1:])
    return len(held) - before


def _sismember(keys: Keyspace, words: Words) -> Reply:
    return int(words[1] in (keys.held(words[0], set) or ()))


def _rpush(keys: Keyspace, words: Words) -> Reply:
    held = keys.kept(words[0], list)
    held.extend(words[1:])
    return len(held)


def _slice(words: Words, size: int) -> slice:
    first, last = _number(words[1]), _number(words[2])
    start = max(first + size, 0) if first < 0 else first
    return slice(start, last + size + 1 if last < 0 else last + 1)


def _lrange(keys: Keyspace, words: Words) -> Reply:
    held = keys.held(words[0], list) or []
    return list(held[_slice(words, len(held))])


def _ltrim(keys: Keyspace, words: Words) -> Reply:
    held = keys.held(words[0], list)
    if held is not None:
        held[:] = held[_slice(words, len(held))]
        keys.empty(words[0], held)
    return "OK"


def _flushall(keys: Keyspace, words: Words) -> Reply:
    keys.clear()
    return "OK"


_Run = Callable[[Keyspace, Words], Reply]
# How each is carried out, how many words it needs at least, and whether a full Redis refuses it.
_COMMANDS: Final[dict[bytes, tuple[_Run, int, bool]]] = {
    b"PING": (_ping, 0, False),
    b"GET": (_get, 1, False),
    b"SET": (_set, 2, True),
    b"MSET": (_mset, 2, True),
    b"DEL": (_del, 1, False),
    b"EXISTS": (_exists, 1, False),
    b"EXPIRE": (_expire, 2, False),
    b"PTTL": (_pttl, 1, False),
    b"HSET": (_hset, 3, True),
    b"HGET": (_hget, 2, False),
    b"HMGET": (_hmget, 2, False),
    b"HGETALL": (_hgetall, 1, False),
    b"HKEYS": (_hkeys, 1, False),
    b"HVALS": (_hvals, 1, False),
    b"HLEN": (_hlen, 1, False),
    b"HDEL": (_hdel, 2, False),
    b"HINCRBY": (_hincrby, 3, True),
    b"ZADD": (_zadd, 3, True),
    b"ZREM": (_zrem, 2, False),
    b"ZSCORE": (_zscore, 2, False),
    b"ZRANGEBYSCORE": (_zrangebyscore, 3, False),
    b"SADD": (_sadd, 2, True),
    b"SISMEMBER": (_sismember, 2, False),
    b"RPUSH": (_rpush, 2, True),
    b"LRANGE": (_lrange, 3, False),
    b"LTRIM": (_ltrim, 3, False),
    b"FLUSHALL": (_flushall, 0, False),
}

GROWING: Final = frozenset(name for name, (_, _, grows) in _COMMANDS.items() if grows)
"""What a full Redis refuses."""
