"""`why-value`: the very events behind one number, read from the log, and that they add up to it."""

from collections.abc import Mapping
from typing import Any

import orjson
import redis
from rich.console import Console
from rich.table import Table

from events.bus import Bus, UnknownTopic, connect
from events.codec import decode, parse_time, render_time, shown
from events.envelope import Tick
from events.faults import PlaybookRefused, nearest
from events.identity import Identities, partition_of
from events.topics import BEHAVIOUR
from features.declare import load as load_playbook
from features.duration import render_duration
from features.plan import Plan, compile_plan
from features.why import CannotSay, Contribution, Placed, Why, feature_named, sides_of, why
from kairos.history import everything
from kairos.settings import Settings
from models import catalogue as offers

SHOWN = 40
"""Events printed of one number, the newest; --json has them all."""

EVERYBODY = "everybody"
"""Who is asked for when no customer matters."""

LOOKED_THROUGH = 20_000
"""Known ids among which the nearest is looked for, when one is not known."""


def run(
    settings: Settings, *, customer: str, feature: str, at: str | None, offer: str | None, as_json: bool
) -> int:
    """Print the events behind `feature` of `customer` (a minted id, or `kind:value`); 0 when they add up.

    0 too when what the state has let go explains why they do not, else 1. Of what is counted over everybody
    the customer may be `everybody`.
    Errors: `CannotSay` for an unknown customer or feature, or an instant that is none.
    """
    plan = compile_plan(load_playbook(settings.playbook))
    asked = feature_named(plan, feature)
    bus = connect(settings.bus, timeout_s=settings.wait_s)
    own, shared = sides_of(plan, asked)
    known, log, marks, everybody = EVERYBODY, list[Placed](), list[int](), list[Placed]()
    try:
        if own or customer != EVERYBODY:
            known, log, watermark = _log(bus, settings, customer)
            marks = [watermark]
        if shared:
            everybody, watermark = _everybody(bus, settings, plan)
            known, marks = known if own else EVERYBODY, [*marks, watermark] if own else [watermark]
    finally:
        bus.close()
    watermark = min(marks)
    instant = _instant(at, watermark, [*(log if own else ()), *everybody])
    key = None if offer is None or asked.match is None else _key(settings, plan, offer, asked.match)
    found = why(plan, feature, log, instant, min(instant, watermark), key, everybody)
    if as_json:
        print(orjson.dumps(_plain(known, found), option=orjson.OPT_INDENT_2).decode())
    else:
        _print(Console(highlight=False, markup=False), known, found)
    return 0 if found.accounted else 1


def _log(bus: Bus, settings: Settings, reference: str) -> tuple[str, list[Placed], int]:
    """The customer, its events of the log in order, and the newest tick (ms) of its partition, -1 if none."""
    with redis.Redis.from_url(settings.redis) as client:
        customer = Identities(client).lookup(reference)
        if customer is None:
            raise CannotSay(
                f"customer: expected a known one, found {reference!r}; {_nearest_id(client, reference)}"
            )
    try:
        partition = partition_of(customer, bus.partitions(BEHAVIOUR))
    except UnknownTopic as error:
        raise CannotSay(f"{settings.bus}: expected the log of a stack that has run; {error}") from error
    log: list[Placed] = []
    others: set[str] = set()
    watermark, key = -1, customer.encode()
    for record in everything(bus, BEHAVIOUR, [partition]):
        if record.key not in (key, b""):
            if len(others) < LOOKED_THROUGH:
                others.add(record.key.decode())
            continue
        item = decode(record.value)
        if isinstance(item, Tick):
            watermark = max(watermark, item.time)
        elif item.customer == customer:
            log.append((record.partition, record.position, item))
    if not log:
        guess = nearest(customer, others)
        hint = f"did you mean {guess}?" if guess else "nothing was ever heard of it"
        raise CannotSay(f"customer: expected one of topic {BEHAVIOUR}, found {customer!r}; {hint}")
    return customer, log, watermark


def _everybody(bus: Bus, settings: Settings, plan: Plan) -> tuple[list[Placed], int]:
    """The events that concern everybody, and up to when (ms) every partition has been read, -1 if never."""
    assert plan.crowd is not None, "a feature of it was asked for"
    log: list[Placed] = []
    try:
        marks = dict.fromkeys(range(bus.partitions(BEHAVIOUR)), -1)
    except UnknownTopic as error:
        raise CannotSay(f"{settings.bus}: expected the log of a stack that has run; {error}") from error
    for record in everything(bus, BEHAVIOUR):
        item = decode(record.value)
        if isinstance(item, Tick):
            marks[record.partition] = max(marks[record.partition], item.time)
        elif item.type in plan.crowd.programs:
            log.append((record.partition, record.position, item))
    if not log:
        raise CannotSay(f"{BEHAVIOUR}: expected events that are counted over everybody, found none")
    return log, min(marks.values())


def _nearest_id(client: Any, reference: str) -> str:
    kind = reference.partition(":")[0]
    prefix = f"kairos:id:{kind}:" if ":" in reference else "kairos:id:"
    known: list[str] = []
    for raw in client.scan_iter(match=f"{prefix}*", count=5_000):
        known.append(raw.decode().removeprefix("kairos:id:"))
        if len(known) >= LOOKED_THROUGH:
            break
    guess = nearest(reference, known)
    if guess is not None:
        return f"did you mean {guess}?"
    return f"give a minted id, or kind:value such as {known[0]}" if known else "no id is known here"


