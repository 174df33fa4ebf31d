"""Reading one `[[aggregate]]` of a playbook, every fault noted."""

from collections.abc import Mapping

from events.contract import Contracts
from events.faults import did_you_mean
from features.declare_family import check_shared, read_family, read_keys
from features.declare_fields import check_condition, event_names
from features.duration import DAY, MINUTE, render_duration
from features.feature import (
    DECAYED,
    FUNCTIONS,
    MOMENTS,
    NEEDS_VALUE,
    PERCENTILES,
    SHARED,
    Aggregate,
    total_of,
)
from features.table import Table

MAX_WINDOWS = 8
"""Windows, and half-lives, of one aggregate."""

MAX_PERCENTILES = 5
"""Percentiles of one aggregate: each is counted when a row is read."""

KNOWN = f"{', '.join(FUNCTIONS)}, p1 to p99"

LONGEST = 400 * DAY
"""No window is longer: a state must stay small."""


def read_aggregate(table: Table, contracts: Contracts, freshness: int) -> Aggregate:
    """The aggregate; `freshness` (ms) is the limit of its values unless it says its own."""
    name = table.identifier("name")
    table.name = f"[[aggregate]] {name}" if name else table.name
    event = table.one_of("event", contracts.types, "a type of event of events.toml")
    kinds = contracts.types[event].fields if event else {}
    declared = tuple(f for f in table.texts("functions") if _known_function(table, f))
    if not table.raw.get("functions"):
        table.fault("functions", f"some of {KNOWN}", "none")
    value = _value(table, event, kinds, declared)
    where = table.optional_text("where")
    if where and event:
        check_condition(table, "where", where, event_names(contracts, event))
    of, by, match = read_family(table, event, kinds, declared)
    windows, half_lives, ever = _lengths(table, declared)
    if of in SHARED:
        check_shared(table, declared, windows, half_lives, ever)
    trends = _trends(table, windows, declared)
    functions = tuple(function for function in declared if function != "share")
    amount = "sum" if value else "count"
    if (trends or "share" in declared) and amount not in functions:
        functions = (*functions, amount)
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
        _defaults(table, (*declared, *(("trend",) if trends else ()))),
        table.duration("freshness", render_duration(freshness)) if freshness else 0,
        declared,
        of,
        read_keys(table, of, by, declared),
        trends,
    )
    table.done()
    return aggregate


def with_total(aggregate: Aggregate, contracts: Contracts) -> tuple[Aggregate, ...]:
    """The aggregate, and behind it the total that its shares are shares of, if it has any."""
    where, by = aggregate.where, aggregate.by
    if by and aggregate.event and contracts.types[aggregate.event].fields.get(by, "").endswith("?"):
        keyed = f"!is_missing({by})"
        where = keyed if where is None else f"({where}) && {keyed}"
    total = total_of(aggregate, where)
    return (aggregate,) if total is None else (aggregate, total)


def _known_function(table: Table, function: str) -> bool:
    known = function in FUNCTIONS or function in PERCENTILES
    if not known:
        table.fault("functions", f"some of {KNOWN}", repr(function), did_you_mean(function, FUNCTIONS))
    return known


def _value(table: Table, event: str, kinds: Mapping[str, str], declared: tuple[str, ...]) -> str | None:
    """The field the functions are of: a number, or for distinct what has few enough different values."""
    value = table.optional_text("value")
    what, kept = "number", {"decimal", "integer", "time"}
    if "distinct" in declared:
        what, kept = "category, integer or text", {"category", "integer", "text"}
        if len(declared) > 1:
            hint = "give distinct an aggregate of its own"
            table.fault("functions", "distinct alone", ", ".join(declared), hint)
    percentiles = [function for function in declared if function in PERCENTILES]
    if percentiles:
        what, kept = "decimal or integer", {"decimal", "integer"}
        if len(percentiles) < len(declared):
            found = ", ".join(declared)
            table.fault("functions", "percentiles alone", found, "give them an aggregate of their own")
        if len(percentiles) > MAX_PERCENTILES:
            table.fault("functions", f"at most {MAX_PERCENTILES} percentiles", str(len(percentiles)))
    fields = [field for field, kind in kinds.items() if kind.removesuffix("?") in kept]
    if value and event and value not in fields:
        table.fault("value", f"a {what} field of {event}", repr(value), did_you_mean(value, fields))
    needing = [function for function in declared if function in NEEDS_VALUE or function in PERCENTILES]
    if needing and not value:
        table.fault("value", f"a {what} field, as {', '.join(needing)} needs one", "nothing")
    return value


def _lengths(table: Table, declared: tuple[str, ...]) -> tuple[tuple[int, ...], tuple[int, ...], bool]:
    windows, half_lives = table.durations("windows"), table.durations("half_lives")
    for key, lengths in (("windows", windows), ("half_lives", half_lives)):
        if len(lengths) > MAX_WINDOWS:
            table.fault(key, f"at most {MAX_WINDOWS}", str(len(lengths)))
        for length in lengths:
            if not MINUTE <= length <= LONGEST:
                table.fault(key, 'lengths from "1m" to "400d"', render_duration(length))
    ever = table.flag("ever")
    spans = [function for function in declared if function not in MOMENTS]
    # What is written and wrong has been said already.
    if spans and not (table.raw.get("windows") or table.raw.get("half_lives") or ever):
        table.fault("windows", f"windows, half_lives or ever for {', '.join(spans)}", "none")
    undecayed = [function for function in spans if function not in DECAYED]
    if undecayed and half_lives and not (table.raw.get("windows") or ever):
        verb = "has" if len(undecayed) == 1 else "have"
        table.fault("windows", f"windows or ever, as {', '.join(undecayed)} {verb} no half-life", "none")
    if "distinct" in declared and half_lives:
        table.fault("half_lives", "no half-lives, as distinct has none", ", ".join(table.texts("half_lives")))
    if half_lives and any(function in PERCENTILES for function in declared):
        found = ", ".join(table.texts("half_lives"))
        table.fault("half_lives", "no half-lives, as percentiles have none", found)
    return windows, half_lives, ever


def _trends(table: Table, windows: tuple[int, ...], declared: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    trends = table.duration_pairs("trends")
    known = [render_duration(window) for window in windows]
    for pair in trends:
        for length in map(render_duration, pair):
            if length not in known:
                table.fault("trends", "lengths that are among windows", length, did_you_mean(length, known))
        if pair[0] >= pair[1]:
            shown = " and ".join(map(render_duration, pair))
            table.fault("trends", "the recent window first, then a longer one", shown)
    if trends and "distinct" in declared:
        table.fault("trends", "sums or counts to compare", "distinct")
    if trends and any(function in PERCENTILES for function in declared):
        table.fault("trends", "sums or counts to compare", "percentiles")
    return trends


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
