"""Decisions over HTTP: a real server, real Redis, real bus."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from events.topics import DECISIONS
from models.record import unpack
from tests.serving.corner import DAY, MORNING, Shop, fault_of

NOON = MORNING + 8 * 3_600_000


def ask(door: httpx.Client, **changes: Any) -> httpx.Response:
    body = {"customer": "card:1", "placement": "feed", "at": NOON} | changes
    return door.post("/v1/decisions", json={k: v for k, v in body.items() if v is not ...})


def test_a_known_customer_gets_ranked_offers(door: httpx.Client, shop: Shop) -> None:
    customer = shop.bought("1", (MORNING - 2 * DAY, 3.5, "bakery"), (MORNING - DAY, 2.0, "drink"))
    answer = ask(door, request_id="first").json()
    assert answer["customer"] == customer
    assert answer["at"] == "2017-07-14T10:40:00Z"
    assert answer["unknown_customer"] is False
    assert [offer["position"] for offer in answer["offers"]] == [1, 2, 3]
    assert {offer["offer"] for offer in answer["offers"]} == {"bread", "soup", "tea"}
    assert all(0 < offer["propensity"] <= 1 for offer in answer["offers"])
    bread = next(offer for offer in answer["offers"] if offer["offer"] == "bread")
    assert bread["treatment"] == {"title": "Fresh bread"}
    assert answer["rung"] == "static"
    assert answer["models"] == {"prior": "declared"}


def test_the_record_reaches_the_bus_and_leaves_the_outbox(door: httpx.Client, shop: Shop) -> None:
    customer = shop.bought("2", (MORNING - DAY, 1.0, "bakery"))
    answer = ask(door, customer=customer, request_id="kept").json()
    shop.decided()
    (record,) = [record for record in shop.on(DECISIONS) if unpack(record.value).request_id == "kept"]
    kept = unpack(record.value)
    assert record.key.decode() == kept.customer == customer
    assert record.partition == int(customer[1 : customer.index("}")]) % shop.setup.partitions
    assert kept.offers == [offer["offer"] for offer in answer["offers"]]
    assert kept.at == NOON
    row = dict(zip([f.name for f in shop.plan.customer_features], kept.features().tolist(), strict=True))
    assert row["spend_sum_7d"] == 1.0


def test_a_repeat_gets_the_same_bytes_and_records_nothing(door: httpx.Client, shop: Shop) -> None:
    customer = shop.bought("3", (MORNING - DAY, 1.0, "bakery"))
    first = ask(door, customer="card:3", request_id="again")
    # The world moves on: the state is now past `at`, and a fresh request would be refused.
    shop.bought("3", (MORNING - DAY, 1.0, "bakery"), (NOON + 1, 1.0, "drink"))
    second = ask(door, customer=customer, request_id="again", limit=1)
    assert second.status_code == 200
    assert second.content == first.content
    assert ask(door, customer="card:3", request_id="another").status_code == 409
    assert [kept.request_id for kept in shop.decided()].count("again") == 1


def test_concurrent_requests_of_one_id_get_one_decision(door: httpx.Client, shop: Shop) -> None:
    customer = shop.bought("4", (MORNING - DAY, 1.0, "bakery"))
    barrier = threading.Barrier(8)

    def one(_: int) -> bytes:
        with httpx.Client(base_url=door.base_url) as client:
            barrier.wait()
            return ask(client, customer=customer, request_id="race", placement="feed").content

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(one, range(8)))
    assert len(answers) == 1
    assert [kept.request_id for kept in shop.decided()].count("race") == 1


def test_an_unknown_customer_is_answered_from_defaults_and_told_so(door: httpx.Client, shop: Shop) -> None:
    answer = ask(door, customer="card:nobody", request_id="u").json()
    assert answer["unknown_customer"] is True
    assert len(answer["offers"]) == 3
    minted = ask(door, customer="{007}abcdefghijkl").json()
    assert minted["unknown_customer"] is True
    assert minted["customer"] == "{007}abcdefghijkl"


def test_without_a_request_id_each_request_is_a_decision_of_its_own(door: httpx.Client, shop: Shop) -> None:
    shop.customer("5")
    ids = {ask(door, customer="card:5").json()["decision_id"] for _ in range(3)}
    assert len(ids) == 3


def test_silence_is_an_answer(door: httpx.Client) -> None:
    answer = ask(door, placement="quiet").json()
    assert answer["offers"] == []


def test_an_instant_the_state_is_past_is_refused(door: httpx.Client, shop: Shop) -> None:
    shop.bought("6", (MORNING, 1.0, "bakery"))
    fault = fault_of(ask(door, customer="card:6", at=MORNING), 409)
    assert fault["where"] == "body.at"
    assert fault["expected"] == "an instant after 2017-07-14T02:40:00Z"
    assert ask(door, customer="card:6", at=MORNING + 1).status_code == 200


def test_without_an_instant_the_clock_of_the_log_decides(door: httpx.Client, shop: Shop) -> None:
    shop.bought("7", (MORNING - DAY, 1.0, "bakery"))
    assert ask(door, customer="card:7", at=...).json()["at"] == "2017-07-14T02:40:00Z"
    # An event behind the mark may be folded already: the instant is then just after it.
    shop.bought("8", (MORNING + 5, 1.0, "bakery"))
    assert ask(door, customer="card:8", at=...).json()["at"] == "2017-07-14T02:40:00.006Z"


def test_the_wall_clock_decides_now_and_takes_no_instant(wall_door: httpx.Client, shop: Shop) -> None:
    fault = fault_of(ask(wall_door, customer="card:1"), 422)
    assert fault["where"] == "body.at"
    answer = ask(wall_door, customer="card:1", at=...)
    assert answer.json()["at"] > "2024"
    ahead = 7_000_000_000_000  # another machine's clock is far ahead of ours
    shop.bought("9", (ahead, 1.0, "bakery"))
    assert ask(wall_door, customer="card:9", at=...).json()["at"].endswith("40.001Z")


def test_context_reaches_the_rules(door: httpx.Client) -> None:
    answer = ask(door, context={"degrees": 35}).json()
    assert {offer["offer"] for offer in answer["offers"]} == {"bread", "tea"}


def test_a_limit_only_lowers(door: httpx.Client) -> None:
    assert len(ask(door, limit=1).json()["offers"]) == 1
    assert len(ask(door, limit=1000).json()["offers"]) == 3


@pytest.mark.parametrize(
    ("body", "where", "expected", "found"),
    [
        ({}, "body.customer", "a value (the field is required)", "nothing"),
        ({"customer": 7}, "body.customer", "str", "7"),
        ({"customer": ""}, "body.customer", "str of length >= 3", '""'),
        ({"customer": "x" * 300}, "body.customer", "str of length <= 256", '"xxx'),
        ({"customer": "card"}, "body.customer", "one of app:..., card:...", '"card"'),
        ({"customer": "crad:1"}, "body.customer", "one of app:..., card:...", '"crad:1"'),
        ({"customer": "{9999}abcdefghijkl"}, "body.customer", "one of app:..., card:...", '"{9999}'),
        ({"placement": "fed"}, "body.placement", "a placement of the catalogue", '"fed"'),
        ({"placement": None}, "body.placement", "str", "null"),
        ({"limit": 0}, "body.limit", "int >= 1", "0"),
        ({"limit": 2.5}, "body.limit", "int | null", "2.5"),
        ({"limit": "3"}, "body.limit", "int | null", '"3"'),
        ({"limit": 10**40}, "body.limit", "", ""),
        ({"request_id": ""}, "body.request_id", "str of length >= 1", '""'),
        ({"at": "yesterday"}, "body.at", "an RFC 3339 instant", '"yesterday"'),
        ({"at": "2017-07-14T02:40:00"}, "body.at", "an RFC 3339 instant", "2017"),
        ({"at": -1}, "body.at", "an RFC 3339 instant", "-1"),
        ({"at": 10**30}, "body.at", "an RFC 3339 instant", "1000"),
        ({"at": 1.5}, "body.at", "int | str | null", "1.5"),
        ({"context": []}, "body.context", "object", "[]"),
        ({"context": {"degrees": [1]}}, "body.context.degrees", "bool | int | float | str | null", "[1]"),
        ({"context": {"degrees": "hot"}}, "body.context.degrees", "a number", "'hot'"),
        ({"context": {"degrees": 10**400}}, "body.context.degrees", "", ""),
        ({"context": {"wether": "wet"}}, "body.context.wether", "a name that feed declares", "'wether'"),
        ({"context": {f"n{n}": 1 for n in range(99)}}, "body.context", "object of length <= 64", ""),
        ({"customr": "card:1"}, "body.customr", "did you mean customer?", "customr"),
    ],
)
def test_what_is_wrong_is_named(
    door: httpx.Client, body: dict[str, Any], where: str, expected: str, found: str
) -> None:
    whole = {"customer": "card:1", "placement": "feed"} | body if body else {}
    fault = fault_of(door.post("/v1/decisions", json=whole), 422)
    assert fault["where"] == where
    assert expected in fault["expected"]
    assert found in fault["found"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"customer": NaN}',
        b'{"customer": "card:1", "placement": "feed", "context": {"degrees": Infinity}}',
        b'{"customer": "\xff\xfe"}',
        b'{"customer": "\\ud800"}',
    ],
)
def test_what_is_not_json_is_refused(door: httpx.Client, body: bytes) -> None:
    answer = door.post("/v1/decisions", content=body, headers={"Content-Type": "application/json"})
    assert fault_of(answer, 400)["where"] == "body"


def test_deep_nesting_is_refused(door: httpx.Client) -> None:
    for body in (b'{"context": {"a": ' + b"[" * 400_000, b"[" * 900_000, b'{"a":' * 150_000):
        answer = door.post("/v1/decisions", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422)
        fault_of(answer, answer.status_code)
    assert door.get("/health/ready").status_code == 200


def test_long_bodies_are_refused_announced_or_not(door: httpx.Client) -> None:
    body = b'{"customer": "' + b"x" * 10_000_000 + b'"}'
    headers = {"Content-Type": "application/json"}
    try:
        announced = door.post("/v1/decisions", content=body, headers=headers)
    except httpx.WriteError:
        pass  # the server hung up before it was all sent, which is as good
    else:
        assert fault_of(announced, 413)["expected"] == "at most 1000000 bytes"

    def pieces() -> Any:
        for start in range(0, 1_400_000, 100_000):
            yield body[start : start + 100_000]

    chunked = door.post("/v1/decisions", content=pieces(), headers=headers)
    assert fault_of(chunked, 413)["found"] == "more than 1000000"


def test_other_media_types_methods_and_addresses_are_refused(door: httpx.Client) -> None:
    form = door.post("/v1/decisions", data={"customer": "card:1"})
    assert fault_of(form, 415)["expected"] == "application/json"
    none = door.post("/v1/decisions", content=b"{}")
    assert fault_of(none, 415)["found"] == "none"
    get = door.get("/v1/decisions")
    assert fault_of(get, 405) == {"where": "method", "expected": "POST", "found": "GET"}
    assert get.headers["allow"] == "POST"
    assert fault_of(door.get("/v2/decisions"), 404)["where"] == "path"


def test_an_unreadable_state_is_missing_not_empty(door: httpx.Client, shop: Shop) -> None:
    customer = shop.bought("10", (MORNING - DAY, 1.0, "bakery"))
    ((_, blob),) = [(customer, shop.store.read_many([customer])[0])]
    assert blob is not None
    shop.store.write_many([(customer, blob[:-3] + b"xyz", MORNING)])
    answer = ask(door, customer="card:10").json()
    assert answer["unknown_customer"] is True
    values = door.get("/v1/customers/card:10").json()["values"]
    assert {value["status"] for value in values} == {"missing"}