def _instant(text: str | None, watermark: int, log: list[Placed]) -> int:
    """The instant asked for; without one, that up to which the log has been read."""
    if text is None:
        return max(watermark, max(event.time for _, _, event in log) + 1)
    try:
        return parse_time(int(text) if text.isdigit() else text)
    except ValueError as error:
        raise CannotSay(f"--at: {error}") from error


def _key(settings: Settings, plan: Plan, offer: str, match: str) -> str:
    """What the offer of that id is to the family; the word itself when the catalogue has no such offer."""
    if match == "offer":
        return offer
    try:
        catalogue = offers.load(settings.playbook, plan, settings.catalogue)
    except PlaybookRefused:
        return offer
    for assortment in catalogue.assortments.values():
        for each, key in zip(assortment.offers, assortment.keys.get(match, ()), strict=False):
            if each.id == offer:
                return key
    return offer


def _plain(customer: str, found: Why) -> dict[str, Any]:
    feature = found.feature
    told: dict[str, Any] = {
        "customer": customer,
        "feature": feature.name,
        "meaning": feature.meaning,
        "unit": feature.unit,
        "key": found.key,
        "at": render_time(found.at),
        "since": None if found.since is None else render_time(found.since),
        "value": _number(found.value),
        "added": _number(found.added),
        "adds_up": found.agrees,
        "missing": found.missing,
        "let_go": [each._asdict() for each in found.let_go],
        "left_out": dict(found.left_out),
    }
    if feature.derived is not None:
        told["factor"] = feature.derived.factor
        told["numerator"], told["denominator"] = (_plain(customer, part) for part in found.parts)
    else:
        told["events"] = [_event(each) for each in found.contributions]
    return told


def _event(each: Contribution) -> dict[str, Any]:
    event = each.event
    return {
        "time": render_time(event.time),
        "id": event.id,
        "partition": each.partition,
        "position": each.position,
        "fields": _shown(each.fields),
        "value": each.value,
        "weight": each.weight,
        "adds": _number(each.part),
    }


def _shown(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: f"{len(value)} bytes" if isinstance(value, bytes) else value for name, value in fields.items()
    }


def _print(console: Console, customer: str, found: Why, indent: str = "") -> None:
    feature = found.feature
    key = "" if found.key is None else f" of {feature.match} {found.key!r}"
    console.print(f"{indent}{feature.name}{key} of {customer} at {render_time(found.at)}: {_said(found)}")
    console.print(f"{indent}  {feature.meaning}", soft_wrap=True)
    if found.missing:
        console.print(
            f"{indent}  a row says nothing here: the log was not read for longer than "
            f"{render_duration(feature.freshness_ms)} before this instant"
        )
    if feature.derived is not None:
        top, bottom = found.parts
        console.print(
            f"{indent}  = {feature.derived.factor:g} x {top.feature.name} / {bottom.feature.name}"
            f" = {feature.derived.factor:g} x {top.added:g} / {bottom.added:g}"
        )
        for part in found.parts:
            _print(console, customer, part, indent + "  ")
        return
    if found.since is not None and feature.window_ms is not None:
        off = found.since - (found.at - feature.window_ms)
        console.print(
            f"{indent}  counted from {render_time(found.since)} on: the window of "
            f"{render_duration(feature.window_ms)}, its edge {abs(off) / feature.window_ms:.2%} "
            f"{'late' if off > 0 else 'early'}, as windows are kept in tiles of at most 1 %"
            + (" when nothing was let go" if any(each.kind == "tiles" for each in found.let_go) else "")
        )
    for each in found.let_go:
        console.print(f"{indent}  let go: {each.what}; {each.means}", soft_wrap=True)
    if found.contributions:
        console.print(_table(found))
    for reason, count in found.left_out.items():
        console.print(f"{indent}  not counted: {count:,} ({reason})")


def _table(found: Why) -> Table:
    table = Table(box=None, pad_edge=False)
    weighted = found.feature.half_life_ms is not None
    for name, right in (("time", 0), ("id", 0), ("fields", 0), ("value", 1), ("weight", 1), ("adds", 1)):
        if name != "weight" or weighted:
            table.add_column(name, justify="right" if right else "left", overflow="fold")
    earlier = found.contributions[:-SHOWN]
    if earlier:
        parts = ["...", f"{len(earlier):,} earlier", "--json lists them", ""]
        table.add_row(*parts, *([""] if weighted else []), f"{sum(each.part for each in earlier):,.6g}")
    for each in found.contributions[-SHOWN:]:
        event = each.event
        fields = ", ".join(
            f"{name} {shown(value, 30)}" for name, value in _shown(each.fields).items() if value is not None
        )
        value = "" if each.value is None else f"{each.value:,.6g}"
        weight = [f"{each.weight:.4g}"] if weighted else []
        table.add_row(render_time(event.time), event.id, fields, value, *weight, f"{each.part:,.6g}")
    return table


def _said(found: Why) -> str:
    unit = found.feature.unit
    value = "missing" if found.value != found.value else f"{found.value:,.6g} {unit}"
    if found.agrees:
        count = len(found.contributions)
        events = (
            "" if found.parts else f" from {count:,} {'event' if count == 1 else 'events'} that add up to it"
        )
        return f"{found.value:,.6g} {unit}{events}"
    if found.accounted:
        return f"{value}; its events come to {found.added:,.6g}, which the state has let go in part (below)"
    return f"{found.value:,.6g} {unit}, BUT the events come to {found.added:,.6g}"


def _number(value: float) -> float | None:
    return None if value != value else value
