"""Triggers are told of batch tables what was known as their events happened, and nothing that was not."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from events.bus import Record
from events.codec import encode
from events.envelope import Event, Tick
from events.identity import mint
from features.attribute_fields import fields_of
from features.attribute_history import History
from features.attribute_past import AttributePast
from features.attribute_store import RedisAttributeStore
from features.attributes import NO_ROW, Version
from features.feast_store import feast_key
from features.plan import Plan
from features.retelling import Ticks
from kairos.history import History as Log
from kairos.local import Server
from stream.attributes import AttributeReader
from stream.behaviour_fold import BehaviourFold
from stream.counters import Counters
from stream.state_cache import StateCache
from stream.taps import Poll
from tests.stream.kiosk import DAY, MONDAY, MemoryStore, plan_of, write_playbook
from tests.stream.test_behaviour_fold import NoRedis

TABLE = """
[[attribute_table]]
name = "club"
source = { parquet = "club.parquet" }
key = { card = "card" }
as_of = "since"
freshness = "10d"
purpose = "offers that fit"
columns = [
  { name = "agreed", kind = "boolean", meaning = "whether they agreed", default = false },
  { name = "tier", kind = "category", meaning = "tier", categories = ["basic", "gold"] },
]
"""
TRIGGERS = """
[[trigger]]
name = "gold_buys"
meaning = "a gold member bought"
on = "purchase"
when = "club_tier == 'gold' || spend_count_7d >= 1000"
repeats = true
payload = { tier = "club_tier", agreed = "club_agreed" }

[[trigger]]
name = "agreed_buys"
meaning = "somebody who agreed bought"
on = "purchase"
audience = "club_agreed || is_missing(club_tier) && club_agreed"

