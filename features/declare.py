"""What a playbook declares: loaded, checked whole, every fault said at once."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from events.contract import Contracts, load_contracts
from events.faults import Fault, PlaybookRefused, did_you_mean
from features.duration import DAY, MINUTE, render_duration
from features.expression import BadExpression, compile_expression
from features.feature import FUNCTIONS, MOMENTS, NEEDS_VALUE, Aggregate, Feature, expand
from features.kleene import Kind
from features.table import NAME, File, Table

MAX_WINDOWS = 8
"""Windows, and half-lives, of one aggregate."""

LONGEST = 400 * DAY
"""No window is longer: a state must stay small."""

_KINDS: Mapping[str, Kind] = {
    "decimal": "decimal",
    "integer": "number",
    "time": "number",
    "boolean": "boolean",
    "category": "category",
    "text": "category",
}


class Absence(NamedTuple):
    """What must not happen: an `event` within so long, agreeing in the fields `same`."""

    event: str
    within_ms: int
    same: tuple[str, ...]


class Trigger(NamedTuple):
    """When to act without being asked; lengths of time in ms."""

    name: str
    meaning: str
    on: str
    when: str | None
    unless: Absence | None
    patience_ms: int
    cooldown_ms: int


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
    aggregates = [_aggregate(table, contracts, freshness) for table in file.tables("aggregate")]
    _unique("aggregate", file.tables("aggregate"))
    features = [feature for aggregate in aggregates for feature in expand(aggregate)]
    faults.extend(_clashes(features, file.name))
    file = File(folder, "triggers.toml", faults, mandatory=False)
    file.top().done()
    file.only("trigger")
    plain = [feature.name for feature in features if feature.match is None]
    triggers = [_trigger(table, contracts, plain) for table in file.tables("trigger")]
    _unique("trigger", file.tables("trigger"))
    if faults:
        raise PlaybookRefused(faults)
    return Playbook(
        name, timezone, lateness, freshness, contracts, tuple(aggregates), tuple(triggers), folder.resolve()
    )


def event_names(contracts: Contracts, event: str, prefix: str = "") -> dict[str, Kind]:
    """The fields of an event as names of an expression; a decimal is named so, as it is kept scaled."""
    declared = contracts.types.get(event)
    if declared is None:
        return {}
    return {prefix + field: _KINDS[kind.removesuffix("?")] for field, kind in declared.fields.items()}


def _aggregate(table: Table, contracts: Contracts, freshness: int) -> Aggregate:
    name = table.identifier("name")
    table.name = f"[[aggregate]] {name}" if name else table.name
    if table.has("of") and table.text("of") != "customer":
        table.fault(
            "of", '"customer" (offers, groups and pairs come with a later release)', repr(table.raw["of"])
        )
    event = table.one_of("event", contracts.types, "a type of event of events.toml")
    fields = event_names(contracts, event)
    functions = tuple(f for f in table.texts("functions") if _known_function(table, f))
    if not table.raw.get("functions"):
        table.fault("functions", f"some of {', '.join(FUNCTIONS)}", "none")
    value = table.optional_text("value")
    numbers = [field for field, kind in fields.items() if kind in ("decimal", "number")]
    if value and event and value not in numbers:
        table.fault("value", f"a number field of {event}", repr(value), did_you_mean(value, numbers))
    needing = [function for function in functions if function in NEEDS_VALUE]
    if needing and not value:
        table.fault("value", f"a number field, as {', '.join(needing)} needs one", "nothing")
    where = table.optional_text("where")
    if where and event:
        _check(table, "where", where, fields)
    by, match = table.optional_text("by"), table.optional_text("match")
    keys = [field for field, kind in fields.items() if kind == "category"]
    if by and event and by not in keys:
        table.fault("by", f"a category field of {event}", repr(by), did_you_mean(by, keys))
    if by and not match:
        table.fault("match", "the offer's attribute that picks the key of this family", "nothing")
    if match and not by:
        table.fault("by", "the field that keys this family, as match is given", "nothing")
    windows, half_lives = table.durations("windows"), table.durations("half_lives")
    for key, lengths in (("windows", windows), ("half_lives", half_lives)):
        if len(lengths) > MAX_WINDOWS:
            table.fault(key, f"at most {MAX_WINDOWS}", str(len(lengths)))
        for length in lengths:
            if not MINUTE <= length <= LONGEST:
                table.fault(key, 'lengths from "1m" to "400d"', render_duration(length))
    ever = table.flag("ever")
    spans = [function for function in functions if function not in MOMENTS]
    if spans and not (windows or half_lives or ever):
        table.fault("windows", f"windows, half_lives or ever for {', '.join(spans)}", "none")
    extremes = [function for function in functions if function in ("min", "max")]
    if extremes and not (windows or ever):
        table.fault("windows", f"windows or ever, as {', '.join(extremes)} has no half-life", "none")
    aggregate = Aggregate(
        name,
        event,
        value,
        where,
        functions,
        by,
        match,
        windows,
        half_lives,
        ever,
        table.text("unit"),
        table.text("meaning"),
        _defaults(table, functions),
        table.duration("freshness", render_duration(freshness)) if freshness else 0,
    )
    table.done()
    return aggregate


def _known_function(table: Table, function: str) -> bool:
    if function not in FUNCTIONS:
        table.fault(
            "functions", f"some of {', '.join(FUNCTIONS)}", repr(function), did_you_mean(function, FUNCTIONS)
        )
    return function in FUNCTIONS


def _defaults(table: Table, functions: tuple[str, ...]) -> dict[str, float]:
    """A default is one number for every function, or a table of them."""
    if not table.has("default"):
        return {}
    if not isinstance(table.raw["default"], dict):
        return dict.fromkeys(functions, table.number("default"))
    inner = table.table("default")
    assert inner is not None
    defaults = {function: inner.number(function) for function in functions if inner.has(function)}
    inner.done()
    return defaults


def _trigger(table: Table, contracts: Contracts, features: Iterable[str]) -> Trigger:
    name = table.identifier("name")
    table.name = f"[[trigger]] {name}" if name else table.name
    on = table.one_of("on", contracts.types, "a type of event of events.toml")
    when = table.optional_text("when")
    if when and on:
        names: dict[str, Kind] = dict.fromkeys(features, "number")
        _check(table, "when", when, names | event_names(contracts, on, "event."))
    inner = table.table("unless")
    unless = None
    if inner is not None:
        other = inner.one_of("event", contracts.types, "a type of event of events.toml")
        if not inner.has("within"):
            inner.fault("within", 'a length such as "14d"', "nothing")
        within = inner.duration("within", "1d")
        same = inner.texts("same")
        shared = event_names(contracts, on).keys() & event_names(contracts, other).keys()
        for field in same:
            if on and other and field not in shared:
                inner.fault(
                    "same", f"a field of both {on} and {other}", repr(field), did_you_mean(field, shared)
                )
        inner.done()
        unless = Absence(other, within, same)
    if table.has("patience") and unless is None:
        table.fault(
            "patience", "unless = { ... } beside it", "nothing", "patience is how long an absence waits"
        )
    trigger = Trigger(
        name,
        table.text("meaning", " "),
        on,
        when,
        unless,
        table.duration("patience", "5s"),
        table.duration("cooldown", "1s") if table.has("cooldown") else 0,
    )
    table.done()
    return trigger


def _check(table: Table, key: str, text: str, names: Mapping[str, Kind]) -> None:
    try:
        kind = compile_expression(text, names).kind
    except BadExpression as error:
        table.faults.append(
            Fault(
                table.file,
                f"{table.place(key)}, character {error.at}",
                error.expected,
                error.found,
                error.hint,
            )
        )
        return
    if kind != "boolean":
        table.fault(key, "a condition, true or false", f"a {kind}")


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
