"""Events, outcomes and marks over HTTP: checked, durable before 202, all or nothing."""

from typing import Any
from zlib import crc32

import httpx
import orjson
import pytest

from events.codec import parse_cloudevent
from events.topics import DECISIONS, OUTCOMES
from tests.serving.corner import MORNING, Shop, fault_of, purchase

EVENT = {"Content-Type": "application/cloudevents+json"}
BATCH = {"Content-Type": "application/cloudevents-batch+json"}


def tell(door: httpx.Client, events: Any, headers: dict[str, str] = EVENT) -> httpx.Response:
    return door.post("/v1/events", content=orjson.dumps(events), headers=headers)


def test_one_event_is_on_its_topic_when_answered(door: httpx.Client, shop: Shop) -> None:
    answer = tell(door, purchase("42", "one"))
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1})
    (record,) = [r for r in shop.on("shop") if parse_cloudevent(r.value).id == "one"]
    assert record.key == b"42"
    assert record.partition == crc32(b"42") % shop.setup.partitions


def test_a_batch_keeps_its_order(door: httpx.Client, shop: Shop) -> None:
    events = [purchase("43", f"batch-{n}") for n in range(100)]
    assert tell(door, events, BATCH).json() == {"accepted": 100}
    found = [parse_cloudevent(record.value).id for record in shop.on("shop")]
    assert [each for each in found if each.startswith("batch-")] == [f"batch-{n}" for n in range(100)]


def test_one_bad_event_refuses_the_batch(door: httpx.Client, shop: Shop) -> None:
    before = len(shop.on("shop"))
    fault = fault_of(tell(door, [purchase("44", "good"), purchase("44", "bad", amount="much")], BATCH), 422)
    assert fault["where"] == "body[1].data.amount"
    assert fault["found"] == '"much"'
    assert len(shop.on("shop")) == before


