"""The verb `describe`: what a playbook expands to, as a table under each declaration, or as JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from events.faults import Fault
from features.attribute import AttributeTable
from features.declare import Playbook, load
from features.duration import render_duration
from features.feature import SHARED, Aggregate, Feature
from features.memory import MEMORY_OF_EVERYBODY, memory_of, memory_of_customer, memory_of_everybody
from kairos.description import Group, chosen, counts_of, described, groups_of, readers_of
from models.declared import read

SHOWN = 4
"""Readers of a feature that the table names; --json names all."""

_OF = {
    "customer": "of a customer",
    "pair": "of a customer and an offer",
    "offer": "of an offer, by everybody",
    "offer_group": "of a group of offers, by everybody",
    "global": "of everybody",
}


def run(folder: Path, *, only: str | None = None, as_json: bool = False) -> int:
    """Print what the playbook expands to; `only` is a name or a pattern of features or aggregates.

    Errors: `PlaybookRefused`; `NothingLike`.
    """
    playbook = load(folder)
    faults: list[Fault] = []
    offers = read(folder, None, faults)  # its faults are `check`'s to say; rules can be read without offers
    readers = readers_of(playbook, offers)
    groups = chosen(groups_of(playbook), only)
    if as_json:
        print(json.dumps(described(playbook, groups, readers), indent=2, ensure_ascii=False))
    else:
        show(Console(highlight=False), playbook, groups, readers)
    return 0


def show(
    console: Console, playbook: Playbook, groups: Sequence[Group], readers: Mapping[str, tuple[str, ...]]
) -> None:
    """Print the groups, each feature with what reads it (`readers`), under what they come of."""
    counts = counts_of(playbook)
    console.print(
        f"[bold]{playbook.name}[/]: {counts['row_features']:,} features of a customer, "
        f"{counts['cross_features']:,} of a customer and an offer, from {counts['aggregates']:,} aggregates; "
        f"{counts['triggers']} triggers"
    )
    console.print(
        f"One customer takes {_size(playbook.memory_bytes)} at most, past it the oldest detail is coarsened; "
        f"the aggregates' own bounds come to {_size(memory_of_customer(playbook.aggregates))}. "
        f"An event counts up to {render_duration(playbook.lateness_ms)} late. "
        "Every model reads every feature that is not hidden.",
        style="dim",
    )
    if shared := memory_of_everybody(playbook.aggregates):
        console.print(
            f"What counts over everybody is kept once for each partition of the log, "
            f"{_size(min(shared, MEMORY_OF_EVERYBODY))} at most, and read once a second.",
            style="dim",
        )
    for group in groups:
        console.print()
        _head(console, group.source)
        table = Table(box=None, padding=(0, 2, 0, 2), show_edge=False, header_style="dim", pad_edge=False)
        table.add_column("  feature", no_wrap=True)
        table.add_column("unit", no_wrap=True)
        table.add_column("if nothing", justify="right", no_wrap=True)
        if group.source is None:
            table.add_column("divides", overflow="fold")
        table.add_column("read by", overflow="fold")
        for feature in group.features:
            name = f"  [dim]{feature.name} (hidden)[/]" if feature.hidden else f"  {feature.name}"
            empty = "missing" if math.isnan(feature.default) else f"{feature.default:g}"
            own = [_divides(feature)] if group.source is None else []
            read = escape(_shortened(readers[feature.name]))
            table.add_row(name, escape(feature.unit), empty, *own, read)
        console.print(table)


def _head(console: Console, source: Aggregate | AttributeTable | None) -> None:
    """What the declaration says, before its features."""
    if source is None:
        console.print("[bold]ratios[/]")
        return
    stale = f"missing when not known for {render_duration(source.freshness_ms)}"
    if isinstance(source, AttributeTable):
        console.print(f"[bold]{source.name}[/]  a batch table")
        console.print(f"  {escape(source.purpose)}", style="italic")
        console.print(f"  {stale}", style="dim")
        return
    asked = source.event if source.value is None else f"{source.event}.{source.value}"
    console.print(f"[bold]{source.name}[/]  {asked}, {_OF[source.of]}{_keyed(source)}")
    console.print(f"  {escape(source.meaning)}", style="italic")
    where = "" if source.where is None else f"where {' '.join(source.where.split())}; "
    shared = " in each partition of the log" if source.of in SHARED else ""
    console.print(f"  {escape(where)}{stale}; at most {_size(memory_of(source))}{shared}", style="dim")


def _keyed(source: Aggregate) -> str:
    if source.histogram:
        return f", up to {source.keys} buckets of 2.5 %"
    if source.by is None:
        return f", up to {source.keys} values exactly" if "distinct" in source.functions else ""
    picked = "the offer's id" if source.match == "offer" else f"the offer's {source.match}"
    return f", by {source.by} ({picked} picks), up to {source.keys} keys"


def _divides(feature: Feature) -> str:
    assert feature.derived is not None
    return f"{feature.derived.numerator} / {feature.derived.denominator}\n[dim]{escape(feature.meaning)}[/]"


def _shortened(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _size(size: int) -> str:
    return f"{size:,} bytes" if size < 1_000 else f"{size / 1_000:,.0f} kB"
