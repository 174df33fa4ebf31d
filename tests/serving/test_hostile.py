"""Whatever is sent, nobody is told of a fault of ours."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving.corner import BOUGHT, MORNING, purchase

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["card:1", "{007}abcdefghijkl", "feed", BOUGHT, "\x00", "²", "𝒳" * 200, 2**63, 10**30]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
DECISION = "007-abcdefghijkl-a0de1e1a0a0a"
VALID: dict[str, dict[str, Any]] = {
    "/v1/decisions": {"customer": "card:1", "placement": "feed", "context": {"degrees": 3}, "at": MORNING},
    "/v1/outcomes": {
        "decision_id": "007-abcdefghijkl-a0de1e1a0a0a",
        "offer": "tea",
        "kind": "click",
        "time": MORNING,
    },
    "/v1/events": purchase("1"),
}
EXTRA = ["limit", "request_id", "outcome_id", "x", "time"]


@pytest.mark.parametrize("path", VALID)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_json_gets_an_answer(door: httpx.Client, path: str, data: st.DataObject) -> None:
    body: Any = dict(VALID[path])
    if data.draw(st.booleans()):
        target = body
        if path == "/v1/events" and data.draw(st.booleans()):
            target = body["data"] = dict(body["data"])
        for name in data.draw(st.lists(st.sampled_from([*target, *EXTRA]), min_size=1, max_size=2)):
            target[name] = data.draw(VALUES)
    else:
        body = data.draw(VALUES)
    content = json.dumps(body).encode("utf-8", "surrogatepass")
    answer = door.post(path, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 202, 400, 409, 413, 422), answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["errors"], answer.text


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60))
def test_any_bytes_get_an_answer(door: httpx.Client, content: bytes) -> None:
    for path in VALID:
        answer = door.post(path, content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(min_size=1, max_size=40))
def test_any_name_gets_an_answer(door: httpx.Client, name: str) -> None:
    for path in ("/v1/decisions/", "/v1/customers/"):
        url = httpx.URL(str(door.base_url) + path + "".join(f"%{byte:02x}" for byte in name.encode()))
        assert door.get(url).status_code in (200, 404, 405, 422)
