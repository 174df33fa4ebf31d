"""`trigger try`: a customer's log under one trigger, a timeline: when it would have fired, and why not."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from events.bus import Record
from events.codec import decode, parse_time, render_time
from events.envelope import Event
from events.faults import Refusal, did_you_mean
from events.identity import partition_of
from features.declare import Playbook
from features.declare import load as load_playbook
from features.plan import compile_plan
from features.trigger import Trigger
from kairos.attribute_verb import Pace
from kairos.page import page
from kairos.settings import Settings
from kairos.trigger_history import Moment, history
from kairos.trigger_log import NoPast, PastLog, is_tick, known_customer, open_past
from kairos.trigger_words import said

SHOWN: Final = 60
"""Lines printed of a timeline, the newest; --json has every moment."""

ALIKE: Final = 3
"""So many moments in a row that come to the same are told one by one; of more, the first and the last."""

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")

_STYLES: Final = {
    "fired": "bold green",
    "wait began": "cyan",
    "still waiting": "cyan",
    "first half": "cyan",
    "wait ended": "yellow",
    "superseded": "magenta",
    "given up": "red",
}


class NoSuchTrigger(Refusal):
    """The playbook declares no trigger of that name; the message names the nearest."""

    exit_code = 2


def run(
    settings: Settings,
    name: str,
    *,
    customer: str,
    folder: Path | None,
    since: str | None,
    until: str | None,
    file: Path | None,
    simulate: int | None,
    days: int,
    as_json: bool,
) -> int:
    """Print when the trigger would have fired for the customer (minted id, or `kind:value`), and why not.

    Errors: `NoSuchTrigger`, `PlaybookRefused`, `NoPast` when the log or the customer is not known.
    """
    playbook = load_playbook(folder or settings.playbook)
    trigger = named(playbook, name)
    zone = ZoneInfo(playbook.timezone)
    first, last = _instant("--from", since, zone), _instant("--to", until, zone)
    console = Console(stderr=True, highlight=False)
    plan = compile_plan(playbook)
    with open_past(settings, plan, file=file, simulate=simulate, days=days) as log, Pace(console) as pace:
        known, records = _records(log, customer, pace)
        total = sum(is_tick(record) is None for record in records)
        told = lambda read: pace.tell(f"{read:,} of {total:,} events looked at")  # noqa: E731
        moments = [
            moment
            for moment in history(playbook, name, known, _until(records, last), log.past, told)
            if first is None or moment.time >= first
        ]
    if as_json:
        print(orjson.dumps(_plain(known, trigger, moments), option=orjson.OPT_INDENT_2).decode())
    else:
        show(page(), trigger, known, log.what, total, moments)
    return 0


def named(playbook: Playbook, name: str) -> Trigger:
    """The trigger of that name. Errors: `NoSuchTrigger`."""
    for trigger in playbook.triggers:
        if trigger.name == name:
            return trigger
    names = [trigger.name for trigger in playbook.triggers]
    hint = did_you_mean(name, names) if names else "the playbook declares none"
    raise NoSuchTrigger(f"trigger try: expected a trigger of {playbook.name}, found {name!r}; {hint}")


def _records(log: PastLog, reference: str, pace: Pace) -> tuple[str, list[Record]]:
    """The customer, and its records with every tick of their partition."""
    made = log.lookup(reference) is None
    if not made or log.partitions > 1:
        customer = known_customer(log, reference)
        partition = partition_of(customer, log.partitions)
        key = customer.encode()
        records = []
        for read, record in enumerate(log.read(partition)):
            if record.key == key or is_tick(record) is not None:
                records.append(record)
            if not read % 5_000:
                pace.tell(f"{read:,} records of the log read")
    else:  # who is who is known once the log has been read
        every = []
        for record in log.read(0):
            every.append(record)
            if not len(every) % 5_000:
                pace.tell(f"{len(every):,} records of the log read")
        customer = known_customer(log, reference)
        key = customer.encode()
        records = [record for record in every if record.key == key or is_tick(record) is not None]
    if all(is_tick(record) is not None for record in records):
        raise NoPast(f"{log.what}: expected events of {customer}, found none; nothing was ever heard of it")
    return customer, records


def _until(records: Sequence[Record], last: int | None) -> Iterator[Record]:
    """The log up to an instant (ms) of the log's clock, late events before that included."""
    for record in records:
        if last is not None and decode(record.value).time > last:
            if is_tick(record) is not None:
                return
            continue
        yield record


