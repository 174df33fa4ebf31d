"""The outbox: what was recorded reaches the bus, whoever dies in between."""

import asyncio
from collections.abc import Sequence

import pytest

from events.bus import Bus, BusUnavailable, Message
from events.identity import mint
from events.topics import DECISIONS
from models.decision import decision_id
from serving import relay as relaying
from serving.ledger import Ledger
from serving.publisher import Publisher
from serving.redis_line import RedisLine
from serving.relay import Recorded, Relay
from tests.serving.corner import Shop


class Moody:
    """A bus that is away for the first few publishes, or says so after it has taken the messages."""

    def __init__(self, bus: Bus, away: int = 0, *, takes: bool = False) -> None:
        self.bus, self.away, self.takes = bus, away, takes
        self.sizes: list[int] = []

    def publish(self, messages: Sequence[Message]) -> None:
        self.sizes.append(len(messages))
        if self.away:
            self.away -= 1
            if self.takes:
                self.bus.publish(messages)
            raise BusUnavailable("away")
        self.bus.publish(messages)


async def record(ledger: Ledger, count: int, name: str) -> list[Recorded]:
    made = []
    for n in range(count):
        customer = mint("card", f"{name}-{n}")
        identity = decision_id(customer, name)
        assert await ledger.record(customer, name, identity, b"answer", identity.encode()) is None
        made.append(Recorded(customer, identity, identity.encode()))
    return made


def relayed(shop: Shop, name: str) -> list[str]:
    ids = {decision_id(mint("card", f"{name}-{n}"), name) for n in range(3_000)}
    return [r.value.decode() for r in shop.on(DECISIONS) if r.value.decode(errors="replace") in ids]


def test_a_dead_process_leaves_entries_that_the_next_one_moves(shop: Shop) -> None:
    async def story() -> None:
        line = RedisLine(shop.setup.redis)
        made = await record(Ledger(line), 50, "orphan")  # and here the process dies: nothing was handed over
        assert shop.waiting() == 50
        publisher = Publisher(shop.bus)
        relay = Relay(line, publisher, shop.setup.partitions)
        running = asyncio.create_task(relay.run())
        while relay.moved < 50:
            await asyncio.sleep(0.01)
        relay.stop()
        await running
        assert relay.moved == len(made)
        await publisher.close()
        await line.close()

    asyncio.run(story())
    assert shop.waiting() == 0
    assert len(relayed(shop, "orphan")) == 50


@pytest.mark.parametrize("takes", [False, True])
def test_a_bus_that_is_away_is_waited_for(shop: Shop, takes: bool) -> None:
    name = f"away-{takes}"

    async def story() -> list[str]:
        line = RedisLine(shop.setup.redis)
        bus = Moody(shop.bus, 2, takes=takes)
        publisher = Publisher(bus)  # type: ignore[arg-type]
        relay = Relay(line, publisher, shop.setup.partitions)
        running = asyncio.create_task(relay.run())
        made = await record(Ledger(line), 20, name)
        for one in made:
            relay.hand(one)
        assert await relay.flush(10)
        assert relay.pending == 0
        relay.stop()
        await running
        await publisher.close()
        await line.close()
        return [one.decision_id for one in made]

    made = asyncio.run(story())
    assert set(relayed(shop, name)) == set(made)
    assert shop.waiting() == 0


def test_more_than_is_remembered_is_fetched_from_redis(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relaying, "REMEMBERED", 10)

    async def story() -> None:
        line = RedisLine(shop.setup.redis)
        publisher = Publisher(Moody(shop.bus, 1))  # type: ignore[arg-type]
        relay = Relay(line, publisher, shop.setup.partitions)
        for one in await record(Ledger(line), 40, "overflow"):
            relay.hand(one)
        running = asyncio.create_task(relay.run())
        assert await relay.flush(10)
        relay.stop()
        await running
        await publisher.close()
        await line.close()

    asyncio.run(story())
    assert len(set(relayed(shop, "overflow"))) == 40
    assert shop.waiting() == 0


def test_a_later_sweep_leaves_to_others_what_is_fresh(shop: Shop) -> None:
    async def story() -> None:
        line = RedisLine(shop.setup.redis)
        publisher = Publisher(shop.bus)
        relay = Relay(line, publisher, shop.setup.partitions)
        await record(Ledger(line), 5, "fresh")
        assert await relay.sweep(everything=False) == 0
        assert await relay.sweep(everything=False) == 5
        await publisher.close()
        await line.close()

    asyncio.run(story())


def test_it_keeps_up(shop: Shop) -> None:
    """3,000 decisions are on the bus within a second or so of being recorded, in batches."""

    async def story() -> float:
        line = RedisLine(shop.setup.redis)
        bus = Moody(shop.bus)
        publisher = Publisher(bus)  # type: ignore[arg-type]
        relay = Relay(line, publisher, shop.setup.partitions)
        running = asyncio.create_task(relay.run())
        ledger = Ledger(line)
        loop = asyncio.get_running_loop()
        started = loop.time()
        for one in await record(ledger, 3_000, "fast"):
            relay.hand(one)
        assert await relay.flush(20)
        took = loop.time() - started
        relay.stop()
        await running
        await publisher.close()
        await line.close()
        assert max(bus.sizes) > 100
        return took

    took = asyncio.run(story())
    assert took < 6, f"{3_000 / took:.0f} decisions/s"
    assert len(set(relayed(shop, "fast"))) == 3_000  # the first sweep may have sent some twice
