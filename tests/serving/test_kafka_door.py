"""The same door over a real Apache Kafka."""

from dataclasses import replace

import pytest

from events.bus import connect
from events.topics import PUSH_COMMANDS
from kairos.local import Server, free_port
from tests.serving.corner import DAY, MORNING, Corner, Shop, on_port, purchase, serving
from tests.serving.test_push import commands, fire, pushing, until


@pytest.mark.kafka
def test_events_decisions_and_pushes_over_kafka(corner: Corner, kafka_server: Server) -> None:
    setup = replace(corner, bus=kafka_server.url)
    bus = connect(setup.bus, timeout_s=30)
    shop = Shop(setup, bus)
    shop.read_up_to(MORNING)
    customer = shop.bought("k", (MORNING - DAY, 5.0, "bakery"))
    with serving(on_port(setup, free_port())) as door:
        assert door.post("/v1/events", json=purchase("k", "over-kafka")).status_code == 202
        assert any(b"over-kafka" in record.value for record in shop.on("shop"))
        ask = {"customer": customer, "placement": "feed", "request_id": "over-kafka"}
        assert door.post("/v1/decisions", json=ask).status_code == 200
        assert "over-kafka" in [kept.request_id for kept in shop.decided()]
    before = bus.last(PUSH_COMMANDS, 0) + bus.last(PUSH_COMMANDS, 1)
    with pushing(setup):
        fire(shop, customer, "kafka-1", times=10)
        until(lambda: any(each["instance"] == "kafka-1" for each in commands(shop)), 60)
    with pushing(setup):
        fire(shop, customer, "kafka-1")
        fire(shop, customer, "kafka-2")
        until(lambda: any(each["instance"] == "kafka-2" for each in commands(shop)), 60)
    assert bus.last(PUSH_COMMANDS, 0) + bus.last(PUSH_COMMANDS, 1) == before + 2
    shop.redis.close()
    bus.close()
