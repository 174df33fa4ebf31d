"""What a playbook expands to: each feature, what it may cost, when it is missing, and what reads it."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from events.faults import Refusal, did_you_mean
from features.attribute import AttributeTable, attribute_features
from features.declare import Playbook, features_of
from features.duration import render_duration
from features.feature import Aggregate, Feature
from features.grammar import BadExpression, names_in
from features.memory import MEMORY_OF_EVERYBODY, memory_of, memory_of_customer, memory_of_everybody
from models.declared import Declared


class NothingLike(Refusal):
    """No feature and no aggregate of the playbook has a name like the one asked for."""

    exit_code = 2


class Group(NamedTuple):
    """The features that come of one declaration, with their source; a ratio stands among the others."""

    source: Aggregate | AttributeTable | None
    features: tuple[Feature, ...]


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
        "memory_of_everybody_bytes": min(memory_of_everybody(playbook.aggregates), MEMORY_OF_EVERYBODY),
        **counts_of(playbook),
        "sources": [_source(group.source) for group in groups if group.source is not None],
        "features": [
            _feature(feature, readers[feature.name]) for group in groups for feature in group.features
        ],
    }


def counts_of(playbook: Playbook) -> dict[str, int]:
    """How much the playbook declares; hidden features do not count."""
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


def chosen(groups: Sequence[Group], only: str | None) -> list[Group]:
    """The groups that the pattern names, or those of their features that it names.

    Errors: `NothingLike`.
    """
    if only is None:
        return list(groups)
    found = []
    for group in groups:
        whole = group.source is not None and fnmatchcase(group.source.name, only)
        features = tuple(each for each in group.features if whole or fnmatchcase(each.name, only))
        if features:
            found.append(Group(group.source, features))
    if not found:
        known = [feature.name for group in groups for feature in group.features]
        known += [group.source.name for group in groups if group.source is not None]
        hint = (
            "; a pattern such as 'spend_*' names several" if "*" in only else f"; {did_you_mean(only, known)}"
        )
        raise NothingLike(f"--only: expected a feature or an aggregate, found {only!r}{hint}")
    return found


def _names(condition: str | None) -> Iterator[str]:
    try:
        yield from names_in(condition) if condition else ()
    except BadExpression:
        return  # `check` says so
