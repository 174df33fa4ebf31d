"""The closing report: one dictionary, shown as text, kept as JSON and drawn as a page."""

import html
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from string import Template
from typing import Any, Final

import orjson
from rich.console import Console
from rich.table import Table

from experiments.world.effects import Effects
from kairos.simulate import tables
from kairos.simulate.pictures import every, svg

BESIDE: Final = ("speed", "digest", "command")
"""Parts of the report that are not what came of it: two that agree may differ here."""

HONEST: Final = (
    "All of it is simulated: the people of docs/world.md, not yours. Amounts are EUR of margin a week a "
    "customer, over saying nothing. What is captured are true expectations, which no real shop can know; "
    "what tills really booked is beside them."
)
INTERVALS: Final = (
    "Intervals are 95 % over customers, who are drawn again (bootstrap), paired where two runs of the same "
    "people are compared. They hold that other people might have lived here. They do not hold that models "
    "learn a little differently in each run: that is seen in how far towns (seeds) are apart."
)
ORACLE: Final = (
    "The oracle knows every need and mood, looks one moment ahead, and keeps the same rules; nobody who "
    "sees only what people do can reach it. Regret is what the oracle captures and the other does not. What "
    "is missed at its moments is of the best contact at each moment that an arm itself came to, rules and "
    "fatigue aside."
)
PURCHASES: Final = (
    "Kairos ranks by the chance of a purchase, not by what the offer adds: who would have bought anyway "
    "looks good to it. That is part of its regret."
)
LATE: Final = (
    "Every delay has the same people, needs and coins, and is counted from the middle of the run on, when "
    "the models have learned; outcomes and links of ids are known as late as everything else. Bars: 95 % "
    "over customers, paired; small dots: one town (seed) each."
)
SOURCES: Final = "What each captures, by the half-life of the need (and as a share of all it captures):"
CONTACTS: Final = "A week a customer; who switched messages off is of all customers, over the whole run."

_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Kairos: a simulated town</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #1d2430; max-width: 60rem; margin: 2.5rem auto;
  padding: 0 1rem }
h1 { margin-bottom: 0 } h2 { margin: 2.5rem 0 .5rem } .lead { color: #566; margin-top: .3rem }
table { border-collapse: collapse; width: 100%; font-size: .92rem }
th, td { text-align: right; padding: .35rem .6rem } td { white-space: nowrap }
th:first-child, td:first-child { text-align: left } thead { border-bottom: 2px solid #ccd3df }
tbody tr:nth-child(odd) { background: #f8f9fc } svg { width: 100%; height: auto }
.note { background: #fff7e0; border-left: 4px solid #e8b93b; padding: .6rem 1rem; border-radius: .2rem }
</style></head><body>
<h1>A town whose truth is known</h1><p class="lead">$lead</p>
<p class="lead">$town <code>$command</code></p>
<p class="note">$honest</p><p>$intervals</p>
<h2>The price of delay</h2>$delay<p>$late</p>$delays
<h2>What each captures</h2>$captured$arms<p>$oracle $purchases</p><p>$of</p>$sources
<h2>Day by day</h2>$learning
<h2>An offer that is new</h2>$cold
<h2>Contacts, and too many of them</h2>$contacts<p>$said</p>$spoken
<h2>What people need here</h2>$needs
</body></html>
""")


def digest(report: Mapping[str, Any]) -> str:
    """16 hex characters that two reports share only when they say the same, whatever the time it took.

    >>> digest({"arms": {}, "speed": 1}) == digest({"arms": {}, "speed": 2})
    True
    """
    plain = {name: value for name, value in report.items() if name not in BESIDE}
    return blake2b(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()


def write(report: Mapping[str, Any], folder: Path) -> tuple[Path, Path]:
    """Write `report.json` and `report.html` into `folder`; the paths of both."""
    folder.mkdir(parents=True, exist_ok=True)
    as_json, as_page = folder / "report.json", folder / "report.html"
    as_json.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    as_page.write_text(page(report))
    return as_json, as_page


def page(report: Mapping[str, Any]) -> str:
    """The report as one HTML page that needs nothing else."""
    drawn = {name: svg(figure) for name, figure in every(report)}
    return _PAGE.substitute(
        lead=html.escape(lead(report)),
        town=html.escape(town(report)),
        command=html.escape(report["command"]),
        honest=html.escape(HONEST),
        intervals=html.escape(INTERVALS),
        late=html.escape(LATE),
        oracle=html.escape(ORACLE),
        purchases=html.escape(PURCHASES),
        delay=drawn["delay"],
        delays=_html(tables.delays(report)),
        captured=drawn["captured"],
        arms=_html(tables.arms(report["arms"])),
        of=html.escape(SOURCES),
        sources=_html(tables.sources(report)),
        learning=drawn["learning"],
        contacts=drawn["contacts"],
        said=html.escape(CONTACTS),
        spoken=_html(tables.contacts(report["arms"])),
        cold=_cold(report, drawn),
        needs=_html(tables.needs(report["needs"])),
    )


def show(report: Mapping[str, Any], console: Console) -> None:
    """Print the report for a person."""
    console.rule("[bold]what came of it")
    console.print(lead(report))
    console.print(town(report))
    arms = report["arms"]
    for table in (tables.arms(arms), tables.sources(report), tables.contacts(arms), tables.delays(report)):
        console.print()
        console.print(_text(table))
    for each in report["newcomers"]:
        console.print(f"\n{tables.newcomer(each)}")
    console.print(f"\n[yellow]{HONEST}[/]\n{INTERVALS}")


def lead(report: Mapping[str, Any]) -> str:
    """What was done and what came of it, in two sentences."""
    ours, best = report["arms"]["ours"], report["arms"]["oracle"]
    part = "" if ours.get("of_oracle") is None else f", {tables.percent(ours['of_oracle'])} of the oracle's"
    return (
        f"{report['customers']:,} simulated customers, {report['days']} days: {report['customer_days']:,} "
        f"customer-days an arm. Kairos captures {tables.money(ours['gain'], ours['gain_ci'])} EUR of margin "
        f"a week a customer more than silence{part} {best['gain']:.2f}; its regret is "
        f"{tables.money(ours['regret'], ours['regret_ci'])} EUR."
    )


def town(report: Mapping[str, Any]) -> str:
    """Which towns they were: the seeds, and what is not as docs/world.md has it."""
    seeds, usual = report["seeds"], asdict(Effects())
    words = f"Seed {seeds[0]}" if len(seeds) == 1 else f"Seeds {seeds[0]} to {seeds[-1]}"
    changed = [
        f"{name} {value:g} (default {usual[name]:g})"
        for name, value in report["effects"].items()
        if value != usual[name]
    ]
    how = f"changed: {', '.join(changed)}" if changed else "every effect at its default"
    return f"{words}; playbook {report['playbook']}; {how}."


def _cold(report: Mapping[str, Any], drawn: Mapping[str, str]) -> str:
    if not report["newcomers"]:
        return "<p>None appears within these days.</p>"
    return "".join(
        f"{drawn['cold-' + each['offer']]}<p>{html.escape(tables.newcomer(each))}</p>"
        for each in report["newcomers"]
    )


def _html(table: tables.Told) -> str:
    names = "".join(f"<th>{html.escape(name)}</th>" for name in table.head)
    rows = ("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in table.rows)
    return f"<table><thead><tr>{names}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _text(told: tables.Told) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, name in enumerate(told.head):
        table.add_column(name, justify="right" if number else "left")
    for row in told.rows:
        table.add_row(*row)
    return table