@pytest.mark.parametrize(
    ("change", "where", "status"),
    [
        ({"specversion": "0.3"}, "body.specversion", 422),
        ({"id": ""}, "body.id", 422),
        ({"type": "purchas"}, "body.type", 422),
        ({"type": "kairos.mark"}, "body.data.before", 422),
        ({"data": None}, "body.data", 422),
        ({"data": {}}, "body.data.receipt", 422),
        (
            {"data": {**purchase("1")["data"], "bought_at": "2099-01-01T00:00:00Z"}},
            "body.data.bought_at",
            422,
        ),
        ({"data": {**purchase("1")["data"], "card": None}}, "body.data", 422),
        ({"data": {**purchase("1")["data"], "amount": None}}, "body.data.amount", 422),
        ({"data": {**purchase("1")["data"], "amount": 10**18}}, "body.data.amount", 422),
        ({"data": {**purchase("1")["data"], "kind": "x" * 1000}}, "body.data.kind", 422),
    ],
)
def test_what_is_wrong_with_an_event_is_named(
    door: httpx.Client, change: dict[str, Any], where: str, status: int
) -> None:
    assert fault_of(tell(door, purchase("1") | change), status)["where"] == where


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[", b"[1,", b"nonsense", b"\xff", b'{"a": NaN}', b"[" * 900_000]
)
def test_what_is_not_json_is_refused(door: httpx.Client, body: bytes) -> None:
    answer = door.post("/v1/events", content=body, headers=EVENT)
    assert fault_of(answer, 400)["where"].startswith("body")


def test_batches_have_a_length(door: httpx.Client) -> None:
    assert fault_of(tell(door, [], BATCH), 422)["expected"] == "1 to 1000 messages"
    assert fault_of(tell(door, [1] * 1001, BATCH), 422)["found"] == "1001"
    assert fault_of(tell(door, [7], BATCH), 422)["where"] == "body[0].event"


def test_binary_mode_is_refused_with_a_hint(door: httpx.Client) -> None:
    headers = {"Content-Type": "text/plain", "ce-specversion": "1.0", "ce-id": "1", "ce-type": "purchase"}
    answer = door.post("/v1/events", content=b"{}", headers=headers)
    assert "structured mode" in fault_of(answer, 415)["found"]


def test_a_mark_goes_everywhere_behind_what_was_told_before(door: httpx.Client, shop: Shop) -> None:
    decided = door.post(
        "/v1/decisions", json={"customer": "card:mark", "placement": "feed", "at": MORNING + 5}
    ).json()["decision_id"]
    mark = {"specversion": "1.0", "type": "kairos.mark", "id": "m-1", "source": "test"}
    data = {"before": "2017-07-15T04:00:00Z"}
    assert tell(door, [purchase("45", "just-before"), mark | {"data": data}], BATCH).status_code == 202
    for topic in ("shop", "loyalty", DECISIONS, OUTCOMES):
        found = [record for record in shop.on(topic) if b"kairos.mark" in record.value]
        assert {record.partition for record in found} == set(range(shop.setup.partitions)), topic
    for topic, earlier in (("shop", b"just-before"), (DECISIONS, decided.encode())):
        values = [record.value for record in shop.on(topic)]
        (place,) = [n for n, value in enumerate(values) if earlier in value]
        partition = shop.on(topic)[place].partition
        inside = [record.value for record in shop.on(topic) if record.partition == partition]
        order = [n for n, value in enumerate(inside) if earlier in value or b"kairos.mark" in value]
        assert earlier in inside[order[0]]


def test_marks_are_for_the_clock_of_the_log_only(wall_door: httpx.Client) -> None:
    mark = {"specversion": "1.0", "type": "kairos.mark", "id": "m-1", "source": "test"}
    answer = tell(wall_door, mark | {"data": {"before": "2017-07-15T04:00:00Z"}})
    assert fault_of(answer, 422)["where"] == "body.type"


def outcome(**changes: Any) -> dict[str, Any]:
    told = {"decision_id": "007-abcdefghijkl-a0de1e1a0a0a", "offer": "bread", "kind": "click"}
    return told | {"time": MORNING} | changes


def test_an_outcome_becomes_an_event(door: httpx.Client, shop: Shop) -> None:
    assert door.post("/v1/outcomes", json=outcome()).json() == {"accepted": 1}
    assert door.post("/v1/outcomes", json=[outcome(outcome_id="mine"), outcome()]).json() == {"accepted": 2}
    found = [r for r in shop.on(OUTCOMES) if b"kairos.outcome" in r.value]
    events = [parse_cloudevent(record.value) for record in found]
    assert {record.partition for record in found} == {7 % shop.setup.partitions}
    assert {record.key for record in found} == {b"{007}abcdefghijkl"}
    assert [event.type for event in events] == ["kairos.outcome"] * 3
    same = "007-abcdefghijkl-a0de1e1a0a0a bread click"
    assert sorted(event.id for event in events) == [same, same, "mine"]
    assert events[0].time == MORNING
    assert events[0].data == {
        "decision_id": "007-abcdefghijkl-a0de1e1a0a0a",
        "offer": "bread",
        "kind": "click",
    }


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"decision_id": "x"}, "body.decision_id"),
        ({"decision_id": "²²²-abcdefghijkl-a0de1e1a0a0a"}, "body.decision_id"),
        ({"decision_id": "9999-abcdefghijkl-a0de1e1a0a0a"}, "body.decision_id"),
        ({"decision_id": "007-{007}:*?[-a0de1e1a0a0a"}, "body.decision_id"),
        ({"kind": "clicked"}, "body.kind"),
        ({"offer": 18}, "body.offer"),
        ({"time": "2099-01-01T00:00:00Z"}, "body.time"),
        ({"time": None}, "body.time"),
        ({"colour": "red"}, "body.colour"),
    ],
)
def test_what_is_wrong_with_an_outcome_is_named(
    door: httpx.Client, change: dict[str, Any], where: str
) -> None:
    assert fault_of(door.post("/v1/outcomes", json=outcome(**change)), 422)["where"] == where
    in_batch = door.post("/v1/outcomes", json=[outcome(), outcome(**change)])
    assert fault_of(in_batch, 422)["where"] == where.replace("body", "body[1]")


def test_with_the_wall_clock_an_outcome_is_now(wall_door: httpx.Client) -> None:
    assert wall_door.post("/v1/outcomes", json=outcome(time=None)).status_code == 202
