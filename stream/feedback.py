"""Decisions and what became of them, as events of the log."""

from typing import Final

import msgspec

from events.codec import BadEvent, CloudEvent, shown
from events.envelope import DECISION, OUTCOME, Event
from events.identity import is_customer
from models.decision import customer_of
from models.record import unpack

OUTCOME_KINDS: Final = ("impression", "click", "conversion", "dismissal")

MAX_FUTURE_MS: Final = 300_000
"""Clocks differ: an event may be so far ahead of ours."""


def decision_event(packed: bytes) -> Event:
    """A recorded decision as an event of its customer, the record itself among its fields."""
    try:
        record = unpack(packed)
    except msgspec.DecodeError as error:
        raise BadEvent("wrong_type", "record", "a decision record", str(error)) from None
    if not is_customer(record.customer):
        raise BadEvent("no_customer", "record.customer", "a minted customer id", shown(record.customer))
    fields = {"placement": record.placement, "offers": ",".join(record.offers), "record": packed}
    return Event(DECISION, record.decision_id, record.at, record.customer, fields)


def outcome_event(event: CloudEvent, now: int) -> Event:
    """What became of a decided offer, as an event of the customer whom its decision id names."""
    data = event.data
    texts = {name: data.get(name) for name in ("decision_id", "offer", "kind")}
    for name, value in texts.items():
        if type(value) is not str or not value:
            reason = "missing_field" if value is None else "wrong_type"
            raise BadEvent(reason, f"data.{name}", "a text", shown(value))  # type: ignore[arg-type]
    if texts["kind"] not in OUTCOME_KINDS:
        raise BadEvent("wrong_type", "data.kind", f"one of {', '.join(OUTCOME_KINDS)}", shown(texts["kind"]))
    if event.time is None:
        raise BadEvent("missing_field", "time", "an RFC 3339 instant", "null")
    if event.time > now + MAX_FUTURE_MS:
        raise BadEvent("future", "time", f"an instant up to {now + MAX_FUTURE_MS} ms", f"{event.time} ms")
    try:
        customer = customer_of(str(texts["decision_id"]))
    except ValueError:
        customer = ""
    if not is_customer(customer):
        raise BadEvent("no_customer", "data.decision_id", "a decision's id", shown(texts["decision_id"]))
    return Event(OUTCOME, event.id, event.time, customer, dict(texts))
