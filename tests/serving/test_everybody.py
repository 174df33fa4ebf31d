"""What everybody does, in decisions and for people: read beside requests, told again by parity."""

import time
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest

from events.bus import Message
from events.codec import encode
from events.envelope import Event
from events.topics import BEHAVIOUR
from features.attributes import nothing_held
from features.everybody import Cut, fold_everybody
from features.everybody_store import everybody_key, fields_of, read_kept, seen_at
from features.full_row import full_row
from features.row import cross
from kairos.verify import everybody_past, parity
from models import catalogue
from models.floats import pack_floats
from models.record import DecisionRecord
from tests.serving.corner import DAY, FILES, MORNING, PARTITIONS, Shop

EVERYBODY = """
[[aggregate]]
name = "shop"
of = "global"
event = "purchase"
value = "amount"
functions = ["count", "sum"]
windows = ["1d", "7d"]
unit = "USD"
meaning = "what everybody pays"

[[aggregate]]
name = "popular"
of = "offer_group"
event = "purchase"
by = "kind"
match = "kind"
functions = ["count", "share"]
windows = ["7d"]
unit = "sales"
meaning = "sales of this kind to everybody"
default = { share = 0 }

[[ratio]]
name = "spend_of_shop"
numerator = "spend_sum_7d"
denominator = "shop_sum_7d"
unit = "share"
meaning = "this customer's part of the shop"
"""
RULE = """
[[rule]]
name = "only_what_sells"
when = "popular_count_7d > 0"
reason = "Nobody buys it."
placements = ["feed"]
"""


@pytest.fixture(scope="module")
def corner_playbook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crowded")
    for name, text in FILES.items():
        more = {"playbook.toml": EVERYBODY, "offers.toml": RULE}.get(name, "")
        (folder / name).write_text(text + more)
    return folder


@pytest.fixture(scope="module")
def sales(shop: Shop) -> list[list[Event]]:
    """What was sold to others, by partition of the log: on the bus, and counted as the stream counts it."""
    sold: list[list[Event]] = [[], []]
    for n in range(7):
        kind = "soup" if n % 3 else "bakery"
        event = Event("purchase", f"s{n}", MORNING - DAY + n, "{001}other", {"amount": 10_000, "kind": kind})
        sold[n % PARTITIONS].append(event)
    count(shop, sold, MORNING)
    shop.bus.publish(
        [
            Message(BEHAVIOUR, partition, b"{001}other", encode(event))
            for partition, events in enumerate(sold)
            for event in events
        ]
    )
    return sold


def count(shop: Shop, sold: list[list[Event]], read: int) -> None:
    """Let the stream have counted everybody's sales, and read up to `read` (ms)."""
    assert shop.plan.crowd is not None
    for partition, events in enumerate(sold):
        blob = fold_everybody(shop.plan.crowd, None, events, partition, range(len(events)))
        shop.redis.hset(everybody_key(partition), mapping=fields_of(shop.plan.crowd, blob, read, {}))
    shop.read_up_to(read)


def values(door: httpx.Client, card: str) -> dict[str, dict[str, Any]]:
    answer = door.get(f"/v1/customers/card:{card}")
    assert answer.status_code == 200, answer.text
    return {each["name"]: each for each in answer.json()["values"]}


def decided(door: httpx.Client, shop: Shop, card: str, at: int) -> DecisionRecord:
    body = {"customer": f"card:{card}", "placement": "feed", "request_id": f"{card}-{at}", "at": at}
    answer = door.post("/v1/decisions", json=body)
    assert answer.status_code == 200, answer.text
    ident = answer.json()["decision_id"]
    (record,) = [each for each in shop.decided() if each.decision_id == ident]
    return record


def test_a_decision_sees_what_everybody_bought_and_says_where_to_find_it(
    door: httpx.Client, shop: Shop, sales: list[list[Event]]
) -> None:
    record = decided(door, shop, "new", MORNING + 1)
    assert record.everybody is not None
    assert Cut.of(record.everybody) == Cut(MORNING, MORNING, (3, 2))
    everybody, _ = seen_at(shop.plan, read_kept(shop.redis, PARTITIONS), MORNING)
    expected = full_row(shop.plan, None, nothing_held(()), MORNING + 1, MORNING, everybody)
    assert record.features().tobytes() == expected.tobytes()
    names = [feature.name for feature in shop.plan.customer_features]
    assert record.features()[names.index("shop_count_7d")] == 7
    assert sorted(record.offers) == ["bread", "soup"], "a rule reads what everybody does"
    offers = catalogue.load(shop.setup.playbook, shop.plan).assortment("feed")
    keys = {match: [every[n] for n in record.places()] for match, every in offers.keys.items()}
    assert (
        record.cross_part().tobytes()
        == cross(shop.plan, None, MORNING + 1, keys, MORNING, everybody).tobytes()
    )
    assert len(msgspec.msgpack.encode(record.everybody)) < 64


