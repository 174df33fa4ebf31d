"""The addresses of the HTTP door and what each of them does."""

from typing import Any, Final
from zlib import crc32

import orjson
from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response
from starlette.routing import Route

from events.bus import Message
from events.codec import BadEvent, CloudEvent, mark_before, parse_cloudevent, render_cloudevent
from events.contract import Raw
from events.envelope import MARK, OUTCOME
from events.identity import partition_of
from events.topics import DECISIONS, OUTCOMES
from serving import documents, messages
from serving.backroom import Backroom
from serving.explanations import customer_view, decision_view
from serving.ledger import owner_of
from serving.messages import DecisionRequest, OutcomeReport
from serving.problems import Fault, Problem, away, invalid, show

JSON: Final = ("application/json",)
CLOUDEVENTS: Final = ("application/cloudevents+json", "application/cloudevents-batch+json", *JSON)
FUTURE_MS: Final = 300_000
FLUSH_S: Final = 10.0

_decision_request = messages.Reader(DecisionRequest)
_outcome_report = messages.Reader(OutcomeReport)


def make_routes(room: Backroom) -> APIRouter:
    """Make the routes over one back room; until it is open they say what is missing (503)."""
    router = APIRouter()

    async def decide(request: Request) -> Response:
        """Rank the offers worth making to one customer now."""
        _must_be_open(room)
        body = await _body(request, JSON)
        decided = await room.decider.decide(_decision_request.read(body))
        return _json(decided.answer)

    # FastAPI documents this address and Starlette serves it: its dependency machinery, which we do not
    # use here, costs about 100 us a request, as much as reading and recording together.
    router.routes.append(Route("/v1/decisions", decide, methods=["POST"]))
    router.post("/v1/decisions", **documents.DECIDE)(decide)

    @router.get("/v1/decisions/{decision_id}", **documents.WHY)
    async def why(decision_id: str) -> Response:
        """Say why this was decided: every offer's scores and chances, and each refusal with its reason."""
        _must_be_open(room)
        try:
            record = await room.ledger.find(owner_of(decision_id), decision_id)
        except ValueError:
            record = None
        if record is None:
            asked = decision_id[:128]
            fault = Fault("path.decision_id", "the decision_id of an answer of the last day", asked)
            raise Problem("no-such-thing", f"decision {asked}: none is kept by that id", fault)
        return _json(decision_view(record, room.catalogue))

    @router.get("/v1/customers/{reference:path}", **documents.CUSTOMER)
    async def customer(reference: str) -> Response:
        """Show each value of a customer now, with its age; missing, empty and unseen told apart."""
        _must_be_open(room)
        known = await room.decider.look(reference, "path.customer")
        return _json(customer_view(reference, known, room.plan))

    @router.post("/v1/events", **documents.EVENTS)
    async def events(request: Request) -> Response:
        """Take one CloudEvent or an array of them; 202 once all are durable, otherwise none is taken."""
        _must_be_open(room)
        pieces = messages.parts(await _body(request, CLOUDEVENTS))
        now = int(room.now() * 1000)
        outgoing: list[Message] = []
        marked = False
        for place, piece in pieces:
            try:
                event = parse_cloudevent(piece)
                if event.type == MARK:
                    marked = True
                    outgoing += _mark(room, event, piece, place)
                else:
                    valid = room.playbook.contracts.validate(event, now, FUTURE_MS)
                    outgoing.append(_event(room, valid, piece))
            except BadEvent as bad:
                raise _refused(bad, place) from None
        if marked and not await room.relay.flush(FLUSH_S):
            raise away("the bus", f"{room.relay.pending} decisions still wait in the outbox")
        await room.publisher.publish(outgoing)
        room.metrics.accepted.labels("events").inc(len(pieces))
        return _accepted(len(pieces))

    @router.post("/v1/outcomes", **documents.OUTCOMES)
    async def outcomes(request: Request) -> Response:
        """Take what became of decided offers, one or an array; 202 once all are durable."""
        _must_be_open(room)
        pieces = messages.parts(await _body(request, JSON))
        now = int(room.now() * 1000)
        outgoing = [_outcome(room, _outcome_report.read(piece, place), place, now) for place, piece in pieces]
        await room.publisher.publish(outgoing)
        room.metrics.accepted.labels("outcomes").inc(len(pieces))
        return _accepted(len(pieces))

    @router.get("/v1/models", **documents.MODELS)
    async def models() -> Response:
        """Name the models in use at each placement, and how far the online ones have learned."""
        _must_be_open(room)
        await room.shelf.refresh()  # so that who waits for a model sees it as soon as it is there
        return _json(orjson.dumps({"placements": room.shelf.view()}))

    @router.get("/health/live", **documents.LIVE)
    async def live() -> Response:
        """Answer, which is all that being alive takes."""
        return _json(b'{"status":"live"}')

    @router.get("/health/ready", **documents.READY)
    async def ready() -> Response:
        """Say whether decisions can be made; 503 names what is missing."""
        absent = await room.absent()
        if absent:
            raise _unready(absent)
        return _json(b'{"status":"ready"}')

    @router.get("/metrics", **documents.METRICS)
    async def metrics() -> Response:
        """Give the counters in Prometheus's text format."""
        if room.ready:
            room.metrics.pending.set(room.relay.pending)
            room.metrics.relayed.set(room.relay.moved)
            await room.metrics.gather(room.line)
        return Response(room.metrics.render(), media_type=CONTENT_TYPE_LATEST)

    return router


