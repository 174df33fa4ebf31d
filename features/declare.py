"""What a playbook declares: loaded, checked whole, every fault said at once."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from events.contract import Contracts, load_contracts
from events.faults import Fault, PlaybookRefused
from features.attribute import AttributeTable, attribute_kinds
from features.declare_aggregate import read_aggregate, with_total
from features.declare_attribute import read_attributes
from features.declare_ratio import read_ratio
from features.declare_trigger import Known, read_trigger
from features.feature import SHARED, Aggregate, Derived, Feature, expand, names_of_everybody, stored
from features.kleene import Kind
from features.memory import MEMORY, MEMORY_LEAST, MEMORY_MOST, memory_at_least
from features.ranges import ranges_of
from features.table import NAME, File, Table
from features.trigger import WAKES, Step, Trigger, fired_names
from features.trigger_features import check_order, counted_for, fired_features

__all__ = ["Aggregate", "Derived", "Feature", "Playbook", "Step", "Trigger", "features_of", "load", "read"]

MOST_WAKES = 1_000


class Playbook(NamedTuple):
    """A business as its people declare it; `freshness_ms` is the limit of values that declare none.

    `aggregates` are the declared ones and, behind each family with shares, its total; `ratios` are features
    already. `memory_bytes` bounds what is stored of one customer, `wakes` the instants waited for on its
    behalf.
    """

    name: str
    timezone: str
    lateness_ms: int
    freshness_ms: int
    contracts: Contracts
    aggregates: tuple[Aggregate, ...]
    triggers: tuple[Trigger, ...]
    folder: Path
    memory_bytes: int = MEMORY
    ratios: tuple[Feature, ...] = ()
    attributes: tuple[AttributeTable, ...] = ()
    wakes: int = WAKES


def features_of(playbook: Playbook) -> tuple[tuple[Feature, ...], tuple[Feature, ...]]:
    """The features of a customer's row and those of a cross row, in order.

    Visible ones come first as declared, ratios behind the others, then the hidden ones they are made of.
    """
    visible = [feature for aggregate in playbook.aggregates for feature in expand(aggregate)]
    visible += playbook.ratios
    visible += fired_features(playbook.triggers, playbook.freshness_ms)
    shown = {feature.name for feature in visible}
    read = {name for feature in visible if feature.derived for name in feature.derived[:2]}
    counted = {f"{trigger.name}_nth" for trigger in playbook.triggers if trigger.nth is not None}
    hidden = [
        feature._replace(hidden=True)
        for aggregate in playbook.aggregates
        for feature in stored(aggregate)
        if (feature.name in read or aggregate.name in counted) and feature.name not in shown
    ]
    every = (*visible, *hidden)
    return tuple(f for f in every if f.match is None), tuple(f for f in every if f.match is not None)


def load(folder: Path) -> Playbook:
    """Read `playbook.toml`, `events.toml`, `triggers.toml` and `attributes.toml` of the folder.

    Errors: `PlaybookRefused` with every fault of every file.
    """
    playbook, faults = read(folder)
    if faults:
        raise PlaybookRefused(faults)
    return playbook


def read(folder: Path) -> tuple[Playbook, list[Fault]]:
    """The playbook of the folder as far as it can be understood, and every fault of these files."""
    contracts, faults = load_contracts(folder)
    file = File(folder, "playbook.toml", faults)
    top = file.top()
    file.only("aggregate", "ratio")
    name = top.identifier("name")
    timezone = top.text("timezone", "UTC")
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError):
        top.fault("timezone", "a time zone such as America/New_York", repr(timezone))
    lateness = top.duration("lateness", "1d")
    freshness = top.duration("freshness", "2d")
    memory = top.size("memory", MEMORY, MEMORY_LEAST, MEMORY_MOST)
    wakes = top.whole("wakes", WAKES, 1, MOST_WAKES)
    top.done()
    aggregates, ratios = _features(file, contracts, freshness)
    known = file.readable
    visible = [feature for aggregate in aggregates for feature in expand(aggregate)]
    named = [f.name for f in (*visible, *ratios)]
    attributes = read_attributes(folder, contracts, named, faults)
    file = File(folder, "triggers.toml", faults, mandatory=False)
    file.top().done()
    file.only("trigger")
    tables = file.tables("trigger")
    shared = names_of_everybody(aggregates, ratios)
    names = _spoken_of(tables, (*visible, *ratios), attributes) if known else None
    row = {each.name: each for each in _row_of(aggregates, ratios, tables, freshness)}
    speaks = Known(contracts, names, shared, _zone(timezone), row, ranges_of(row.values()))
    triggers = [read_trigger(table, speaks) for table in tables]
    _unique("trigger", tables)
    _clashing(tables, triggers, {*named, *(aggregate.name for aggregate in aggregates)})
    if known:
        check_order(tables, triggers)
    aggregates = (*aggregates, *(each for trigger in triggers for each in counted_for(trigger, freshness)))
    playbook = Playbook(
        name,
        timezone,
        lateness,
        freshness,
        contracts,
        aggregates,
        tuple(triggers),
        folder.resolve(),
        memory,
        ratios,
        attributes,
        wakes,
    )
    least = smallest_memory(playbook)
    if memory < least:
        hint = "declare fewer aggregates, or let it be larger"
        top.fault("memory", f"{least:,} bytes or more for these aggregates", f"{memory:,} bytes", hint)
    return playbook, faults


def smallest_memory(playbook: Playbook) -> int:
    """The fewest bytes a customer's state fits in: every aggregate at its coarsest, families empty."""
    return sum(memory_at_least(a) for a in playbook.aggregates if a.of not in SHARED)


