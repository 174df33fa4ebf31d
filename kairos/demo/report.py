"""The closing report: one dictionary, shown as text, kept as JSON and drawn as a page."""

import html
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from kairos.demo.pictures import Pictures

METHODS = {
    "blend": "blend of both models",
    "lightgbm": "LightGBM, trained on the first part",
    "river": "River, learning from every outcome",
    "popularity_household": "popularity x household's past",
    "popularity": "popularity so far",
    "random": "random",
}
HONEST = (
    "This is response among those who were sent a campaign, not uplift: who was sent what was decided by a "
    "policy nobody knows, and who would have bought anyway cannot be told from this data."
)
EXPOSURE = (
    "Coupon level ranks the pool of a campaign on days when one of its coupons was redeemed; which coupons "
    "of the pool the household really saw is unknown."
)

_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Kairos: the demo's report</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #1d2430; max-width: 60rem; margin: 2.5rem auto;
  padding: 0 1rem }
h1 { margin-bottom: 0 } h2 { margin: 2.5rem 0 .5rem } .lead { color: #566; margin-top: .3rem }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .8rem;
  margin: 1.5rem 0 }
.tile { background: #f3f5f9; border-radius: .6rem; padding: .8rem 1rem }
.tile b { display: block; font-size: 1.5rem } .tile span { color: #566; font-size: .85rem }
table { border-collapse: collapse; width: 100% } th, td { text-align: right; padding: .35rem .6rem }
th:first-child, td:first-child { text-align: left } thead { border-bottom: 2px solid #ccd3df }
tbody tr:nth-child(odd) { background: #f8f9fc } svg { width: 100%; height: auto }
.note { background: #fff7e0; border-left: 4px solid #e8b93b; padding: .6rem 1rem; border-radius: .2rem }
</style></head><body>
<h1>Kairos</h1><p class="lead">$lead</p>
<div class="tiles">$tiles</div>
<h2>Who would respond?</h2>$quality
<p class="note">$honest</p>
<h2>Learning, against the baselines</h2>$curve
<h2>How long a decision takes</h2>$latency
<h2>Triggers over time</h2>$triggers
<h2>Which coupon of the pool?</h2>$coupons<p>$exposure</p>
<h2>Where the processor's time went</h2>$costs
<h2>Checks made on this very run</h2>$checks
</body></html>
""")


def write(report: Mapping[str, Any], pictures: Pictures, folder: Path) -> tuple[Path, Path]:
    """Write `report.json` and `report.html` into `folder`; the paths of both."""
    folder.mkdir(parents=True, exist_ok=True)
    as_json, as_page = folder / "report.json", folder / "report.html"
    as_json.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY))
    as_page.write_text(page(report, pictures))
    return as_json, as_page


def page(report: Mapping[str, Any], pictures: Pictures) -> str:
    """The report as one HTML page that needs nothing else."""
    quality = report["quality"]
    tiles = [
        ("events folded", f"{report['events']:,}"),
        ("events a second", f"{report['events_per_s']:,.0f}"),
        ("decisions", f"{report['decisions']:,}"),
        ("ms a decision, p50", f"{report['decision_ms']['p50']:.1f}"),
        ("ms a decision, p99", f"{report['decision_ms']['p99']:.1f}"),
        ("triggers fired", f"{report['triggers_fired']:,}"),
        ("push commands", f"{report['push_commands']:,}"),
        ("dead letters", f"{report['dead_letters']:,}"),
    ]
    return _PAGE.substitute(
        lead=html.escape(_lead(report)),
        tiles="".join(f'<div class="tile"><b>{value}</b><span>{name}</span></div>' for name, value in tiles),
        quality=_quality_table(quality) + pictures.quality(quality),
        honest=html.escape(HONEST),
        curve=pictures.learning(),
        latency=pictures.latency(),
        triggers=pictures.triggers(),
        coupons=_coupon_table(report["coupons"]),
        exposure=html.escape(EXPOSURE),
        costs=_cost_table(report["cpu_us"], report["cpu_s"]),
        checks="<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in _checks(report)) + "</ul>",
    )


def show(report: Mapping[str, Any], console: Console) -> None:
    """Print the report for a person."""
    quality = report["quality"]
    console.rule("[bold]what came of it")
    console.print(_lead(report), highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("", "AUC", "95 %", "log loss", "NDCG where offers compete"):
        table.add_column(name, justify="left" if not name else "right", style="bold" if not name else "")
    for method, words in METHODS.items():
        if (row := quality.get(method)) is not None and row["auc"] is not None:
            table.add_row(words, *_cells(row))
    console.print()
    console.print(table)
    console.print(
        f"\n{quality['n']:,} pairs of moment and offer, {quality['positives']:,} answered, "
        f"{quality['households']:,} households; NDCG over "
        f"{next(iter(_judged(quality)), {}).get('ndcg_moments', 0):,} moments; "
        "intervals by bootstrap over households.",
        highlight=False,
    )
    console.print(f"[yellow]{HONEST}[/]\n", highlight=False)
    for line in _checks(report):
        console.print(f"- {line}", highlight=False)


def _lead(report: Mapping[str, Any]) -> str:
    ms, decisions = report["decision_ms"], f"{report['decisions']:,} decisions"
    return (
        f"{report['days']} days of real shopping from {report['first_day']}: {report['events']:,} events "
        f"through bus, stream and feature store in {report['seconds']:,.0f} s, {decisions} in "
        f"{ms['p50']:.1f} ms (p50) and {ms['p99']:.1f} ms (p99), {report['triggers_fired']:,} triggers "
        f"fired, {report['push_commands']:,} push commands."
    )


def _judged(quality: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [quality[m] for m in METHODS if quality.get(m) is not None and quality[m]["auc"] is not None]


def _cells(row: Mapping[str, Any]) -> list[str]:
    low, high = row["auc_ci"]
    ndcg = "-" if row["ndcg"] is None else f"{row['ndcg']:.3f}"
    return [f"{row['auc']:.3f}", f"{low:.3f} to {high:.3f}", f"{row['log_loss']:.4f}", ndcg]


def _quality_table(quality: Mapping[str, Any]) -> str:
    rows = "".join(
        "<tr><td>" + html.escape(words) + "</td>" + "".join(f"<td>{c}</td>" for c in _cells(row)) + "</tr>"
        for method, words in METHODS.items()
        if (row := quality.get(method)) is not None and row["auc"] is not None
    )
    return (
        "<table><thead><tr><th></th><th>AUC</th><th>95 % interval</th><th>log loss</th>"
        f"<th>NDCG</th></tr></thead><tbody>{rows}</tbody></table>"
        f"<p>{quality['n']:,} pairs of a moment and an offer, {quality['positives']:,} answered, "
        f"{quality['households']:,} households, {quality['period']}. "
        "Intervals by bootstrap over households.</p>"
    )


def _coupon_table(coupons: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(words)}</td><td>{row['ndcg']:.3f}</td></tr>"
        for method, words in METHODS.items()
        if (row := coupons.get(method)) is not None and row["ndcg"] is not None
    )
    return (
        f"<table><thead><tr><th></th><th>NDCG over {coupons['moments']:,} pools</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def _cost_table(costs: Mapping[str, float], seconds: Mapping[str, float]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{us:,.0f}</td><td>{spent:,.1f}</td></tr>"
        for (name, us), spent in zip(costs.items(), seconds.values(), strict=True)
    )
    head = "<tr><th>process</th><th>us</th><th>seconds in all</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _checks(report: Mapping[str, Any]) -> list[str]:
    parity = report["parity"]
    return [
        f"rows recomputed from the log cut before the moment: {parity['rows']:,} compared, "
        f"{parity['mismatches']:,} differ from the row served",
        f"states recomputed from the log: {parity['states']:,} compared, {parity['states_differing']:,} "
        f"differ from the bytes in Redis; rows read through Feast's SDK: {parity['feast_rows']:,} compared, "
        f"{parity['feast_rows_differing']:,} differ",
        f"push commands beyond one a trigger: {report['push_commands_repeated']:,}",
        "offers found eligible differ from the campaigns sent and running in "
        f"{report['eligibility_differs']:,} of {report['moments']:,} moments",
        "processor time, us: " + ", ".join(f"{name} {us:,.0f}" for name, us in report["cpu_us"].items()),
        f"models serving at the end: {', '.join(f'{k} {v}' for k, v in report['models'].items())}",
    ]
