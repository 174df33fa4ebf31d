"""What people and machines read: decisions, customers, models, health, metrics, the OpenAPI document."""

import time
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest

from models.online import OnlineModel, online_key
from models.scorers.river_propensity import RiverPropensity, RiverScorer
from serving import documents
from serving.messages import DecisionAnswer, DecisionRequest, OutcomeReport
from tests.serving.corner import DAY, MORNING, Shop, fault_of


def test_a_decision_says_why_and_why_not(door: httpx.Client, shop: Shop) -> None:
    shop.bought("why", (MORNING - DAY, 2.0, "soup"))
    body = {
        "customer": "card:why",
        "placement": "feed",
        "at": MORNING + 1,
        "context": {"degrees": 35},
        "limit": 1,
    }
    answer = door.post("/v1/decisions", json=body).json()
    told = door.get(f"/v1/decisions/{answer['decision_id']}").json()
    assert told["decision_id"] == answer["decision_id"]
    assert told["at"] == answer["at"]
    by_offer = {each["offer"]: each for each in told["offers"]}
    assert set(by_offer) == {"bread", "tea"}
    first = answer["offers"][0]
    assert by_offer[first["offer"]]["position"] == 1
    assert by_offer[first["offer"]]["propensity"] == first["propensity"]
    assert all(each["scores"] for each in told["offers"])
    refused = {each["offer"]: each["rules"] for each in told["refused"]}
    assert refused["soup"] == [{"rule": "no_soup_in_the_heat", "reason": "Nobody wants soup in the heat."}]
    assert refused["turkey"][0]["rule"] == "expired"
    assert told["versions"]["plan"] == shop.plan.digest


@pytest.mark.parametrize("name", ["x", "007-abcdefghijkl-ffffffffffff", "²-abcdefghijkl-ffffffffffff", "%00"])
def test_a_decision_nobody_made_is_not_found(door: httpx.Client, name: str) -> None:
    assert fault_of(door.get(f"/v1/decisions/{name}"), 404)["where"] == "path.decision_id"


def values_of(door: httpx.Client, reference: str) -> dict[str, Any]:
    return {value["name"]: value for value in door.get(f"/v1/customers/{reference}").json()["values"]}


def test_missing_empty_and_unseen_are_told_apart(door: httpx.Client, shop: Shop) -> None:
    shop.read_up_to(MORNING)
    customer = shop.bought("k", (MORNING - 10 * DAY, 2.0, "soup"))
    values = values_of(door, "card:k")
    assert values["visit_since_last"]["status"] == "known"
    assert values["visit_since_last"]["value"] == 10.0
    assert values["spend_sum_7d"]["status"] == "empty"
    assert values["spend_sum_7d"]["value"] == 0.0
    assert values_of(door, customer) == values
    assert {value["status"] for value in values_of(door, "card:stranger").values()} == {"unseen"}
    # An instant long past what was read: everything is missing, and its age says by how much.
    shop.bought("k", (MORNING - 10 * DAY, 2.0, "soup"), (MORNING + 3 * DAY, 1.0, "soup"))
    late = values_of(door, "card:k")
    assert {value["status"] for value in late.values()} == {"missing"}
    assert {value["value"] for value in late.values()} == {None}
    assert late["spend_sum_7d"]["age_ms"] == 3 * DAY + 1


def test_a_reference_of_no_kind_is_named(door: httpx.Client) -> None:
    assert fault_of(door.get("/v1/customers/phone:1"), 422)["where"] == "path.customer"
    assert fault_of(door.get("/v1/customers/card:" + "x" * 300), 422)["where"] == "path.customer"


