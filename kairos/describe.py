"""What a playbook expands to: each feature, what it may cost, when it is missing, and what reads it."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from events.faults import Fault, Refusal, did_you_mean
from features.attribute import AttributeTable, attribute_features
from features.declare import Playbook, features_of, load
from features.duration import render_duration
from features.feature import Aggregate, Feature
from features.grammar import BadExpression, names_in
from features.memory import memory_of, memory_of_customer
from models.declared import Declared, read

SHOWN = 4
"""Readers of a feature that the table names; --json names all."""

_OF = {
    "customer": "of a customer",
    "pair": "of a customer and an offer",
    "offer": "of an offer, by everybody",
    "offer_group": "of a group of offers, by everybody",
    "global": "of everybody",
}


class NothingLike(Refusal):
    """No feature and no aggregate of the playbook has a name like the one asked for."""

    exit_code = 2


class Group(NamedTuple):
    """The features that come of one declaration, with their source; a ratio stands among the others."""

    source: Aggregate | AttributeTable | None
    features: tuple[Feature, ...]


def run(folder: Path, *, only: str | None = None, as_json: bool = False) -> int:
    """Print what the playbook expands to; `only` is a name or a pattern of features or aggregates.

    Errors: `PlaybookRefused`; `NothingLike`.
    """
    playbook = load(folder)
    faults: list[Fault] = []
    offers = read(folder, None, faults)  # its faults are `check`'s to say; rules can be read without offers
    readers = readers_of(playbook, offers)
    groups = _chosen(groups_of(playbook), only)
    if as_json:
        print(json.dumps(described(playbook, groups, readers), indent=2, ensure_ascii=False))
    else:
        _show(Console(highlight=False), playbook, groups, readers)
    return 0


def groups_of(playbook: Playbook) -> list[Group]:
    """Every feature under what it comes of, in the order of the playbook; ratios, then attributes, last."""
    row, cross = features_of(playbook)
    every = [feature for feature in (*row, *cross) if feature.function != "attribute"]
    groups = [
        Group(aggregate, tuple(feature for feature in every if feature.aggregate == aggregate.name))
        for aggregate in playbook.aggregates
    ]
    if playbook.ratios:
        groups.append(Group(None, playbook.ratios))
    known = attribute_features(playbook)
    groups += [
        Group(table, tuple(each for each in known if each.aggregate == table.name))
        for table in playbook.attributes
    ]
    return groups


def readers_of(playbook: Playbook, offers: Declared) -> Mapping[str, tuple[str, ...]]:
    """For each feature what reads it: triggers, rules, offers, other features. Every model reads the row."""
    row, cross = features_of(playbook)
    readers: dict[str, list[str]] = {feature.name: [] for feature in (*row, *cross)}
    readers |= {feature.name: [] for feature in attribute_features(playbook)}

    def note(names: Iterable[str], reader: str) -> None:
        for name in names:
            if name in readers and reader not in readers[name]:
                readers[name].append(reader)

    for trigger in playbook.triggers:
        note(_names(trigger.when), f"trigger {trigger.name}")
    for rule in offers.rules:
        note(_names(rule.when), f"rule {rule.name}")
    for offer in offers.offers:
        for condition in offer.eligible:
            note(_names(condition), f"offer {offer.id}")
    for feature in (*row, *cross):
        if feature.derived is not None:
            note(feature.derived[:2], feature.name)
    return {name: tuple(each) for name, each in readers.items()}


def described(
    playbook: Playbook, groups: Sequence[Group], readers: Mapping[str, tuple[str, ...]]
) -> dict[str, Any]:
    """All that is known of these groups, as plain values for JSON; lengths of time as people write them."""
    return {
        "playbook": playbook.name,
        "timezone": playbook.timezone,
        "lateness": render_duration(playbook.lateness_ms),
        "memory_bytes": playbook.memory_bytes,
        "memory_unbounded_bytes": memory_of_customer(playbook.aggregates),
        **_counts(playbook),
        "sources": [_source(group.source) for group in groups if group.source is not None],
        "features": [
            _feature(feature, readers[feature.name]) for group in groups for feature in group.features
        ],
    }


def _counts(playbook: Playbook) -> dict[str, int]:
    row, cross = ([f for f in features if not f.hidden] for features in features_of(playbook))
    attributes = [f for f in attribute_features(playbook) if f not in row]
    return {
        "row_features": len(row) + len(attributes),
        "cross_features": len(cross),
        "aggregates": len(playbook.aggregates),
        "triggers": len(playbook.triggers),
    }


def _source(source: Aggregate | AttributeTable) -> dict[str, Any]:
    if isinstance(source, AttributeTable):
        told = {"of": "customer", "freshness": render_duration(source.freshness_ms)}
        return {"name": source.name, "attributes": True, **told, "purpose": source.purpose}
    return {
        "name": source.name,
        "of": source.of,
        "event": source.event,
        "value": source.value,
        "where": source.where,
        "by": source.by,
        "match": source.match,
        "keys": source.keys,
        "stores": list(source.functions),
        "windows": [render_duration(window) for window in source.windows],
        "half_lives": [render_duration(length) for length in source.half_lives],
        "ever": source.ever,
        "freshness": render_duration(source.freshness_ms),
        "memory_bytes": memory_of(source),
    }


def _feature(feature: Feature, readers: Sequence[str]) -> dict[str, Any]:
    place = "hidden" if feature.hidden else "row" if feature.match is None else "cross"
    return {
        "name": feature.name,
        "in": place,
        "of": feature.of,
        "source": feature.aggregate,
        "function": feature.function,
        "window": feature.window_ms and render_duration(feature.window_ms),
        "half_life": feature.half_life_ms and render_duration(feature.half_life_ms),
        "match": feature.match,
        "unit": feature.unit,
        "meaning": feature.meaning,
        "default": None if math.isnan(feature.default) else feature.default,
        "freshness": render_duration(feature.freshness_ms),
        "derived": feature.derived and feature.derived._asdict(),
        "read_by": [*readers, *([] if feature.hidden else ["every model"])],
    }


def _chosen(groups: Sequence[Group], only: str | None) -> list[Group]:
    """The groups that the pattern names, or those of their features that it names."""
    if only is None:
        return list(groups)
    chosen = []
    for group in groups:
        whole = group.source is not None and fnmatchcase(group.source.name, only)
        features = tuple(each for each in group.features if whole or fnmatchcase(each.name, only))
        if features:
            chosen.append(Group(group.source, features))
    if not chosen:
        known = [feature.name for group in groups for feature in group.features]
        known += [group.source.name for group in groups if group.source is not None]
        hint = (
            "; a pattern such as 'spend_*' names several" if "*" in only else f"; {did_you_mean(only, known)}"
        )
        raise NothingLike(f"--only: expected a feature or an aggregate, found {only!r}{hint}")
    return chosen


def _names(condition: str | None) -> Iterator[str]:
    try:
        yield from names_in(condition) if condition else ()
    except BadExpression:
        return  # `check` says so


def _show(
    console: Console, playbook: Playbook, groups: Sequence[Group], readers: Mapping[str, tuple[str, ...]]
) -> None:
    counts = _counts(playbook)
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
    shared = "" if source.of in ("customer", "pair") else " for all customers together"
    console.print(f"  {escape(where)}{stale}; at most {_size(memory_of(source))}{shared}", style="dim")


def _keyed(source: Aggregate) -> str:
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
