"""Verification from the log finds what it is there to find: a planted same-day value, a changed state."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest
import redis

from events.bus import Bus, Message
from events.codec import encode
from events.envelope import DECISION, Event
from events.identity import mint, partition_of
from events.topics import BEHAVIOUR
from experiments.audit import Leak
from features.attribute_past import AttributePast
from features.declare import load as load_playbook
from features.feast_store import RedisStateStore
from features.fold import empty
from features.fold import encode as encode_state
from features.full_row import full_row
from features.plan import Plan, compile_plan
from features.row import cross
from features.state import State
from features.triggers import act
from kairos.demo.shopping import Shopping, milliseconds
from kairos.local import Server
from kairos.verify import parity
from models import catalogue as offers
from models.catalogue import Catalogue
from models.decision import Request, decide
from models.record import DecisionRecord, keep
from models.scorers.blend import Blend
from models.scorers.prior import Prior

GROCERY = Path("playbooks/grocery")
CUSTOMER = mint("card", "C000001")
DAY = milliseconds(Shopping(days=1).first.replace(month=11, day=10))
BASKET = DAY + 10 * 3_600_000
PARTITIONS = 2


@dataclass(frozen=True)
class Corner:
    plan: Plan
    catalogue: Catalogue
    store: RedisStateStore


@pytest.fixture(scope="module")
def offered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("offers") / "catalogue.parquet"
    Shopping(days=1).write_catalogue(path)
    return path


@pytest.fixture
def corner(offered: Path, bus: Bus, redis_server: Server) -> Corner:
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    bus.ensure({BEHAVIOUR: PARTITIONS})
    plan = compile_plan(load_playbook(GROCERY))
    return Corner(plan, offers.load(GROCERY, plan, offered), RedisStateStore(redis_server.url, "kairos"))


def history() -> list[Event]:
    """A campaign mailed the day before, a basket a week ago, and the basket that the moment comes before."""
    line = {"amount": 123_400, "quantity": 1, "discount": 0, "coupon_discount": 0, "department": "GROCERY"}
    line |= {"category": "CHEESE", "store": "1", "basket": "b"}
    sent = {"campaign": "campaign-18", "campaign_type": "A"}
    return [
        Event("basket_line", "old", BASKET - 7 * 86_400_000, CUSTOMER, line),
        Event("campaign_sent", "s", DAY - 1_000, CUSTOMER, sent),
        Event("basket_line", "today", BASKET, CUSTOMER, line),
    ]


def folded(plan: Plan, events: list[Event]) -> State:
    state = empty(plan)
    for position, event in enumerate(events):
        act(plan, state, [event], partition_of(CUSTOMER, PARTITIONS), [position])
    return state


def publish(bus: Bus, events: list[Event]) -> None:
    partition = partition_of(CUSTOMER, PARTITIONS)
    bus.publish([Message(BEHAVIOUR, partition, CUSTOMER.encode(), encode(event)) for event in events])


def served(corner: Corner, state: State, at: int, seen_at: int) -> DecisionRecord:
    """A decision recorded at `at` from what is known at `seen_at`: the same instant, where nobody cheats."""
    plan, assortment = corner.plan, corner.catalogue.assortment("feed")
    decision = decide(
        Request(request_id="r", customer=CUSTOMER),
        "feed",
        corner.catalogue,
        full_row(plan, state, AttributePast.none(plan).held(CUSTOMER, seen_at), seen_at, seen_at),
        lambda chosen: cross(plan, state, seen_at, assortment.keys_of(chosen), seen_at),
        Blend(Prior(0.02)),
        at,
    )
    return keep(decision)


def test_honest_rows_and_states_pass(corner: Corner, bus: Bus) -> None:
    events = history()
    publish(bus, events)
    record = served(corner, folded(corner.plan, events[:2]), BASKET - 1_000, BASKET - 1_000)
    assert list(record.offers) == ["campaign-18"]
    final = folded(corner.plan, events)
    corner.store.write_many([(CUSTOMER, encode_state(corner.plan, final), final.newest)])
    found = parity(bus, corner.store, corner.plan, corner.catalogue, [record], strict=True)
    assert (found.rows, found.mismatches, found.states, found.states_differing) == (1, 0, 1, 0)


def test_a_planted_same_day_feature_is_refused(corner: Corner, bus: Bus) -> None:
    """The record claims the moment before the basket, but its row has seen the basket: AUC .82 for free."""
    events = history()
    publish(bus, events)
    record = served(corner, folded(corner.plan, events), BASKET - 1_000, BASKET + 1)
    with pytest.raises(Leak) as refused:
        parity(bus, corner.store, corner.plan, corner.catalogue, [record], states=0, strict=True)
    assert "spend_sum_7d" in refused.value.features
    counted = parity(bus, corner.store, corner.plan, corner.catalogue, [record], states=0)
    assert counted.mismatches == 1
    assert counted.features["spend_sum_7d"] == 1


def test_a_state_that_counted_twice_is_found(corner: Corner, bus: Bus) -> None:
    events = history()
    publish(bus, events)
    twice = folded(corner.plan, [*events, Event("basket_line", "x", BASKET + 1, CUSTOMER, events[0].fields)])
    corner.store.write_many([(CUSTOMER, encode_state(corner.plan, twice), twice.newest)])
    record = served(corner, folded(corner.plan, events[:2]), BASKET - 1_000, BASKET - 1_000)
    found = parity(bus, corner.store, corner.plan, corner.catalogue, [record])
    assert found.states_differing == 1
    assert not np.isnan(record.features()).all()


def test_events_on_their_way_are_no_mismatch_but_lost_ones_are(corner: Corner, bus: Bus) -> None:
    """A decision half a minute after a basket that was not folded yet: behind; two days later: wrong."""
    events = history()
    for late, counted in [(30_000, (0, 1)), (2 * 86_400_000, (1, 0))]:
        state = folded(corner.plan, events[:2])
        record = served(corner, state, BASKET + late, BASKET + late)
        if not bus.last(BEHAVIOUR, partition_of(CUSTOMER, PARTITIONS)) >= 0:
            publish(bus, events)
        found = parity(bus, corner.store, corner.plan, corner.catalogue, [record], states=0)
        assert (found.mismatches, found.behind) == counted


def test_what_came_after_the_decision_on_the_log_does_not_count(corner: Corner, bus: Bus) -> None:
    """A late basket corrects the state afterwards; the row was right when it was served."""
    events = history()
    record = served(corner, folded(corner.plan, events[:2]), BASKET + 86_400_000, BASKET + 86_400_000)
    decision = Event(DECISION, record.decision_id, record.at, CUSTOMER, {"record": b"", "placement": "feed"})
    publish(bus, [*events[:2], decision, events[2]])
    found = parity(bus, corner.store, corner.plan, corner.catalogue, [record], states=0)
    assert (found.rows, found.mismatches, found.behind) == (1, 0, 0)


def test_rows_of_another_plan_are_told_apart(corner: Corner, bus: Bus) -> None:
    publish(bus, history())
    record = served(corner, folded(corner.plan, history()[:2]), BASKET - 1_000, BASKET - 1_000)
    other = msgspec.structs.replace(record, plan="0" * 16)
    found = parity(bus, corner.store, corner.plan, corner.catalogue, [other, record], states=0)
    assert (found.rows, found.skipped, found.mismatches) == (1, 1, 0)


def test_the_position_that_a_record_names_says_what_its_row_knew(corner: Corner, bus: Bus) -> None:
    """A replay decides in a second what lies a day apart: time cannot say which events were on their way."""
    events = history()
    publish(bus, events)
    at = BASKET + 2 * 86_400_000
    partition = partition_of(CUSTOMER, PARTITIONS)
    for seen, named, counted in [(2, 1, (0, 1)), (3, 2, (0, 0)), (2, 2, (1, 0)), (3, 1, (1, 0))]:
        state = folded(corner.plan, events[:seen])
        record = msgspec.structs.replace(served(corner, state, at, at), folded=named)
        found = parity(bus, corner.store, corner.plan, corner.catalogue, [record], states=0)
        assert (found.mismatches, found.behind) == counted, (seen, named)
    assert state.applied == {partition: 2}
