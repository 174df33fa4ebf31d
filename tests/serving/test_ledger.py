"""The ledger: the first answer to a request stands, whoever else has decided it meanwhile."""

import asyncio
from typing import Any

from events.identity import mint
from models.decision import decision_id
from serving.ledger import KEPT_S, Ledger, decision_key, outbox_key, request_key
from serving.redis_line import RedisLine
from tests.serving.corner import Shop


def test_the_first_answer_stands_and_its_record_with_it(shop: Shop) -> None:
    """Two processes decide one request at once: both found no answer, one is recorded."""
    customer = mint("card", "ledger")
    identity = decision_id(customer, "home-1")

    async def story() -> list[bytes | None]:
        line = RedisLine(shop.setup.redis)
        ledger = Ledger(line)
        found = [await ledger.record(customer, "home-1", identity, b"answer 1", b"record 1")]
        # As `decisions` has it: a later writer cannot put a moved entry back, nor change what is kept.
        shop.redis.hdel(outbox_key(customer), identity)
        found.append(await ledger.record(customer, "home-1", identity, b"answer 2", b"record 2"))
        found.append(await ledger.find(customer, identity))
        other = decision_id(customer, "home-2")
        found.append(await ledger.record(customer, "home-2", other, b"answer 3", b"record 3"))
        await line.close()
        return found

    assert asyncio.run(story()) == [None, b"answer 1", b"record 1", None]
    outbox: Any = shop.redis.hgetall(outbox_key(customer))
    assert outbox == {decision_id(customer, "home-2").encode(): b"record 3"}
    for key in (request_key(customer, "home-1"), decision_key(customer, identity)):
        assert 0 < int(shop.redis.ttl(key)) <= KEPT_S  # type: ignore[arg-type]
    shop.redis.delete(outbox_key(customer))
