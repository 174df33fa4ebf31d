"""What the OpenAPI document says of each address: bodies, answers and refusals, with examples."""

from typing import Any, Final

from starlette.responses import PlainTextResponse

from serving.problems import MEDIA_TYPE, TITLES

DECISION: Final = "343-zcffcdr3u4on-5b7a1c9e0d2f"
BASKET_LINE: Final = {
    "specversion": "1.0",
    "type": "basket_line",
    "id": "41352-1",
    "source": "shop",
    "time": "2017-05-04T22:10:00Z",
    "data": {
        "line_id": "41352-1",
        "bought_at": "2017-05-04T22:10:00Z",
        "card": "C002375",
        "amount": 3.49,
        "quantity": 1,
        "discount": 0.5,
        "coupon_discount": 0,
        "department": "GROCERY",
        "category": "SOUP",
        "store": "367",
        "basket": "41352",
    },
}
ASK: Final = {
    "customer": "card:C002375",
    "placement": "feed",
    "context": {},
    "limit": 3,
    "request_id": "home-7f3a",
}
ANSWER: Final = {
    "decision_id": DECISION,
    "customer": "{343}zcffcdr3u4on",
    "placement": "feed",
    "at": "2017-05-05T14:00:00Z",
    "offers": [
        {
            "offer": "18",
            "treatment": {"title": "Coupons for you"},
            "probability": 0.0231,
            "propensity": 0.64,
            "position": 1,
        }
    ],
    "unknown_customer": False,
    "rung": "full",
    "models": {"river": "812", "lightgbm": "2"},
}
WHY_ANSWER: Final = {
    "decision_id": DECISION,
    "customer": "{343}zcffcdr3u4on",
    "placement": "feed",
    "at": "2017-05-05T14:00:00Z",
    "rung": "full",
    "models": {"river": "812", "lightgbm": "2"},
    "versions": {"catalogue": "0f3b5f0e7f7a4c11", "plan": "95d2c0b1a4e6f780"},
    "offers": [
        {
            "offer": "18",
            "position": 1,
            "propensity": 0.64,
            "probability": 0.0231,
            "scores": {"river": 0.0197, "lightgbm": 0.0271},
            "chance_at_first_position": 0.64,
            "why": "Drawn at position 1, where it had a chance of 0.64.",
        }
    ],
    "refused": [{"offer": "3", "rules": [{"rule": "expired", "reason": "The offer has ended."}]}],
}
CUSTOMER_ANSWER: Final = {
    "customer": "{343}zcffcdr3u4on",
    "reference": "card:C002375",
    "unknown_customer": False,
    "at": "2017-05-05T14:00:00Z",
    "read_up_to": "2017-05-05T04:00:00Z",
    "newest_event": "2017-05-04T22:10:00Z",
    "plan": "95d2c0b1a4e6f780",
    "values": [
        {
            "name": "spend_sum_7d",
            "value": 52.4,
            "status": "known",
            "age_ms": 36000000,
            "unit": "USD",
            "meaning": "What the household spent",
        },
        {
            "name": "household_age",
            "value": 3,
            "status": "known",
            "age_ms": 10713600000,
            "unit": "category",
            "meaning": "Age of the head of the household",
            "category": "45-54",
        },
    ],
}
OUTCOME: Final = {
    "decision_id": DECISION,
    "offer": "18",
    "kind": "conversion",
    "time": "2017-05-05T16:20:00Z",
}
MODELS_ANSWER: Final = {
    "placements": {
        "feed": {
            "model": "feed",
            "rung": "full",
            "river": {"version": "812", "learned_to": 1493956800000, "n": 812},
            "lightgbm": {"version": "2"},
            "blend": True,
        }
    }
}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _one_or_many(schema: dict[str, Any]) -> dict[str, Any]:
    return {"oneOf": [schema, {"type": "array", "items": schema, "minItems": 1, "maxItems": 1000}]}


def _answer(description: str, schema: dict[str, Any], example: Any) -> dict[str, Any]:
    return {
        "description": description,
        "content": {"application/json": {"schema": schema, "example": example}},
    }


def _problems(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """Describe refusals by status; kinds of one status stand together."""
    told: dict[int | str, dict[str, Any]] = {}
    for kind in (*kinds, "no-key", "broken"):
        status, title = TITLES[kind]
        if status in told:
            told[status]["description"] += f"; or: {title}"
            continue
        example = {
            "type": f"urn:kairos:problem:{kind}",
            "title": title,
            "status": status,
            "detail": title,
            "instance": "/v1/decisions",
            "errors": [],
        }
        told[status] = {
            "description": title,
            "content": {MEDIA_TYPE: {"schema": _ref("Problem"), "example": example}},
        }
    return told


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}}


