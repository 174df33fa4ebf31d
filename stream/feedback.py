"""Decisions and what became of them, as events of the log."""

from typing import Final

from events.codec import YEAR_10000, BadEvent, CloudEvent, render_time, shown
from events.envelope import DECISION, OUTCOME, Event
from events.identity import is_customer
from models.decision import customer_of
from models.record import unpack

OUTCOME_KINDS: Final = ("impression", "click", "conversion", "dismissal")

MAX_FUTURE_MS: Final = 300_000
"""Clocks differ: an event may be so far ahead of ours."""


def decision_event(packed: bytes, now: int) -> Event:
    """A recorded decision as an event of its customer, the record itself among its fields."""
    try:
        record = unpack(packed)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors, and so is bad UTF-8
        raise BadEvent("wrong_type", "record", "a decision record", str(error)) from None
    if not is_customer(record.customer):
        raise BadEvent("no_customer", "record.customer", "a minted customer id", shown(record.customer))
    _check_time("record.at", record.at, now)
    fields = {"placement": record.placement, "offers": ",".join(record.offers), "record": packed}
    return Event(DECISION, record.decision_id, record.at, record.customer, fields)


def _check_time(place: str, time: int, now: int) -> None:
    latest = now + MAX_FUTURE_MS
    if not 0 <= time < YEAR_10000:
        raise BadEvent("out_of_range", place, "an instant from 1970 to 9999", f"{time} ms")
    if time > latest:
        raise BadEvent("future", place, f"an instant up to {render_time(latest)}", render_time(time))


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
    _check_time("time", event.time, now)
    try:
        customer = customer_of(str(texts["decision_id"]))
    except ValueError:
        customer = ""
    if not is_customer(customer):
        raise BadEvent("no_customer", "data.decision_id", "a decision's id", shown(texts["decision_id"]))
    return Event(OUTCOME, event.id, event.time, customer, dict(texts))
