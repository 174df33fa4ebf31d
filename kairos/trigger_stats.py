"""`trigger stats`: how often each trigger would have fired over the past, per day, before it goes live."""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from math import inf
from pathlib import Path
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import orjson
from rich.console import Console
from rich.table import Table

from events.codec import parse_time
from events.topics import TRIGGERS
from features.declare import load as load_playbook
from features.plan import Plan, compile_plan
from kairos.attribute_verb import Pace
from kairos.page import page
from kairos.settings import Settings
from kairos.trigger_log import NoPast, PastLog, open_past
from kairos.trigger_past import fold_past

BARS: Final = "▁▂▃▄▅▆▇█"
MOST_BARS: Final = 31
LEAST_BARS: Final = 7
"""Bars of a line: a day each, or as many weeks as make few enough of them."""

EXAMPLES: Final = 3
"""Customers that a trigger fired for, named to try it on."""

NUMBERS: Final = 55
"""Columns that the numbers of a line take."""


class Counted(NamedTuple):
    """How often a trigger fired: in all, a day, for how many customers, some of them; and how often a late
    event overtook it."""

    name: str
    meaning: str
    total: int
    days: dict[date, int]
    customers: int
    superseded: int
    examples: list[str]


class Stats(NamedTuple):
    """Every trigger counted over a past of `days`, its first and last day among them."""

    what: str
    triggers: list[Counted]
    events: int
    customers: int
    days: list[date]


def run(
    settings: Settings, folder: Path, *, file: Path | None, simulate: int | None, days: int, as_json: bool
) -> int:
    """Count how often each trigger of the playbook in `folder` would have fired over a past.

    Errors: `PlaybookRefused`, `NoPast`.
    """
    plan = compile_plan(load_playbook(folder))
    console = Console(stderr=True, highlight=False)
    opened = open_past(settings, plan, file=file, simulate=simulate, days=days)
    with _quiet(), opened as log, Pace(console) as pace:
        stats = count(plan, log, pace.tell)
    if as_json:
        print(orjson.dumps(_plain(stats), option=orjson.OPT_INDENT_2).decode())
    else:
        show(page(), plan, stats)
    return 0


@contextmanager
def _quiet() -> Iterator[None]:
    """What is too late stays out, as it did then: nobody need hear of it again."""
    stream = logging.getLogger("kairos.stream")
    before = stream.level
    stream.setLevel(logging.ERROR)
    try:
        yield
    finally:
        stream.setLevel(before)


