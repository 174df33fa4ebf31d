"""What callers say and hear: the messages of the HTTP door, checked while they are decoded."""

import json
import math
import re
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from events.codec import parse_time
from events.faults import nearest
from serving.problems import Fault, Problem, invalid, show

LARGEST_BATCH: Final = 1_000
LARGEST_CONTEXT: Final = 64
LONGEST_TEXT: Final = 256
YEAR_10000: Final = 253_402_300_800_000

EXACT: Final = 2**53
Scalar = (
    Annotated[str, Meta(max_length=LONGEST_TEXT)]
    | Annotated[int, Meta(ge=-EXACT, le=EXACT)]
    | float
    | bool
    | None
)
When = str | int
Reference = Annotated[
    str,
    Meta(
        min_length=3,
        max_length=LONGEST_TEXT,
        description="A customer as `kind:value` (an id of one of your domains) or the id Kairos minted.",
        examples=["card:2375"],
    ),
]
RequestId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        description="Your name for this request; asked again, it gets the same answer, byte for byte.",
        examples=["home-7f3a"],
    ),
]
DecisionId = Annotated[
    str, Meta(min_length=1, max_length=128, description="The decision, as `decision_id` named it.")
]


class DecisionRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask which offers are worth making to one customer, here and now."""

    customer: Reference
    placement: Annotated[
        str, Meta(min_length=1, max_length=64, description="Where it will be shown.", examples=["feed"])
    ]
    context: Annotated[
        dict[Annotated[str, Meta(max_length=64)], Scalar],
        Meta(max_length=LARGEST_CONTEXT, description="What is true of this moment only; plain values."),
    ] = msgspec.field(default_factory=dict)
    limit: Annotated[int, Meta(ge=1, le=1_000, description="At most so many offers.")] | None = None
    request_id: RequestId | None = None
    at: Annotated[
        When | None,
        Meta(description="The instant (RFC 3339 or epoch ms); only with `--clock events`.", examples=[None]),
    ] = None


class RankedOffer(Struct, frozen=True, kw_only=True):
    """One offer of the answer."""

    offer: Annotated[str, Meta(description="Id of the offer in the catalogue.")]
    treatment: Annotated[dict[str, Any], Meta(description="What to show at this placement.")]
    probability: Annotated[float, Meta(description="Chance of a response, as the models see it.")]
    propensity: Annotated[
        float,
        Meta(description="Exact chance that this offer was drawn at this position; for off-policy use."),
    ]
    position: Annotated[int, Meta(ge=1, description="1 is the first.")]


class DecisionAnswer(Struct, frozen=True, kw_only=True):
    """What to show, best first; an empty list is silence, which is a decision too."""

    decision_id: DecisionId
    customer: Annotated[str, Meta(description="The id Kairos minted for this customer.")]
    placement: str
    at: Annotated[str, Meta(description="The instant decided for (RFC 3339, UTC).")]
    offers: list[RankedOffer]
    unknown_customer: Annotated[
        bool, Meta(description="True when nothing is known and the defaults answered.")
    ]
    rung: Annotated[str, Meta(description="How far down the ladder of scorers the answer came from.")]
    models: Annotated[dict[str, str], Meta(description="Version of each scorer that was asked.")]


class OutcomeReport(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Say what became of an offer that was decided."""

    decision_id: DecisionId
    offer: Annotated[str, Meta(min_length=1, max_length=LONGEST_TEXT, examples=["18"])]
    kind: Literal["impression", "click", "conversion", "dismissal"]
    time: Annotated[When | None, Meta(description="When it happened; left out: now.", examples=[None])] = None
    outcome_id: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=128,
                description="Your id of it; left out, one decision, offer and kind are one outcome.",
            ),
        ]
        | None
    ) = None


class Accepted(Struct, frozen=True):
    """So many messages are on the bus, durable."""

    accepted: int


M = TypeVar("M")


