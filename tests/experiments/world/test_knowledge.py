"""What can be known: the events that are old enough, by the one fold; ids as the real record has it."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from events.codec import BadEvent
from events.envelope import Event
from events.identity import Identities
from experiments.world.effects import Effects
from experiments.world.happening import START, Happened
from experiments.world.knowledge import PARTITION, UNIT, Knowledge, Links
from experiments.world.needs import HOUR, MINUTE
from experiments.world.town import Town
from features.declare import load
from features.fold import fold_batch
from features.plan import Plan, compile_plan
from features.state import parts_of
from kairos.local import Server


@pytest.fixture(scope="module")
def plan() -> Plan:
    return compile_plan(load(Path("playbooks/world")))


@pytest.fixture
def client(redis_server: Server) -> Iterator[Any]:
    with redis.Redis(port=redis_server.port) as found:
        found.flushall()
        yield found


@pytest.mark.parametrize("delay", [1_000, 15 * MINUTE, 24 * HOUR])
def test_a_row_knows_what_was_known_that_late_and_nothing_else(plan: Plan, delay: int) -> None:
    town, knowledge = Town(3, 50, 4, Effects()), Knowledge(plan, delay)
    everything: list[Happened] = []
    compared = 0
    for until in range(START + HOUR, town.end, HOUR):
        while True:
            happened, moments = town.advance(until)
            everything += happened
            knowledge.take(happened)
            if not moments:
                break
            profiles = knowledge.of(moments)
            knowledge.fold(profiles, [moment.at for moment in moments])
            for moment, profile in zip(moments, profiles, strict=True):
                mine = [
                    each
                    for each in everything
                    if each.at + delay <= moment.at and owner(knowledge, each) == profile.customer
                ]
                plain = [plain_event(each, profile.customer) for each in mine]
                state = profile.state
                assert (state is None) == (not plain)
                if state is not None:
                    (blob,) = fold_batch(
                        plan, [None], plain, [0] * len(plain), [PARTITION] * len(plain), range(len(plain))
                    ).blobs
                    probe = Knowledge(plan, delay)
                    other = probe.profile("device", moment.device)
                    (other.recent, other.settled), other.known = parts_of(blob), True
                    assert state.newest == max(each.at for each in mine)
                    compared += 1
                    np.testing.assert_array_equal(
                        knowledge.row(profile, moment.at), probe.row(other, moment.at)
                    )
    assert compared > 10


def owner(knowledge: Knowledge, each: Happened) -> str:
    if each.type == "signed_in":
        return ""
    kind, value = ("device", each.device) if each.device is not None else ("account", each.account)
    return knowledge.profile(kind, str(value)).customer


def plain_event(each: Happened, customer: str) -> Event:
    fields = {n: round(v * UNIT) if isinstance(v, float) else v for n, v in each.fields.items()}
    return Event(each.type, each.id, each.at, customer, fields)


def test_ids_are_resolved_and_linked_as_the_real_record_does(client: Any) -> None:
    chance, links, identities = random.Random(7), Links(), Identities(client)
    ids = [("device", f"d{n}") for n in range(12)] + [("account", f"a{n}") for n in range(12)]
    refused = 0
    for _ in range(200):
        if chance.random() < 0.5:
            one = chance.choice(ids)
            assert links.customer(*one) == identities.resolve_many([one])[0]
            continue
        pair = [chance.choice(ids[:12]), chance.choice(ids[12:])]
        try:
            identities.link(pair)
            taken = True
        except BadEvent:
            taken = False
            refused += 1
        assert links.link(pair) == taken
    assert refused > 5
    for one in ids:
        assert links.customer(*one) == identities.resolve_many([one])[0]
