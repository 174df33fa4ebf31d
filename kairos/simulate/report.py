"""The closing report: one dictionary, shown as text, kept as JSON and drawn as a page."""

import html
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from string import Template
from typing import Any, Final

import orjson
from rich.console import Console
from rich.table import Table

from kairos.simulate.pictures import every, svg

TIMINGS: Final = ("speed", "digest")
"""Parts of the report that may differ from run to run."""

HONEST: Final = (
    "All of it is simulated: the people of docs/world.md, not yours. Gains are true expectations, which no "
    "real shop can know; what was really booked is beside them."
)
ORACLE: Final = (
    "The oracle knows every need and mood, looks one moment ahead, and keeps the same rules; nobody who sees "
    "only what people do can reach it."
)
PURCHASES: Final = (
    "Kairos as it stands ranks by the chance of a purchase, not by what the offer adds: who would have "
    "bought anyway looks good to it. That is part of its distance to the oracle."
)
LATE: Final = (
    "Every delay has the same people, needs and coins, and is counted from the middle of the run on, when "
    "the models have learned; outcomes reach the models as late as everything else. Bars: 95 % over "
    "customers, paired."
)

_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Kairos: a simulated town</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #1d2430; max-width: 60rem; margin: 2.5rem auto;
  padding: 0 1rem }
h1 { margin-bottom: 0 } h2 { margin: 2.5rem 0 .5rem } .lead { color: #566; margin-top: .3rem }
table { border-collapse: collapse; width: 100%; font-size: .92rem }
th, td { text-align: right; padding: .35rem .6rem }
th:first-child, td:first-child { text-align: left } thead { border-bottom: 2px solid #ccd3df }
tbody tr:nth-child(odd) { background: #f8f9fc } svg { width: 100%; height: auto }
.note { background: #fff7e0; border-left: 4px solid #e8b93b; padding: .6rem 1rem; border-radius: .2rem }
</style></head><body>
<h1>A town whose truth is known</h1><p class="lead">$lead</p>
<p class="note">$honest</p>
<h2>The price of delay</h2>$delay<p>$late</p>$delays
<h2>What each captures</h2>$captured$arms<p>$oracle $purchases</p>
<h2>Day by day</h2>$learning
<h2>An offer that is new</h2>$cold
<h2>Contacts, and too many of them</h2>$contacts
<h2>What people need here</h2>$needs
</body></html>
""")


def digest(report: Mapping[str, Any]) -> str:
    """16 hex characters that two reports share only when they say the same, whatever the time it took.

    >>> digest({"arms": {}, "speed": 1}) == digest({"arms": {}, "speed": 2})
    True
    """
    plain = {name: value for name, value in report.items() if name not in TIMINGS}
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
        honest=html.escape(HONEST),
        late=html.escape(LATE),
        oracle=html.escape(ORACLE),
        purchases=html.escape(PURCHASES),
        delay=drawn["delay"],
        delays=_html(_DELAYS, _delay_rows(report)),
        captured=drawn["captured"],
        arms=_html(_ARMS, _arm_rows(report["arms"])),
        learning=drawn["learning"],
        contacts=drawn["contacts"],
        cold=_cold(report, drawn),
        needs=_html(("", "half-life", "share of needs", "price, EUR"), _need_rows(report["needs"])),
    )


def show(report: Mapping[str, Any], console: Console) -> None:
    """Print the report for a person."""
    console.rule("[bold]what came of it")
    console.print(lead(report))
    console.print()
    console.print(_text(_ARMS, _arm_rows(report["arms"])))
    console.print()
    console.print(_text(_DELAYS, _delay_rows(report)))
    for each in report["newcomers"]:
        console.print(f"\n{_newcomer(each)}")
    console.print(f"\n[yellow]{HONEST}[/]")


def lead(report: Mapping[str, Any]) -> str:
    """What was done, in a sentence."""
    seeds = "1 seed" if len(report["seeds"]) == 1 else f"{len(report['seeds'])} seeds"
    ours, best = report["arms"]["ours"], report["arms"]["oracle"]
    share = (
        "" if ours.get("of_oracle") is None else f", {100 * ours['of_oracle']:.0f} % of what the oracle does"
    )
    return (
        f"{report['customers']:,} simulated customers, {report['days']} days, {seeds}: "
        f"{report['customer_days']:,} customer-days an arm. Kairos captures {ours['gain']:.2f} EUR of "
        f"margin a customer and week more than silence{share} ({best['gain']:.2f} EUR)."
    )


_ARMS = ("", "EUR a week", "95 %", "of the oracle", "booked", "cards", "messages", "opted out", "given away")
_DELAYS = ("ours, seen so late", "EUR a week", "95 %", "of 1 s", "95 %", "needs last longer: of 1 s", "95 %")


def _arm_rows(arms: Mapping[str, Any]) -> list[list[str]]:
    return [
        [
            arm["name"],
            f"{arm['gain']:.2f}",
            _interval(arm["gain_ci"]),
            "-" if arm.get("of_oracle") is None else f"{100 * arm['of_oracle']:.0f} %",
            f"{arm['booked']:.2f}",
            f"{arm['cards']:.1f}",
            f"{arm['messages']:.1f}",
            f"{100 * arm['opted_out']:.0f} %",
            f"{arm['given_away']:.2f}",
        ]
        for arm in arms.values()
    ]


def _delay_rows(report: Mapping[str, Any]) -> list[list[str]]:
    slow = report["delay_slow"]["delays"]
    return [
        [
            name,
            f"{told['gain']:.2f}",
            _interval(told["gain_ci"]),
            *(
                each
                for one in (told, slow[name])
                for each in (_percent(one["share"]), _percents(one["share_ci"]))
            ),
        ]
        for name, told in report["delay"]["delays"].items()
    ]


def _need_rows(needs: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    return [
        [each["name"], _hours(each["half_life_h"]), f"{100 * each['share']:.0f} %", f"{each['price']:.0f}"]
        for each in needs
    ]


def _newcomer(each: Mapping[str, Any]) -> str:
    told = ", ".join(
        f"{name} {'never' if arm['days'] is None else arm['days']}"
        for name, arm in each["arms"].items()
        if name not in ("oracle", "silence")
    )
    return (
        f"{each['offer']} appears on day {each['from_day']}. Days until it is made at half the rate of old "
        f"offers, each where it is truly the best: {told}."
    )


def _cold(report: Mapping[str, Any], drawn: Mapping[str, str]) -> str:
    if not report["newcomers"]:
        return "<p>None appears within these days.</p>"
    return "".join(
        f"{drawn['cold-' + each['offer']]}<p>{html.escape(_newcomer(each))}</p>"
        for each in report["newcomers"]
    )


def _hours(hours: float) -> str:
    if hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"


def _interval(pair: Sequence[float] | None) -> str:
    return "-" if pair is None else f"{pair[0]:.2f} to {pair[1]:.2f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _percents(pair: Sequence[float] | None) -> str:
    return "-" if pair is None else f"{100 * pair[0]:.0f} to {100 * pair[1]:.0f}"


def _html(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


def _text(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, name in enumerate(head):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    return table