def _features(
    file: File, contracts: Contracts, freshness: int
) -> tuple[tuple[Aggregate, ...], tuple[Feature, ...]]:
    """The aggregates with their totals, and the ratios; no two features of one name."""
    aggregates: list[Aggregate] = []
    owners: dict[str, str] = {}
    known: dict[str, Feature] = {}
    tables = file.tables("aggregate")
    _unique("aggregate", tables)
    declared = {table.raw.get("name") for table in tables if isinstance(table.raw.get("name"), str)}
    for table in tables:
        mine = with_total(read_aggregate(table, contracts, freshness), contracts)
        for aggregate in mine:
            if aggregate is not mine[0] and aggregate.name in declared:
                found = f"another [[aggregate]] {aggregate.name}"
                table.fault(
                    "name", "a name whose _total is free, as its shares keep one", found, "rename one"
                )
            aggregates.append(aggregate)
            features = {feature.name: feature for feature in (*stored(aggregate), *expand(aggregate))}
            _clashes(table, aggregate.name, features, owners)
            known |= features
    tables = file.tables("ratio")
    _unique("ratio", tables)
    names = {table.raw["name"] for table in tables if isinstance(table.raw.get("name"), str)}
    ratios = []
    for table in tables:
        ratio = read_ratio(table, known, names)
        if ratio is not None:
            _clashes(table, ratio.name, [ratio.name], owners)
            ratios.append(ratio)
    return tuple(aggregates), tuple(ratios)


def _spoken_of(
    tables: Iterable[Table], features: Iterable[Feature], attributes: Iterable[AttributeTable]
) -> dict[str, Kind]:
    """What conditions of triggers may speak of beside fields of events."""
    names: dict[str, Kind] = {}
    for feature in features:
        if feature.match is None:
            names[feature.name] = "number"
        elif feature.of not in SHARED:
            names[feature.name] = "family"
    names |= attribute_kinds(attributes)
    for trigger in tables:
        if isinstance(trigger.raw.get("name"), str):
            names |= dict.fromkeys(fired_names(trigger.raw["name"]), "number")
    return names


def _row_of(
    aggregates: Iterable[Aggregate], ratios: Iterable[Feature], triggers: Iterable[Table], freshness: int
) -> Iterable[Feature]:
    """The features of a customer, hidden ones too, and those of triggers that are yet to be read."""
    for aggregate in aggregates:
        yield from stored(aggregate)
        yield from expand(aggregate)
    yield from ratios
    names = [table.raw["name"] for table in triggers if isinstance(table.raw.get("name"), str)]
    yield from fired_features([Trigger(name, "", ()) for name in names], freshness)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")  # said already


def _clashing(tables: Iterable[Table], triggers: Iterable[Trigger], taken: set[str]) -> None:
    """Note triggers whose features, or what counts for them, would have a name that others have."""
    for table, trigger in zip(tables, triggers, strict=True):
        for name in (*fired_names(trigger.name), f"{trigger.name}_nth"):
            if name in taken:
                table.fault(
                    "name", "a name for each feature of its own", f"{name}, which is taken", "rename one"
                )


def _unique(what: str, tables: Iterable[Table]) -> None:
    seen: set[str] = set()
    for table in tables:
        name = table.raw.get("name")
        if isinstance(name, str) and NAME.fullmatch(name):
            if name in seen:
                table.fault("name", f"a name no other {what} has", repr(name))
            seen.add(name)


def _clashes(table: Table, owner: str, names: Iterable[str], owners: dict[str, str]) -> None:
    """Note features whose names another declaration has given already."""
    for name in names:
        other = owners.setdefault(name, owner)
        if other != owner:
            table.fault(
                "name", "a name for each feature of its own", f"{name}, which {other} has", "rename one"
            )
            return  # the others clash for the same reason
