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
from events.identity import Identities, mint
from experiments.world.effects import Effects
from experiments.world.happening import START, Happened, Moment
from experiments.world.intake import UNIT, Links
from experiments.world.knowledge import PARTITION, Knowledge, Profile
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
    people = Effects().changed({"strangers": 0.3, "guests": 0.4, "second_device": 0.4})
    town, knowledge = Town(3, 50, 4, people), Knowledge(plan, delay)
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
                whose, mine = plainly(everything, ("device", moment.device), moment.at - delay)
                assert profile.customer == whose
                state = profile.state
                assert (state is None) == (not mine)
                if state is not None:
                    plain = [plain_event(each, whose) for each in mine]
                    (blob,) = fold_batch(
                        plan, [None], plain, [0] * len(plain), [PARTITION] * len(plain), range(len(plain))
                    ).blobs
                    other = Profile(whose, *parts_of(blob), known=True)
                    assert state.newest == max(each.at for each in mine)
                    compared += 1
                    np.testing.assert_array_equal(
                        knowledge.row(profile, moment.at), knowledge.row(other, moment.at)
                    )
    assert compared > 10


def plainly(everything: list[Happened], of: tuple[str, str], latest: int) -> tuple[str, list[Happened]]:
    """Whose an id is, and what is known of them, once everything up to an instant is: read anew each time."""
    links, owners = Links(), list[tuple[str, Happened]]()
    for each in sorted((each for each in everything if each.at <= latest), key=lambda each: each.at):
        if each.device is not None and each.account is not None:
            links.link([("device", each.device), ("account", each.account)])
        elif each.device is not None:
            owners.append((links.customer("device", each.device), each))
        else:
            owners.append((links.customer("account", str(each.account)), each))
    whose = links.lookup(*of)
    return whose, [each for owner, each in owners if owner == whose]


def looked(at: int, device: str) -> Happened:
    return Happened(at, "looked", f"l-{at}", device, None, {"category": "bike", "carted": False})


def bought(at: int) -> Happened:
    return Happened(at, "bought", f"b-{at}", None, "a1", {"category": "bike", "paid": 9.0, "discount": 0.0})


def asked(knowledge: Knowledge, at: int, device: str) -> Profile:
    (profile,) = knowledge.of([moment := Moment(at, 0, device, False, (at,))])
    knowledge.fold([profile], [moment.at])
    return profile


def test_a_link_is_known_as_late_as_everything_else(plan: Plan) -> None:
    knowledge, day = Knowledge(plan, 24 * HOUR), 24 * HOUR
    link = Happened(START + 10, "signed_in", "s", "d1", "a1", {})
    knowledge.take([bought(START), link, looked(START + 20, "d1")])
    before = asked(knowledge, START + day + 9, "d1")
    assert before.customer == mint("device", "d1"), "the customer that an id would become: nothing is written"
    assert before.state is None
    after = asked(knowledge, START + day + 20, "d1")
    assert after.customer == mint("account", "a1")
    assert after.state is not None
    assert after.state.newest == START + 20, (
        "the look before the link was known is not lost: it was due later"
    )
    assert knowledge.conflicts == 0, "having been asked for makes nobody a customer"


def test_what_was_folded_under_an_id_that_was_not_linked_yet_stays_there(plan: Plan) -> None:
    knowledge, day = Knowledge(plan, 24 * HOUR), 24 * HOUR
    link = Happened(START + 10, "signed_in", "s", "d1", "a1", {})
    knowledge.take([bought(START), looked(START + 5, "d1"), link, looked(START + 20, "d1")])
    before, after = (asked(knowledge, START + day + at, "d1") for at in (9, 20))
    assert before is after, "both had a past: customers that meet stay two"
    assert after.customer == mint("device", "d1")
    knowledge.wake(START + day + HOUR)
    assert knowledge.conflicts == 1


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
            assert links.lookup(*one) == identities.lookup_many([one])[0]
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