_OBJECT: Final[dict[str, Any]] = {"type": "object"}
_TAKEN: Final = _answer("All of it is on the bus, durable", _ref("Accepted"), {"accepted": 1})
_BODY_FAULTS: Final = ("not-json", "too-large", "media-type", "invalid", "away")

DECIDE: Final[dict[str, Any]] = {
    "response_model": None,
    "responses": {
        200: _answer("What to show, best first", _ref("DecisionAnswer"), ANSWER),
        **_problems(*_BODY_FAULTS, "state-ahead", "clock-not-started"),
    },
    "openapi_extra": _body(
        {
            "application/json": {
                "schema": _ref("DecisionRequest"),
                "examples": {
                    "feed": {"summary": "A feed of at most three", "value": ASK},
                    "least": {
                        "summary": "The least there is to say",
                        "value": {"customer": "card:C002375", "placement": "feed"},
                    },
                },
            }
        }
    ),
    "tags": ["decide"],
}
WHY: Final[dict[str, Any]] = {
    "response_model": None,
    "responses": {
        200: _answer("Why this, why not that", _OBJECT, WHY_ANSWER),
        **_problems("no-such-thing", "away"),
    },
    "tags": ["understand"],
}
CUSTOMER: Final[dict[str, Any]] = {
    "response_model": None,
    "responses": {
        200: _answer("Each value with its age", _OBJECT, CUSTOMER_ANSWER),
        **_problems("invalid", "clock-not-started", "away"),
    },
    "tags": ["understand"],
}
EVENTS: Final[dict[str, Any]] = {
    "response_model": None,
    "status_code": 202,
    "responses": {202: _TAKEN, **_problems(*_BODY_FAULTS)},
    "openapi_extra": _body(
        {
            "application/cloudevents+json": {"schema": _ref("CloudEvent"), "example": BASKET_LINE},
            "application/cloudevents-batch+json": {
                "schema": {"type": "array", "items": _ref("CloudEvent"), "minItems": 1, "maxItems": 1000},
                "example": [BASKET_LINE],
            },
            "application/json": {"schema": _one_or_many(_ref("CloudEvent")), "example": BASKET_LINE},
        }
    ),
    "tags": ["tell"],
}
OUTCOMES: Final[dict[str, Any]] = {
    "response_model": None,
    "status_code": 202,
    "responses": {202: _TAKEN, **_problems(*_BODY_FAULTS)},
    "openapi_extra": _body(
        {"application/json": {"schema": _one_or_many(_ref("OutcomeReport")), "example": OUTCOME}}
    ),
    "tags": ["tell"],
}
MODELS: Final[dict[str, Any]] = {
    "response_model": None,
    "responses": {200: _answer("Models by placement", _OBJECT, MODELS_ANSWER), **_problems("away")},
    "tags": ["understand"],
}
LIVE: Final[dict[str, Any]] = {
    "response_model": None,
    "responses": {200: _answer("Alive", _OBJECT, {"status": "live"})},
    "tags": ["operate"],
}
READY: Final[dict[str, Any]] = {
    "response_model": None,
    "responses": {200: _answer("Decisions can be made", _OBJECT, {"status": "ready"}), **_problems("away")},
    "tags": ["operate"],
}
METRICS: Final[dict[str, Any]] = {
    "response_model": None,
    "response_class": PlainTextResponse,
    "responses": {
        200: {
            "description": "Counters",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": "kairos_redis_up 1.0\n"}},
        }
    },
    "tags": ["operate"],
}

SCHEMAS: Final[dict[str, Any]] = {
    "Problem": {
        "title": "Problem",
        "description": "RFC 9457 problem details; `errors` is ours.",
        "type": "object",
        "required": ["type", "title", "status", "detail", "instance", "errors"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "instance": {"type": "string"},
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["where", "expected", "found"],
                    "properties": {name: {"type": "string"} for name in ("where", "expected", "found")},
                },
            },
        },
    },
    "CloudEvent": {
        "title": "CloudEvent",
        "description": "A CloudEvents 1.0 event in structured mode; events.toml holds its type's contract.",
        "type": "object",
        "required": ["specversion", "type", "id", "source", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "type": {"type": "string", "minLength": 1, "maxLength": 256},
            "id": {"type": "string", "minLength": 1, "maxLength": 256},
            "source": {"type": "string", "minLength": 1, "maxLength": 256},
            "time": {"type": "string", "format": "date-time"},
            "data": {"type": "object"},
        },
    },
}
