"""What was decided, written once: the answer by request, the record by decision, and the outbox."""

import hashlib
from typing import Final

from events.identity import is_customer
from models.decision import customer_of
from serving.redis_line import Command, RedisLine, RedisRefused

KEPT_S: Final = 24 * 3600

# The reply is nil when this request was decided now, else the answer that was given to it first.
RECORD: Final = b"""
local first = redis.call('GET', KEYS[1])
if first then return first end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[4])
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[4])
redis.call('HSET', KEYS[3], ARGV[3], ARGV[2])
return false
"""
_SHA: Final = hashlib.sha1(RECORD, usedforsecurity=False).hexdigest()


def tag_of(customer: str) -> str:
    """Give the `{NNN}` that keeps all keys of a customer's shard in one slot.

    >>> tag_of("{007}abcdefghijkl")
    '{007}'
    """
    return customer[: customer.index("}") + 1]


def owner_of(decision_id: str) -> str:
    """Give the customer of a decision. Errors: `ValueError` when it is no decision's id.

    >>> owner_of("007-abcdefghijkl-a0de1e1a0a0a")
    '{007}abcdefghijkl'
    """
    customer = customer_of(decision_id)
    if not is_customer(customer):
        raise ValueError(f"decision id: expected the id of an answer, found {decision_id[:128]!r}")
    return customer


def request_key(customer: str, request_id: str) -> str:
    """Name the key of the answer to one request of one customer.

    >>> request_key("{007}abcdefghijkl", "home-1")
    '{007}request:{007}abcdefghijkl:home-1'
    """
    return f"{tag_of(customer)}request:{customer}:{request_id}"


def decision_key(customer: str, decision_id: str) -> str:
    """Name the key of a decision's packed record."""
    return f"{tag_of(customer)}decision:{decision_id}"


def outbox_key(customer: str) -> str:
    """Name the hash of records on their way to the bus, one for each shard."""
    return f"{tag_of(customer)}outbox"


class Ledger:
    """Writes a decision in one call on its shard: a record without an outbox entry cannot exist."""

    def __init__(self, line: RedisLine) -> None:
        self._line = line

    async def record(
        self, customer: str, request_id: str, decision_id: str, answer: bytes, record: bytes
    ) -> bytes | None:
        """Record a decision; None when it stands, else the answer given first to this very request.

        Errors: `RedisAway`: unknown whether it was recorded; asking again is harmless.
        """
        rest: Command = (
            3,
            request_key(customer, request_id),
            decision_key(customer, decision_id),
            outbox_key(customer),
            answer,
            record,
            decision_id,
            KEPT_S,
        )
        try:
            (first,) = await self._line.ask(("EVALSHA", _SHA, *rest))
        except RedisRefused as refusal:
            if not str(refusal).startswith("NOSCRIPT"):
                raise
            (first,) = await self._line.ask(("EVAL", RECORD, *rest))
        answered: bytes | None = first
        return answered

    async def find(self, customer: str, decision_id: str) -> bytes | None:
        """Read a decision's packed record; None when there is none, or it is older than `KEPT_S`."""
        (record,) = await self._line.ask(("GET", decision_key(customer, decision_id)))
        found: bytes | None = record
        return found