def test_people_see_what_everybody_did_beside_the_customers_own(
    door: httpx.Client, shop: Shop, sales: list[list[Event]]
) -> None:
    told = values(door, "nobody")
    assert (told["shop_sum_7d"]["value"], told["shop_sum_7d"]["status"]) == (7.0, "known")
    assert told["shop_sum_7d"]["age_ms"] == 0
    assert told["spend_sum_7d"]["status"] == "unseen"


def test_parity_finds_the_very_numbers_in_the_log_and_one_that_is_not_there(
    door: httpx.Client, shop: Shop, sales: list[list[Event]]
) -> None:
    record = decided(door, shop, "parity", MORNING + 2)
    offers = catalogue.load(shop.setup.playbook, shop.plan)
    found = parity(shop.bus, shop.store, shop.plan, offers, [record], states=0)
    assert (found.rows, found.mismatches, found.features) == (1, 0, {})
    spoilt = record.features().copy()
    spoilt[[f.name for f in shop.plan.customer_features].index("shop_sum_7d")] += 1
    planted = msgspec.structs.replace(record, row=pack_floats(spoilt))
    assert record.everybody is not None
    earlier = msgspec.structs.replace(record, everybody=[*record.everybody[:3], 1])
    for each, wrong in ((planted, {"shop_sum_7d": 1}), (earlier, None)):
        found = parity(shop.bus, shop.store, shop.plan, offers, [each], states=0)
        assert found.mismatches == 1
        assert wrong is None or found.features == wrong
    past = everybody_past(shop.bus, shop.plan)
    then, before = past.served(Cut.of(record.everybody)), past.before(MORNING)
    assert then is not None
    assert before is not None
    assert then.row.tolist() == before.row.tolist()


def test_nothing_that_happened_later_is_seen_by_an_earlier_decision(
    door: httpx.Client, shop: Shop, sales: list[list[Event]]
) -> None:
    record = decided(door, shop, "earlier", MORNING - 5)
    values = dict(zip([f.name for f in shop.plan.customer_features], record.features(), strict=False))
    assert np.isnan(values["shop_count_7d"])
    assert np.isnan(values["spend_of_shop"])
    assert not np.isnan(values["spend_count_7d"])
    assert record.offers == [], "a rule that cannot be answered refuses"


def test_counts_grow_with_the_log_and_go_missing_when_it_is_not_read(
    door: httpx.Client, wall_door: httpx.Client, shop: Shop, sales: list[list[Event]]
) -> None:
    more = [
        [*sales[0], Event("purchase", "x", MORNING + 10, "{001}other", {"amount": 5, "kind": "drink"})],
        sales[1],
    ]
    count(shop, more, MORNING + 20)
    record = decided(door, shop, "grown", MORNING + 20)
    assert record.everybody == [MORNING + 20, MORNING + 20, 4, 2], "in a replay the next decision sees it"
    assert sorted(record.offers) == ["bread", "soup", "tea"]
    ends = time.monotonic() + 5
    while (told := values(wall_door, "nobody")["shop_count_7d"])["status"] != "missing":
        assert time.monotonic() < ends
        time.sleep(0.1)
    assert told["value"] is None, "by the wall clock that log was not read for years"
    now = int(time.time() * 1_000)
    count(shop, more, now)
    ends = time.monotonic() + 5
    while (told := values(wall_door, "nobody")["shop_count_7d"])["status"] == "missing":
        assert time.monotonic() < ends
        time.sleep(0.1)
    assert (told["value"], told["status"]) == (0.0, "empty"), "read on, and nothing happened this week"


def test_counts_that_cannot_be_read_do_not_stop_decisions(
    door: httpx.Client, shop: Shop, sales: list[list[Event]]
) -> None:
    count(shop, sales, MORNING + 30)
    ends = time.monotonic() + 5
    while (read := decided(door, shop, f"{time.monotonic_ns()}", MORNING + 30).everybody) != [
        *(MORNING + 30, MORNING + 30, 3, 2)
    ]:
        assert time.monotonic() < ends, read
        time.sleep(0.1)
    damaged: Any = {"state": b"damaged"}
    shop.redis.hset(everybody_key(1), mapping=damaged)
    shop.read_up_to(MORNING + 40)
    record = decided(door, shop, "damaged", MORNING + 40)
    assert record.everybody == read, "what was read before stands"
