"""The parity job on a real bus and Redis: zero where nobody cheated, and a planted mismatch is named."""

import json
import threading
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest
import redis

from events.bus import Bus, Message
from events.codec import encode
from events.counters import counters_key
from events.envelope import DECISION, Event
from events.identity import mint, partition_of
from events.topics import BEHAVIOUR
from features.feast_store import RedisStateStore
from features.fold import empty, fold
from features.fold import encode as encode_state
from features.plan import Plan
from features.row import cross, row
from features.triggers import act
from kairos.local import Server
from kairos.parity import drawn, run
from kairos.settings import Settings
from models.catalogue import Catalogue
from models.catalogue import load as load_catalogue
from models.decision import Request, decide
from models.floats import pack_floats
from models.record import DecisionRecord, keep
from models.scorers.blend import Blend
from models.scorers.prior import Prior
from tests.stream.kiosk import DAY, HOUR, MONDAY, PARTITIONS, plan_of, write_playbook

PEOPLE = [mint("card", str(n)) for n in range(6)]


@dataclass(frozen=True)
class Kiosk:
    """A kiosk that has served one row a customer and a day."""

    settings: Settings
    plan: Plan
    catalogue: Catalogue
    bus: Bus
    store: RedisStateStore


@pytest.fixture
def kiosk(bus: Bus, bus_server: Server, redis_server: Server, tmp_path: Path) -> Kiosk:
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    folder = write_playbook(tmp_path)
    plan = plan_of(folder)
    bus.ensure({BEHAVIOUR: PARTITIONS})
    settings = Settings(playbook=folder, bus=bus_server.url, redis=redis_server.url)
    store = RedisStateStore(redis_server.url, settings.project)
    return Kiosk(settings, plan, load_catalogue(folder, plan), bus, store)


def trade(kiosk: Kiosk, spoilt: str | None = None) -> None:
    """Three days of purchases and decisions; one value of the rows of the last customer is `spoilt`."""
    plan, assortment = kiosk.plan, kiosk.catalogue.assortment("feed")
    states = {who: empty(plan) for who in PEOPLE}
    positions = dict.fromkeys(range(PARTITIONS), 0)
    messages = []

    def put(event: Event) -> None:
        partition = partition_of(event.customer, PARTITIONS)
        act(plan, states[event.customer], [event], partition, [positions[partition]])
        positions[partition] += 1
        messages.append(Message(BEHAVIOUR, partition, event.customer.encode(), encode(event)))

    for day in range(3):
        at = MONDAY + day * DAY
        for n, who in enumerate(PEOPLE):
            put(Event("purchase", f"{day}-{n}", at, who, {"amount": 10_000 * (n + 1), "kind": "soup"}))
            state = states[who]
            decision = decide(
                Request(request_id=f"r{day}", customer=who),
                "feed",
                kiosk.catalogue,
                row(plan, state, at + HOUR, at + HOUR),
                lambda chosen: cross(plan, state, at + HOUR, assortment.keys_of(chosen), at + HOUR),  # noqa: B023
                Blend(Prior(0.02)),
                at + HOUR,
            )
            record = keep(decision)
            if spoilt is not None and n == len(PEOPLE) - 1:
                record = plant(plan, record, spoilt)
            fields = {"placement": "feed", "offers": "", "record": msgspec.msgpack.encode(record)}
            put(Event(DECISION, record.decision_id, at + HOUR, who, fields))
    kiosk.bus.publish(messages)
    kiosk.store.write_many([(who, encode_state(plan, s), s.newest) for who, s in states.items()])


def plant(plan: Plan, record: DecisionRecord, name: str) -> DecisionRecord:
    values = record.features().copy()
    values[[feature.name for feature in plan.customer_features].index(name)] += 1
    return msgspec.structs.replace(record, row=pack_floats(values))


def published(kiosk: Kiosk) -> dict[str, int]:
    with redis.Redis.from_url(kiosk.settings.redis) as client:
        return {name.decode(): int(value) for name, value in client.hgetall(counters_key("parity")).items()}


def job(kiosk: Kiosk, sample: int = 100) -> int:
    return run(kiosk.settings, sample=sample, every_s=None, as_json=True, stop=threading.Event())


def test_nothing_differs_where_nobody_cheated(kiosk: Kiosk, capsys: pytest.CaptureFixture[str]) -> None:
    trade(kiosk)
    assert job(kiosk) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"], told["mismatches"], told["states"], told["states_differing"]) == (18, 0, 6, 0)
    names = [feature.name for feature in (*kiosk.plan.customer_features, *kiosk.plan.cross_features)]
    assert told["features"] == {name: {"compared": 18, "mismatched": 0} for name in names}
    assert published(kiosk)["compared.spend_sum_7d"] == 18


def test_a_value_that_was_not_in_the_log_is_found_and_named(
    kiosk: Kiosk, capsys: pytest.CaptureFixture[str]
) -> None:
    trade(kiosk, spoilt="spend_max_7d")
    assert job(kiosk) == 1
    told = json.loads(capsys.readouterr().out)
    wrong = {name: each["mismatched"] for name, each in told["features"].items() if each["mismatched"]}
    assert wrong == {"spend_max_7d": 3}
    counted = published(kiosk)
    assert (counted["mismatched.spend_max_7d"], counted["mismatched.spend_sum_7d"]) == (3, 0)
    assert counted["mismatches"] == 3
    assert run(kiosk.settings, sample=100, every_s=None, as_json=False, stop=threading.Event()) == 1
    said = capsys.readouterr().out
    assert "spend_max_7d 18 3" in " ".join(said.split())
    assert "3 of 18 served rows differ" in said


def test_a_stored_state_that_was_changed_is_found(kiosk: Kiosk) -> None:
    trade(kiosk)
    other = empty(kiosk.plan)
    fold(kiosk.plan, other, Event("purchase", "x", MONDAY, PEOPLE[0], {"amount": 7, "kind": "tea"}), 0, 5)
    kiosk.store.write_many([(PEOPLE[0], encode_state(kiosk.plan, other), MONDAY)])
    assert job(kiosk) == 1
    assert published(kiosk)["states_differing"] == 1
    assert published(kiosk)["mismatches"] == 0


def test_a_sample_is_drawn_from_all_of_the_log(kiosk: Kiosk) -> None:
    trade(kiosk)
    drawings = [[record.decision_id for record in drawn(kiosk.bus, 4, seed)] for seed in range(60)]
    assert all(len(set(each)) == 4 for each in drawings)
    often = np.unique([name for each in drawings for name in each], return_counts=True)[1]
    assert len(often) == 18
    assert often.min() > 3
    assert job(kiosk, sample=4) == 0
    assert published(kiosk)["rows"] == 4
