"""The super-app playbook through the real stack: many ids, one profile; triggers fire, each is answered
once."""

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, cast

import orjson
import pytest
import redis

from events import topics
from events.bus import Bus, connect
from features.attribute_past import AttributePast
from features.declare import load as load_playbook
from features.feast_store import RedisStateStore
from features.plan import compile_plan
from kairos.history import History, everything
from kairos.settings import load
from kairos.stack import Stack
from kairos.superapp import world
from kairos.superapp.life import REGISTER, midnight, write_register
from kairos.superapp.person import Person
from kairos.superapp.simulation import Simulation
from kairos.verify import repeated_pushes

SEED, CUSTOMERS, DAYS = 1, 40, 2
STEP_MS = 6 * 3_600_000


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("superapp")
    write_register(SEED, CUSTOMERS, DAYS, folder / REGISTER)
    with Stack(load(playbook=world.FOLDER, run_dir=folder, clock="events"), say=lambda text: None) as running:
        running.once("features", "load")
        yield running


@pytest.fixture(scope="module")
def bus(stack: Stack) -> Iterator[Bus]:
    found = connect(stack.settings.bus, timeout_s=10)
    place = stack.settings.run_dir / "simulation.json"
    simulation = Simulation(
        found, stack.settings.partitions, place, customers=CUSTOMERS, seed=SEED, days=DAYS
    )
    with redis.Redis.from_url(stack.settings.redis) as client:
        for fed in simulation.steps(STEP_MS):
            # Nobody promises an order between topics: told two days at once, one may be read to its end,
            # and what the others then tell of the first day is later than the playbook waits for.
            _until_folded(client, fed.until, stack)
        assert _folded(client) == midnight(DAYS)
    yield found
    found.close()


def until(holds: Callable[[], bool], stack: Stack) -> None:
    ends = time.monotonic() + 240
    while not holds():
        assert time.monotonic() < ends, "expected it to come true within 240 s"
        stack.check()
        time.sleep(0.05)


def _until_folded(client: redis.Redis, instant: int, stack: Stack) -> None:
    until(lambda: _folded(client) >= instant, stack)


def _folded(client: redis.Redis) -> int:
    marks = cast("dict[bytes, bytes]", client.hgetall("kairos:watermarks"))
    return min(map(int, marks.values())) if len(marks) == 2 else -1


def ask(stack: Stack, path: str, body: Any = None) -> Any:
    sent = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(stack.address + path, sent, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


def known_as(stack: Stack, reference: str) -> Any:
    return ask(stack, "/v1/customers/" + urllib.parse.quote(reference, safe=""))


def fired(bus: Bus) -> list[dict[str, Any]]:
    return [orjson.loads(record.value) for record in everything(bus, topics.TRIGGERS)]


@pytest.mark.timeout(600)
def test_ids_of_several_domains_are_one_profile(stack: Stack, bus: Bus) -> None:
    joined = []
    for number in range(1, CUSTOMERS + 1):
        person = Person.draw(SEED, number, DAYS)
        if max(person.watch_from, person.shop_from) < DAYS:
            kinds = ("card", "viewer", "shopper")
            found = [known_as(stack, f"{kind}:{person.id_of(kind)}") for kind in kinds]
            assert len({each["customer"] for each in found}) == 1
            values = {each["name"]: each["value"] for each in found[0]["values"]}
            joined.append(values["watched_count_7d"] > 0 and values["looked_count_7d"] > 0)
    assert any(joined), "somebody both watched and went shopping"


@pytest.mark.timeout(600)
def test_triggers_fire_and_each_is_answered_once(stack: Stack, bus: Bus) -> None:
    told = fired(bus)
    names = {each["data"]["trigger"] for each in told if each["type"] == "kairos.trigger"}
    assert len(names) >= 8, names
    instances = [each["id"] for each in told if each["type"] == "kairos.trigger"]
    assert len(instances) == len(set(instances))
    until(lambda: sum(1 for _ in everything(bus, topics.PUSH_COMMANDS)) > 0, stack)
    assert repeated_pushes(bus) == 0
    assert not list(everything(bus, topics.DEAD_LETTERS))


@pytest.mark.timeout(600)
def test_a_decision_is_answered(stack: Stack, bus: Bus) -> None:
    card = Person.draw(SEED, 1, DAYS).id_of("card")
    answer = ask(
        stack, "/v1/decisions", {"customer": f"card:{card}", "placement": "feed", "at": midnight(DAYS)}
    )
    assert len(answer["offers"]) == 8
    assert not answer["unknown_customer"]


@pytest.mark.timeout(600)
def test_every_state_is_what_the_log_says(stack: Stack, bus: Bus) -> None:
    plan = compile_plan(load_playbook(world.FOLDER))
    store = RedisStateStore(stack.settings.redis, stack.settings.project)
    keys = {record.key.decode() for record in everything(bus, topics.BEHAVIOUR)}
    customers = sorted(key for key in keys if key.startswith("{"))
    past = AttributePast.read(plan, stack.settings.run_dir)

    def same() -> bool:  # what was decided for a push is still being folded
        history = History.of(bus, customers)
        stored = store.read_many(customers)
        states = [history.state(plan, each, past) for each in customers]
        return states == stored

    assert len(customers) > CUSTOMERS / 2
    until(same, stack)
    store.close()