def count(plan: Plan, log: PastLog, tell: Callable[[str], None] = lambda text: None) -> Stats:
    """Fold the past and count what fires; `tell` hears how far it is.

    Errors: `NoPast` when there is no event in it.
    """
    zone = ZoneInfo(plan.playbook.timezone)
    days: dict[str, Counter[date]] = defaultdict(Counter)
    whom: dict[str, set[str]] = defaultdict(set)
    superseded: Counter[str] = Counter()
    customers: set[bytes] = set()
    events, first, last = 0, inf, -inf
    day_of = _Days(zone)
    for records, effects in fold_past(plan, log):
        for record, time in records:
            customers.add(record.key)
            first, last = min(first, time), max(last, time)
        events += len(records)
        for message in effects.messages:
            if message.topic != TRIGGERS:
                continue
            data = orjson.loads(message.value)["data"]
            if "superseded_by" in data:
                superseded[data["trigger"]] += 1
                continue
            days[data["trigger"]][day_of[parse_time(data["time"]) // 900_000]] += 1
            whom[data["trigger"]].add(data["customer"])
        tell(f"{events:,} events read, {sum(map(Counter.total, days.values())):,} triggers fired")
    if not events:
        raise NoPast(f"{log.what}: expected events, found none; publish some, or give another --log")
    counted = [
        Counted(
            *(each.name, each.meaning, days[each.name].total(), dict(sorted(days[each.name].items()))),
            *(len(whom[each.name]), superseded[each.name], sorted(whom[each.name])[:EXAMPLES]),
        )
        for each in plan.playbook.triggers
    ]
    begin, end = day_of[int(first) // 900_000], day_of[int(last) // 900_000]
    # What time alone brings about may lie behind the last event.
    end = max([end, *(day for each in counted for day in each.days)])
    span = [begin + timedelta(days=n) for n in range((end - begin).days + 1)]
    return Stats(log.what, counted, events, len(customers), span)


class _Days(dict[int, date]):
    """The day, on the playbook's clocks, of each quarter of an hour since 1970: no zone is finer."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone

    def __missing__(self, quarter: int) -> date:
        day = self[quarter] = datetime.fromtimestamp(quarter * 900, UTC).astimezone(self._zone).date()
        return day


def show(console: Console, plan: Plan, stats: Stats) -> None:
    """Print a line for each trigger, those that fire most first."""
    first, last, whole = stats.days[0], stats.days[-1], len(stats.days)
    named = max((len(one.name) for one in stats.triggers), default=0)
    # Where there is little room the bars give way, not the numbers.
    bars, each = _bars_of(stats.days, min(max(console.width - named - NUMBERS, LEAST_BARS), MOST_BARS))
    bar = "a day" if each == 1 else "a week" if each == 7 else f"{each // 7} weeks"
    people = "customer" if stats.customers == 1 else "customers"
    console.print(
        f"[bold]{plan.name}[/] over {stats.what}: {stats.events:,} events of {stats.customers:,} {people}, "
        f"{first} to {last}, {whole:,} {'day' if whole == 1 else 'days'}",
        soft_wrap=True,
    )
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    table.add_column("trigger", no_wrap=True)
    for name in ("fired", "a day", "customers", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("busiest day", no_wrap=True)
    table.add_column(f"a bar {bar}", no_wrap=True)
    for one in sorted(stats.triggers, key=lambda one: (-one.total, one.name)):
        if not one.total:
            table.add_row(one.name, "0", "", "", "", "", "", style="dim")
            continue
        day, most = max(one.days.items(), key=lambda pair: pair[1])
        counts = [sum(one.days.get(day, 0) for day in bar) for bar in bars]
        table.add_row(
            *(one.name, f"{one.total:,}", f"{one.total / whole:,.2f}", f"{one.customers:,}"),
            *(f"{one.customers / stats.customers:.1%}", f"{day} {most:,}", sparkline(counts)),
        )
    console.print(table)
    total = sum(one.total for one in stats.triggers)
    late = sum(one.superseded for one in stats.triggers)
    console.print(
        f"{total:,} in all, {total / whole:,.1f} a day, "
        f"{total / whole / stats.customers:,.2f} a day and customer"
        + (f"; {late:,} of them overtaken by a late event (superseded)" if late else ""),
        soft_wrap=True,
    )
    if total:
        busiest = max(stats.triggers, key=lambda one: one.total)
        example = f"trigger try {busiest.name} --customer '{busiest.examples[0]}'"
        console.print(f"one of them: {example} (--json has some of each)", soft_wrap=True)


def sparkline(counts: Sequence[int]) -> str:
    """Bars as high as the counts are, a dot for none.

    >>> sparkline([0, 1, 4, 8])
    '·▁▄█'
    """
    most = max(counts, default=0)
    return "".join(BARS[-(-8 * each // most) - 1] if each else "·" for each in counts)


def _bars_of(days: Sequence[date], most: int) -> tuple[list[Sequence[date]], int]:
    """So many bars at most, and the days of each."""
    each = 1 if len(days) <= most else 7 * -(-len(days) // (7 * most))
    return [days[n : n + each] for n in range(0, len(days), each)], each


def _plain(stats: Stats) -> dict[str, Any]:
    whole = len(stats.days)
    triggers = []
    for one in stats.triggers:
        busiest = max(one.days.items(), key=lambda pair: pair[1], default=None)
        triggers.append(
            {
                "trigger": one.name,
                "meaning": one.meaning,
                "fired": one.total,
                "per_day": one.total / whole,
                "customers": one.customers,
                "share": one.customers / stats.customers,
                "superseded": one.superseded,
                "examples": one.examples,
                "busiest": busiest and {"day": busiest[0].isoformat(), "fired": busiest[1]},
                "days": {day.isoformat(): fired for day, fired in one.days.items()},
            }
        )
    return {
        "log": stats.what,
        "from": stats.days[0].isoformat(),
        "to": stats.days[-1].isoformat(),
        "days": whole,
        "events": stats.events,
        "customers": stats.customers,
        "triggers": triggers,
    }
