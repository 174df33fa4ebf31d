"""One customer of many ids: minting, shards, and the record of which foreign id is whose."""

import re
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from itertools import product
from struct import Struct
from typing import Any, Protocol

import redis

from events.codec import BadEvent

SHARDS = 1_024
Id = tuple[str, str]
"""A foreign id: its kind and its value, such as ("card", "1234")."""

_HEADS = [f"{{{shard:03d}}}" for shard in range(SHARDS)]
_PAIRS = ["".join(pair) for pair in product("abcdefghijklmnopqrstuvwxyz234567", repeat=2)]
_split = Struct(">HQ").unpack
_CUSTOMER = re.compile(r"\{(\d{3,4})\}[a-z2-7]{12}", re.ASCII)


class Redis(Protocol):
    """What is asked of a redis-py client."""

    @property
    def connection_pool(self) -> Any: ...  # noqa: D102
    def pipeline(self, transaction: bool = ...) -> Any: ...  # noqa: D102
    def get(self, name: str) -> Any: ...  # noqa: D102


def mint(kind: str, value: str) -> str:
    """The customer id that a foreign id gets when it is the first known of its customer.

    >>> mint("card", "1234")
    '{893}azkilv54gixa'
    """
    shard, rest = _split(blake2b(f"{kind}:{value}".encode(), digest_size=10).digest())
    pairs = _PAIRS  # two letters of base32 hold ten bits
    first = f"{_HEADS[shard % SHARDS]}{pairs[rest >> 54]}{pairs[rest >> 44 & 1023]}{pairs[rest >> 34 & 1023]}"
    return f"{first}{pairs[rest >> 24 & 1023]}{pairs[rest >> 14 & 1023]}{pairs[rest >> 4 & 1023]}"


def shard_of(customer: str) -> int:
    """The shard of a minted id: the number in its braces, below 1,024.

    >>> shard_of("{893}azkilv54gixa")
    893
    """
    return int(customer[1 : customer.index("}")])


def partition_of(customer: str, partitions: int) -> int:
    """The partition of `behaviour` (and of every topic keyed by customer) that a customer's records are in.

    >>> partition_of("{893}azkilv54gixa", 2)
    1
    """
    return int(customer[1 : customer.index("}")]) % partitions


def is_customer(reference: str) -> bool:
    """Whether a reference is a minted id.

    >>> is_customer("{893}azkilv54gixa"), is_customer("{1024}zcffcdr3u4on"), is_customer("card:1234")
    (True, False, False)
    """
    found = _CUSTOMER.fullmatch(reference)
    return found is not None and int(found[1]) < SHARDS and (len(found[1]) == 3 or found[1][0] != "0")


def id_key(kind: str, value: str) -> str:
    """The Redis key that holds the customer of a foreign id.

    >>> id_key("card", "1234")
    'kairos:id:card:1234'
    """
    return f"kairos:id:{kind}:{value}"