[[trigger]]
name = "gold_forgot"
meaning = "invited while gold, and nothing redeemed"
on = "invited"
unless = { event = "redeemed", within = "1d" }
patience = "5s"
audience = "club_tier == 'gold'"
"""
FIRST, SECOND, THIRD = MONDAY + DAY, MONDAY + 2 * DAY, MONDAY + 3 * DAY
ANNE, BOB, EVE, MAX = (mint("card", each) for each in ("anne", "bob", "eve", "max"))
TIMELINES = {
    ANNE: (Version(FIRST, FIRST - 1, (True, "gold")), Version(THIRD, THIRD - 1, (False, "basic"))),
    BOB: (Version(SECOND, SECOND - 1, (None, "gold")),),
    EVE: (Version(FIRST, FIRST - 1, (True, "gold")), Version(SECOND, NO_ROW, (None, None))),
}


@pytest.fixture(scope="module")
def clubbed(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder: Path = write_playbook(tmp_path_factory.mktemp("club"))
    (folder / "attributes.toml").write_text(TABLE)
    (folder / "triggers.toml").write_text(TRIGGERS)
    return plan_of(folder)


@pytest.fixture
def reader(clubbed: Plan, state: "redis.Redis", redis_server: Server) -> AttributeReader:
    (table,) = clubbed.playbook.attributes
    store = RedisAttributeStore(redis_server.url, "kiosk")
    for customer, timeline in TIMELINES.items():
        store.write_many(table, {customer: timeline[-2:][::-1]})
    store.set_loaded(table, FIRST)
    return AttributeReader(store, clubbed, threading.Event())


def purchases(times: Sequence[int], step: int = 0) -> list[Event]:
    return [
        Event("purchase", f"{who}{at}", at + step, who, {"amount": 10_000, "kind": "tea", "note": None})
        for at in times
        for who in (ANNE, BOB, EVE, MAX)
    ]


def fold(plan: Plan, items: Sequence[Event | Tick], size: int, reader: AttributeReader | None) -> MemoryStore:
    """What the stream makes of the log, read in pieces of so many records; `messages` are what it told."""
    store = MemoryStore()
    counters = Counters(NoRedis(), "behaviour")
    folding = BehaviourFold(plan, store, 1, StateCache(1 << 20), counters, {}, None, reader)
    records = [Record("behaviour", 0, n, b"", encode(item)) for n, item in enumerate(items)]
    messages = []
    for start in range(0, len(records), size):
        effects = folding.process([Poll("behaviour", 0, records[start : start + size], None)])
        messages += [orjson.loads(each.value)["data"] for each in effects.messages]
        store.write_many([(who, each.blob, 0) for who, each in effects.states.items()])
        for partition, wakes in effects.wakes.items():
            store.set_wakes(partition, wakes)
    store.messages = messages  # type: ignore[attr-defined]
    return store


def log() -> list[Event | Tick]:
    times = [MONDAY, FIRST, SECOND, THIRD, THIRD + 20 * DAY]
    invitations = [Event("invited", f"i{who}", THIRD - 2, who, {"campaign": "A"}) for who in (ANNE, BOB, MAX)]
    items: list[Event | Tick] = [*purchases(times[:3]), *invitations, *purchases(times[3:4])]
    return [*items, Tick(THIRD + 2 * DAY), *purchases(times[4:])]


@pytest.mark.parametrize("size", [1, 5, 100])
def test_values_are_those_of_the_events_instant(clubbed: Plan, reader: AttributeReader, size: int) -> None:
    store = fold(clubbed, log(), size, reader)
    told = [each for each in store.messages if "payload" in each]  # type: ignore[attr-defined]
    gold = [(each["customer"], each["payload"]) for each in told if each["trigger"] == "gold_buys"]
    # Of Bob's row it is not known whether he agreed; before the first load nothing is known of anybody.
    expected = [(who, {"tier": "gold", "agreed": True}) for who in (ANNE, EVE, ANNE)]
    expected += [(BOB, {"tier": "gold", "agreed": None})] * 2
    assert sorted(map(repr, gold)) == sorted(map(repr, expected))
    agreed = [each["customer"] for each in told if each["trigger"] == "agreed_buys"]
    assert sorted(agreed) == sorted([ANNE, EVE, ANNE])
    # A wait is asked at its tick: Anne is gold no more.
    assert [each["customer"] for each in told if each["trigger"] == "gold_forgot"] == [BOB]


def test_states_are_those_recomputed_from_the_histories(clubbed: Plan, reader: AttributeReader) -> None:
    items = log()
    store = fold(clubbed, items, 7, reader)
    events: dict[str, list[tuple[int, Event]]] = {}
    ticks = Ticks()
    for position, item in enumerate(items):
        if isinstance(item, Tick):
            ticks.note(position, item.time)
        else:
            events.setdefault(item.customer, []).append((position, item))
    past = AttributePast((History(TIMELINES, FIRST),))
    known = Log(events, {0: ticks}, 1)
    assert store.blobs == {who: known.state(clubbed, who, past) for who in events}
    assert store.blobs != {who: known.state(clubbed, who) for who in events}


def test_nothing_is_known_without_a_look_up_or_of_damaged_fields(
    clubbed: Plan, reader: AttributeReader, state: "redis.Redis"
) -> None:
    assert not fold(clubbed, log(), 100, None).messages  # type: ignore[attr-defined]
    (table,) = clubbed.playbook.attributes
    damaged: Any = {fields_of([table])[0]: b"\x99"}
    state.hset(feast_key("kiosk", ANNE), mapping=damaged)  # type: ignore[arg-type]
    known = reader([ANNE, BOB, EVE], [SECOND, SECOND, FIRST])
    assert known["club_tier"] == [None, "gold", "gold"]


def test_a_customer_without_a_row_has_the_default(clubbed: Plan, reader: AttributeReader) -> None:
    assert reader([MAX, MAX, EVE], [FIRST - 1, FIRST, SECOND]) == {
        "club_agreed": [None, False, False],
        "club_tier": [None, None, None],
    }