def test_an_online_model_is_swapped_in_without_a_restart(door: httpx.Client, shop: Shop) -> None:
    def models() -> dict[str, Any]:
        view: dict[str, Any] = door.get("/v1/models").json()["placements"]
        return view

    assert models()["feed"]["river"] is None
    names = [feature.name for feature in shop.plan.customer_features]
    learner = RiverPropensity(prior=0.5)
    for n in range(20):
        learner.learn(names, np.full(len(names), n, dtype=np.float32), n % 2)
    for version in ("1", "2"):
        kept = OnlineModel(version, MORNING, 20, learner.snapshot())
        shop.redis.set(online_key("feed"), msgspec.msgpack.encode(kept))
        assert models()["feed"]["river"] == {"version": version, "learned_to": MORNING, "n": 20}
        assert models()["push"]["river"]["version"] == version
        answer = door.post(
            "/v1/decisions", json={"customer": "card:m", "placement": "feed", "at": MORNING}
        ).json()
        assert answer["rung"] == "online"
        assert answer["models"] == {"river": version}
    shop.redis.set(online_key("feed"), b"not a model")  # the one before stays
    assert models()["feed"]["river"]["version"] == "2"

    def broken(self: RiverScorer, features: Any) -> Any:
        raise ZeroDivisionError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RiverScorer, "score", broken)  # a model that fails does not silence the feed
        answer = door.post(
            "/v1/decisions", json={"customer": "card:m", "placement": "feed", "at": MORNING}
        ).json()
        assert answer["rung"] == "static"
        assert len(answer["offers"]) == 3
    shop.redis.delete(online_key("feed"))


def test_health_and_metrics(door: httpx.Client, shop: Shop) -> None:
    assert door.get("/health/live").json() == {"status": "live"}
    assert door.get("/health/ready").json() == {"status": "ready"}
    shop.redis.hset("kairos:counters:intake", mapping={"read": 7, "note": "hello"})
    shop.redis.hset("kairos:workers", "behaviour-1", "1/2")
    shop.redis.hset("kairos:counters:behaviour-1", "cached_bytes", 5)
    shop.redis.hset("kairos:counters:parity", "mismatched.spend", 3)
    door.post("/v1/decisions", json={"customer": "card:x", "placement": "feed", "at": MORNING})
    door.post("/v1/decisions", json={})
    by = time.monotonic() + 10
    while "kairos_outbox_pending 0.0" not in (text := door.get("/metrics").text) and time.monotonic() < by:
        time.sleep(0.02)
    assert 'kairos_stream{counter="read",process="intake"} 7.0' in text
    assert 'kairos_stream{counter="cached_bytes",process="behaviour-1"} 5.0' in text
    assert 'kairos_stream{counter="mismatched.spend",process="parity"} 3.0' in text
    assert 'kairos_decisions_total{placement="feed",rung=' in text
    assert 'kairos_problems_total{status="422"}' in text
    assert "kairos_outbox_pending 0.0" in text
    assert "kairos_decision_seconds_bucket" in text
    assert 'kairos_watermark_ms{partition="0"}' in text


def test_the_openapi_document_is_whole(door: httpx.Client) -> None:
    document = door.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    schemas = document["components"]["schemas"]

    def references(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                yield node["$ref"]
            for child in node.values():
                yield from references(child)
        elif isinstance(node, list):
            for child in node:
                yield from references(child)

    for reference in references(document):
        assert reference.rsplit("/", 1)[1] in schemas, reference
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], path
            assert operation["tags"], path
            good = [status for status in operation["responses"] if status.startswith("2")]
            for status in good:
                (content,) = operation["responses"][status]["content"].values()
                assert "example" in content, (path, method)
            if method == "post":
                for content in operation["requestBody"]["content"].values():
                    assert "example" in content or "examples" in content
    assert door.get("/docs").status_code == 200


def test_the_examples_are_what_the_schemas_say(door: httpx.Client) -> None:
    msgspec.convert(documents.ASK, DecisionRequest)
    msgspec.convert(documents.ANSWER, DecisionAnswer)
    msgspec.convert(documents.OUTCOME, OutcomeReport)
    document = door.get("/openapi.json").json()
    problem = document["components"]["schemas"]["Problem"]
    seen = 0
    for methods in document["paths"].values():
        for operation in methods.values():
            for answer in operation["responses"].values():
                content = answer.get("content", {}).get("application/problem+json")
                if content:
                    assert set(content["example"]) == set(problem["required"])
                    seen += 1
    assert seen > 20