class Identities:
    """Which customer each foreign id is, kept in Redis; at most `cache_size` are remembered here.

    A foreign id never changes its customer once it has one: resolving and linking both write with
    `SET NX`, which leaves a value that is there as it is, nothing deletes one, and a link whose ids are
    different customers is refused instead of joining them. So what is remembered here (only ever what
    Redis has answered, never that an id is unknown) stays true whoever links what, and several processes
    may resolve at once. Errors of Redis pass through.
    """

    def __init__(self, redis: Redis, cache_size: int = 200_000) -> None:
        self._redis = redis
        # Two generations: what is used moves to the young one, and the old one goes as a whole.
        self._half = max(cache_size // 2, 1)
        self._young: dict[Id, str] = {}
        self._old: dict[Id, str] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def resolve_many(self, ids: Sequence[Id]) -> list[str]:
        """The customer of each id, in order; an unknown id becomes a customer of its own.

        One pipelined round trip for all that the cache does not know.
        """
        found = list(map(self._young.get, ids))
        if None in found:
            # Each once, in the order asked for: what is written must not hang on how Python hashes.
            unknown = dict.fromkeys(
                each for each, customer in zip(ids, found, strict=True) if customer is None
            )
            rest = self._find(unknown)
            found = [customer or rest[each] for each, customer in zip(ids, found, strict=True)]
        return found  # type: ignore[return-value]

    def link(self, ids: Sequence[Id]) -> str:
        """Say that the ids are one customer, and return it: the one that any of them already is.

        When none is known the customer is minted from the least of them, so the order does not matter.
        Errors: `BadEvent` identity_conflict when two already are different customers; no known id changes.
        """
        ids = sorted(set(ids))
        pipeline = self._redis.pipeline(transaction=False)
        for each in ids:
            pipeline.get(id_key(*each))
        owners: Sequence[str | None] = _texts(pipeline.execute())
        customer = next((owner for owner in owners if owner), None) or mint(*ids[0])
        if all(owner in (None, customer) for owner in owners):
            # Another process may have got there first: what was known then counts.
            owners = self._claim([(each, customer) for each in ids])
        for each, owner in zip(ids, owners, strict=True):
            if owner != customer:
                raise _conflict(each, owner or "none", ids[0], customer)
            self._remember(each, customer)
        return customer

    def lookup(self, reference: str) -> str | None:
        """The customer of `kind:value` or of a minted id, None when unknown; nothing is written."""
        if is_customer(reference):
            return reference
        kind, _, value = reference.partition(":")
        known = self._young.get((kind, value)) or self._old.get((kind, value))
        return known or _texts([self._redis.get(id_key(kind, value))])[0]

    def lookup_many(self, ids: Sequence[Id]) -> list[str]:
        """The customer that each id is, or would become if it were linked to nobody else; nothing is written.

        One pipelined round trip.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for each in ids:
            pipeline.get(id_key(*each))
        owners = _texts(pipeline.execute())
        return [owner or mint(*each) for owner, each in zip(owners, ids, strict=True)]

    def _find(self, ids: Iterable[Id]) -> dict[Id, str]:
        """The customers of ids that are not in the young generation."""
        old = self._old
        found = {each: old[each] for each in ids if each in old}
        claims = [(each, mint(*each)) for each in ids if each not in old]
        found.update(zip((each for each, _ in claims), self._claim(claims), strict=True))
        for each, customer in found.items():
            self._remember(each, customer)
        return found

    def _claim(self, claims: Sequence[tuple[Id, str]]) -> list[str]:
        """Each id's customer: the claimed one, unless it has one already. One round trip."""
        if not claims:
            return []
        commands = []
        for (kind, value), customer in claims:
            key, name = id_key(kind, value).encode(), customer.encode()
            commands.append(
                b"*5\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$2\r\nNX\r\n$3\r\nGET\r\n"
                % (len(key), key, len(name), name)
            )
        # Packed here and read one by one: a pipeline of redis-py takes four times as long.
        pool = self._redis.connection_pool
        connection = pool.get_connection()
        try:
            connection.send_packed_command([b"".join(commands)])
            owners = [connection.read_response(disable_decoding=True) for _ in claims]
        except redis.RedisError:
            connection.disconnect()  # whose the replies are that it still has, nobody knows
            raise
        finally:
            pool.release(connection)
        return [
            customer if owner is None else owner.decode()
            for owner, (_, customer) in zip(owners, claims, strict=True)
        ]

    def _remember(self, each: Id, customer: str) -> None:
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[each] = customer


def _texts(replies: Sequence[bytes | str | None]) -> list[str | None]:
    return [reply.decode() if isinstance(reply, bytes) else reply for reply in replies]


def _conflict(one: Id, owner: str, other: Id, customer: str) -> BadEvent:
    expected = f"{':'.join(one)} and {':'.join(other)} to be one customer, or one of them new"
    return BadEvent("identity_conflict", "data", expected, f"{owner} and {customer}")