def _must_be_open(room: Backroom) -> None:
    if room.missing:
        raise _unready(room.missing)


def _unready(absent: dict[str, str]) -> Problem:
    return Problem(
        "away",
        f"not ready: {', '.join(absent)}",
        *(Fault(part, "to be there", why) for part, why in absent.items()),
        headers={"Retry-After": "1"},
    )


async def _body(request: Request, kinds: tuple[str, ...]) -> bytes:
    given = request.headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() not in kinds:
        found = given[:100] or "none"
        if "ce-specversion" in request.headers:
            found += " in binary mode; send structured mode: attributes and data in one JSON object"
        raise Problem(
            "media-type",
            f"header Content-Type: expected {kinds[0]}, found {found}",
            Fault("header.Content-Type", " or ".join(kinds), found),
            headers={"Accept-Post": ", ".join(kinds)},
        )
    return await request.body()


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


def _accepted(count: int) -> Response:
    return Response(b'{"accepted":%d}' % count, 202, media_type="application/json")


def _event(room: Backroom, event: Raw, piece: bytes) -> Message:
    topic = room.playbook.contracts.types[event.type].topic
    key = event.ids[0][1].encode()
    return Message(topic, crc32(key) % room.setup.partitions, key, piece)


def _mark(room: Backroom, event: CloudEvent, piece: bytes, place: str) -> list[Message]:
    """A mark speaks for all this door has taken, so it goes to every partition of every source topic."""
    if room.setup.clock != "events":
        raise invalid(f"{place}.type", "an event that happened (marks only with --clock events)", MARK)
    mark_before(event)
    topics = (*room.playbook.contracts.topics, DECISIONS, OUTCOMES)
    return [
        Message(topic, partition, b"mark", piece)
        for topic in topics
        for partition in range(room.setup.partitions)
    ]


def _outcome(room: Backroom, report: OutcomeReport, place: str, now: int) -> Message:
    try:
        customer = owner_of(report.decision_id)
    except ValueError:
        where = f"{place}.decision_id"
        raise invalid(where, "the decision_id of an answer", show(report.decision_id)) from None
    if report.time is not None:
        time = messages.instant(report.time, f"{place}.time")
    elif room.setup.clock == "events":
        raise invalid(f"{place}.time", "an instant (required with --clock events)", "nothing")
    else:
        time = now
    if time > now + FUTURE_MS:
        raise invalid(f"{place}.time", "an instant that is not in the future", show(report.time))
    named = report.outcome_id or f"{report.decision_id} {report.offer} {report.kind}"
    data: dict[str, Any] = {"decision_id": report.decision_id, "offer": report.offer, "kind": report.kind}
    value = render_cloudevent(OUTCOME, named, "kairos/serving", data, time)
    partition = partition_of(customer, room.setup.partitions)
    return Message(OUTCOMES, partition, customer.encode(), value)


def _refused(bad: BadEvent, place: str) -> Problem:
    fault = Fault(f"{place}.{bad.place}", bad.expected, bad.found)
    if bad.reason == "not_json":
        fault = Fault(place, f"{bad.expected} ({bad.place})", bad.found)
    kind = {"not_json": "not-json", "too_long": "too-large"}.get(bad.reason, "invalid")
    return Problem(kind, f"{fault.where}: expected {fault.expected}, found {fault.found}", fault)