class Reader:
    """Decodes bodies of one message type; whatever is wrong is said with its place.

    >>> Reader(OutcomeReport).read(  # doctest: +ELLIPSIS
    ...     b'{"decision_id": "007-a-b", "offer": "18", "kind": "clik"}'
    ... )
    Traceback (most recent call last):
    ...
    serving.problems.Problem: body.kind: expected one of impression, click, ..., found "clik"
    """

    def __init__(self, message: type[Struct]) -> None:
        self._message = message
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(message)

    def read(self, body: bytes | msgspec.Raw, place: str = "body") -> Any:
        """Give the message, or raise `Problem` (400 not JSON, 422 not the message)."""
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError as error:
            raise self._explain(error, bytes(body), place) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise not_json(error, place) from None

    def _explain(self, error: msgspec.ValidationError, body: bytes, place: str) -> Problem:
        match = re.fullmatch(r"(?s)(.*?)(?: - at `(?:key in )?\$(.*)`)?", str(error))
        text, path = (match[1], match[2] or "") if match else (str(error), "")
        try:
            whole = json.loads(body)  # which takes numbers past the largest double too
        except (ValueError, RecursionError):
            whole = None
        known = self._message.__struct_fields__
        if named := re.fullmatch(r"Object (contains unknown|missing required) field `(.*)`", text, re.DOTALL):
            where = f"{place}{path}.{_cut(named[2])}"
            if named[1].startswith("missing"):
                return invalid(where, "a value (the field is required)", "nothing")
            guess = nearest(named[2], known)
            hint = f"no such field; did you mean {guess}?" if guess else f"one of {', '.join(known)}"
            return invalid(where, hint, _cut(named[2]))
        if path == ".context[...]" and isinstance(whole, dict):
            path, found = _worst(whole["context"])
        else:
            found = whole
            for name in filter(None, path.split(".")):
                found = found.get(name) if isinstance(found, dict) else None
        if text.startswith("Invalid enum value"):
            field = self._message.__annotations__[path.rsplit(".", 1)[-1]]
            text = f"one of {', '.join(field.__args__)}"
        text = text.replace("Number out of range", "a number in range")
        expected = re.sub(r"^Expected |`|, got .*$", "", text)
        return invalid(place + path, expected, show(found))


def _cut(name: str) -> str:
    return name if len(name) <= 64 else name[:61] + "..."


def _worst(context: dict[str, Any]) -> tuple[str, Any]:
    for name, value in context.items():
        if isinstance(value, float) and math.isinf(value):
            return f".context.{_cut(name)}", "a number past the largest double"
        try:
            msgspec.convert(value, Scalar)
        except msgspec.ValidationError:
            return f".context.{_cut(name)}", value
    return ".context", context


def not_json(error: Exception, place: str = "body") -> Problem:
    """Say that bytes are not JSON, and why the decoder thinks so (400)."""
    why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    fault = Fault(place, "JSON (RFC 8259, UTF-8)", why)
    return Problem("not-json", f"{place}: expected JSON (RFC 8259, UTF-8), found: {why}", fault)


_parts: msgspec.json.Decoder[list[msgspec.Raw]] = msgspec.json.Decoder(list[msgspec.Raw])


def parts(body: bytes) -> list[tuple[str, bytes]]:
    """Split a body that holds one message or an array of them into (place, bytes).

    >>> parts(b'[{"a": 1}, {}]')
    [('body[0]', b'{"a": 1}'), ('body[1]', b'{}')]
    >>> parts(b' {"a": 1}')
    [('body', b' {"a": 1}')]
    """
    if body.lstrip()[:1] != b"[":
        return [("body", body)]
    try:
        pieces = _parts.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(error) from None
    if not 1 <= len(pieces) <= LARGEST_BATCH:
        raise invalid("body", f"1 to {LARGEST_BATCH} messages", f"{len(pieces)}")
    return [(f"body[{index}]", bytes(piece)) for index, piece in enumerate(pieces)]


def instant(value: When, where: str) -> int:
    """Read an instant given as RFC 3339 or epoch ms; 422 when it is neither.

    >>> instant("2017-01-01T00:00:00-05:00", "body.at")
    1483246800000
    """
    try:
        ms = parse_time(value)
    except ValueError:
        ms = -1
    if not 0 <= ms < YEAR_10000:
        raise invalid(where, "an RFC 3339 instant with an offset, or epoch ms, from 1970 on", show(value))
    return ms


def schemas() -> dict[str, Any]:
    """Give the JSON schemas of every message, for the OpenAPI document."""
    messages: list[type[Struct]] = [DecisionRequest, DecisionAnswer, OutcomeReport, Accepted]
    _, components = msgspec.json.schema_components(messages, ref_template="#/components/schemas/{name}")
    return components
