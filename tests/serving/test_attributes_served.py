"""What batch tables say of a customer: in the row a decision is made from, and as people read it."""

from pathlib import Path

import httpx
import numpy as np
import pytest

from events.identity import mint
from features.attribute_fields import fields_of
from features.attribute_load import load_table
from features.attribute_past import AttributePast
from features.attribute_rows import Rows
from features.attribute_store import RedisAttributeStore
from features.feast_store import feast_key
from features.full_row import full_features, full_row
from kairos.verify import parity
from models import catalogue
from tests.serving.corner import DAY, FILES, MORNING, Shop

ATTRIBUTES = """
[[attribute_table]]
name = "household"
source = { parquet = "households.parquet" }
key = { card = "card" }
as_of = "known_at"
freshness = "90d"
purpose = "offers that fit the household"
columns = [
  { name = "size", kind = "integer", unit = "persons", meaning = "persons at the table", default = 2 },
  { name = "home", kind = "category", meaning = "rents or owns", categories = ["renter", "owner"] },
]
"""
RULE = """
[[rule]]
name = "tea_for_many"
when = "offer.kind != 'drink' || household_size >= 3"
reason = "Tea comes in big pots."
placements = ["feed"]
"""


@pytest.fixture(scope="module")
def corner_playbook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("households")
    for name, text in (FILES | {"attributes.toml": ATTRIBUTES}).items():
        (folder / name).write_text(text + RULE if name == "offers.toml" else text)
    return folder


@pytest.fixture(scope="module")
def store(shop: Shop) -> RedisAttributeStore:
    """Two forms are known, one of them of long ago; nobody asked `never`."""
    store = RedisAttributeStore(shop.setup.redis, shop.setup.project)
    (table,) = shop.plan.playbook.attributes
    rows = [
        ("big", MORNING - DAY, (5, "owner")),
        ("old", MORNING - 91 * DAY, (5, "owner")),
        ("half", MORNING - DAY, (None, "renter")),
        ("late", MORNING, (5, "owner")),
    ]
    load_table(
        table,
        Rows(good=rows, count=len(rows)),
        run_dir=shop.setup.run_dir,
        store=store,
        counts_from=lambda customers: None,
    )
    return store


def values(door: httpx.Client, card: str) -> dict[str, dict[str, object]]:
    answer = door.get(f"/v1/customers/card:{card}")
    assert answer.status_code == 200, answer.text
    return {each["name"]: each for each in answer.json()["values"]}


def test_before_a_table_was_loaded_every_value_of_it_is_missing(door: httpx.Client) -> None:
    told = values(door, "big")["household_size"]
    assert (told["value"], told["status"], told["age_ms"]) == (None, "missing", None)


def test_people_read_each_value_with_the_age_of_its_row(
    door: httpx.Client, store: RedisAttributeStore
) -> None:
    big = values(door, "big")
    assert list(big)[-2:] == ["household_size", "household_home"]
    assert big["household_size"] == {
        "name": "household_size",
        "value": 5.0,
        "status": "known",
        "age_ms": DAY,
        "unit": "persons",
        "meaning": "persons at the table",
    }
    home = big["household_home"]
    assert (home["value"], home["category"]) == (1.0, "owner")
    told = {card: values(door, card)["household_size"] for card in ("old", "half", "late", "never")}
    assert [(each["value"], each["status"], each["age_ms"]) for each in told.values()] == [
        (None, "missing", 91 * DAY),
        (None, "missing", DAY),
        (2.0, "empty", None),
        (2.0, "empty", None),
    ]


def test_a_decision_is_made_from_the_whole_row_and_its_record_holds_it(
    door: httpx.Client, shop: Shop, store: RedisAttributeStore
) -> None:
    past = AttributePast.read(shop.plan, shop.setup.run_dir)
    offered = {}
    for card in ("big", "old", "never"):
        body = {
            "customer": f"card:{card}",
            "placement": "feed",
            "request_id": "r",
            "limit": 3,
            "at": MORNING + 1,
        }
        answer = door.post("/v1/decisions", json=body).json()
        offered[card] = {offer["offer"] for offer in answer["offers"]}
        (record,) = [each for each in shop.decided() if each.decision_id == answer["decision_id"]]
        held = past.held(mint("card", card), MORNING + 1)
        expected = full_row(shop.plan, None, held, MORNING + 1, MORNING)
        assert record.features().tobytes() == expected.tobytes()
        assert len(expected) == len(full_features(shop.plan))
    assert ("tea" in offered["big"], "tea" in offered["never"]) == (True, False), "rules read attributes too"
    names = catalogue.load(shop.setup.playbook, shop.plan).assortment("feed").columns.names
    assert names.index("household_home") == len(full_features(shop.plan)) - 1


def test_parity_takes_attributes_from_their_history_and_finds_one_that_differs(
    door: httpx.Client, shop: Shop, store: RedisAttributeStore
) -> None:
    offers = catalogue.load(shop.setup.playbook, shop.plan)
    body = {"customer": "card:big", "placement": "feed", "request_id": "parity", "at": MORNING + 1}
    ident = door.post("/v1/decisions", json=body).json()["decision_id"]
    (record,) = [each for each in shop.decided() if each.decision_id == ident]
    past = AttributePast.read(shop.plan, shop.setup.run_dir)
    told = [
        parity(shop.bus, shop.store, shop.plan, offers, [record], states=0, past=each).features
        for each in (past, None)
    ]
    assert told == [{}, {"household_size": 1, "household_home": 1}]


def unreadable(door: httpx.Client) -> float:
    """How many states could not be read so far, as /metrics says."""
    (line,) = [
        line
        for line in door.get("/metrics").text.splitlines()
        if line.startswith("kairos_states_unreadable_total ")
    ]
    return float(line.split()[1])


def test_fields_that_cannot_be_read_are_missing_and_counted(
    door: httpx.Client, shop: Shop, store: RedisAttributeStore
) -> None:
    customer = mint("card", "cut")
    field = fields_of(shop.plan.playbook.attributes)[3]
    shop.redis.hset(feast_key(shop.setup.project, customer), field, b"\x20")
    before = unreadable(door)
    told = values(door, "cut")["household_size"]
    assert (told["value"], told["status"]) == (None, "missing")
    assert unreadable(door) == before + 1
    body = {"customer": "card:cut", "placement": "feed", "request_id": "r", "at": MORNING + 1}
    assert door.post("/v1/decisions", json=body).status_code == 200, "a decision can be made all the same"
    (record,) = [each for each in shop.decided() if each.customer == customer]
    assert np.isnan(record.features()[-2:]).all()
