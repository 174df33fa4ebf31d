"""What a playbook declares: loaded, checked whole, every fault said at once."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from events.contract import Contracts, load_contracts
from events.faults import Fault, PlaybookRefused
from features.declare_aggregate import read_aggregate
from features.declare_trigger import Absence, Trigger, read_trigger
from features.feature import Aggregate, Feature, expand
from features.table import NAME, File, Table

__all__ = ["Absence", "Aggregate", "Feature", "Playbook", "Trigger", "load"]


class Playbook(NamedTuple):
    """A business as its people declare it; `freshness_ms` is the limit of values that declare none."""

    name: str
    timezone: str
    lateness_ms: int
    freshness_ms: int
    contracts: Contracts
    aggregates: tuple[Aggregate, ...]
    triggers: tuple[Trigger, ...]
    folder: Path


def load(folder: Path) -> Playbook:
    """Read `playbook.toml`, `events.toml` and `triggers.toml` of the folder.

    Errors: `PlaybookRefused` with every fault of every file.
    """
    contracts, faults = load_contracts(folder)
    file = File(folder, "playbook.toml", faults)
    top = file.top()
    file.only("aggregate")
    name = top.identifier("name")
    timezone = top.text("timezone", "UTC")
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError):
        top.fault("timezone", "a time zone such as America/New_York", repr(timezone))
    lateness = top.duration("lateness", "1d")
    freshness = top.duration("freshness", "2d")
    top.done()
    aggregates = [read_aggregate(table, contracts, freshness) for table in file.tables("aggregate")]
    _unique("aggregate", file.tables("aggregate"))
    features = [feature for aggregate in aggregates for feature in expand(aggregate)]
    faults.extend(_clashes(features, file.name))
    file = File(folder, "triggers.toml", faults, mandatory=False)
    file.top().done()
    file.only("trigger")
    plain = [feature.name for feature in features if feature.match is None]
    triggers = [read_trigger(table, contracts, plain) for table in file.tables("trigger")]
    _unique("trigger", file.tables("trigger"))
    if faults:
        raise PlaybookRefused(faults)
    return Playbook(
        name, timezone, lateness, freshness, contracts, tuple(aggregates), tuple(triggers), folder.resolve()
    )


def _unique(what: str, tables: Iterable[Table]) -> None:
    seen: set[str] = set()
    for table in tables:
        name = table.raw.get("name")
        if isinstance(name, str) and NAME.fullmatch(name):
            if name in seen:
                table.fault("name", f"a name no other {what} has", repr(name))
            seen.add(name)


def _clashes(features: Iterable[Feature], file: str) -> list[Fault]:
    owners: dict[str, str] = {}
    faults = []
    for feature in features:
        owner = owners.setdefault(feature.name, feature.aggregate)
        if owner != feature.aggregate:
            found = f"{feature.name} from both {owner} and {feature.aggregate}"
            faults.append(Fault(file, "", "a name for each feature of its own", found, "rename one"))
    return faults