def _instant(option: str, text: str | None, zone: ZoneInfo) -> int | None:
    """An instant (ms); a date is its midnight on the playbook's clocks."""
    if text is None:
        return None
    try:
        if _DATE.fullmatch(text):
            return round(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * 1_000)
        return parse_time(int(text) if text.isdigit() else text)
    except ValueError as error:
        raise NoPast(f"{option}: {error}; or a date, such as 2026-12-01") from error


def show(
    console: Console, trigger: Trigger, customer: str, what: str, events: int, moments: Sequence[Moment]
) -> None:
    """Print the timeline, moments in a row that come to the same as one."""
    fired = sum(moment.verdict == "fired" for moment in moments)
    console.print(f"[bold]{trigger.name}[/]  {escape(trigger.meaning)}", soft_wrap=True)
    times = "once" if fired == 1 else f"{fired:,} times" if fired else "[bold]never[/]"
    console.print(f"{customer}, {events:,} events of {escape(what)}: it fired {times}", soft_wrap=True)
    lines = list(_lines(trigger, moments))
    table = Table(box=None, padding=(0, 1), pad_edge=False, show_header=False)
    table.add_column("time", no_wrap=True)
    table.add_column("event", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    if len(lines) > SHOWN:
        table.add_row("...", "", f"{len(lines) - SHOWN:,} lines before; --from, --to or --json show them")
    for when, event, verdict, style in lines[-SHOWN:]:
        table.add_row(when, event, verdict, style=style)
    console.print(table)
    if not moments:
        console.print(f"  nothing concerned it: no {_types(trigger)} among them")


def _lines(trigger: Trigger, moments: Sequence[Moment]) -> Iterator[tuple[str, str, str, str]]:
    for _, some in groupby(moments, key=lambda each: (each.verdict, each.clause, each.nth is None)):
        alike = list(some)
        dull = alike[0].verdict in ("not true", "true before", "first half", "repeat", "nothing before it")
        if dull and len(alike) > ALIKE:
            yield _line(trigger, alike[0])
            yield "", "", f"... {len(alike) - 2:,} more like it", "dim"
            yield _line(trigger, alike[-1])
        else:
            yield from (_line(trigger, each) for each in alike)


def _line(trigger: Trigger, moment: Moment) -> tuple[str, str, str, str]:
    event = "(time)" if moment.event is None else moment.event.type
    style = _STYLES.get(moment.verdict, "dim")
    return render_time(moment.time), event, escape(said(trigger, moment)), style


def _types(trigger: Trigger) -> str:
    return " or ".join(trigger.on) or "event"


def _plain(customer: str, trigger: Trigger, moments: Sequence[Moment]) -> dict[str, Any]:
    return {
        "trigger": trigger.name,
        "customer": customer,
        "fired": sum(moment.verdict == "fired" for moment in moments),
        "moments": [_moment(trigger, moment) for moment in moments],
    }


def _moment(trigger: Trigger, moment: Moment) -> dict[str, Any]:
    fired = moment.fired
    told: dict[str, Any] = {"time": render_time(moment.time), "verdict": moment.verdict}
    if isinstance(moment.event, Event):
        told |= {"event": moment.event.type, "id": moment.event.id}
    told |= {"clause": moment.clause, "values": dict(moment.values), "number": moment.nth}
    told["until"] = None if moment.until is None else render_time(moment.until)
    if fired is not None:
        told |= {"instance": fired.instance, "cause": fired.cause, "payload": fired.payload}
    return {name: value for name, value in told.items() if value not in (None, {})} | {
        "said": said(trigger, moment)
    }
