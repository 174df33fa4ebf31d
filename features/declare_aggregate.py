"""Reading one `[[aggregate]]` of a playbook, every fault noted."""

from events.contract import Contracts
from events.faults import did_you_mean
from features.declare_fields import check_condition, event_names
from features.duration import DAY, MINUTE, render_duration
from features.feature import FUNCTIONS, MOMENTS, NEEDS_VALUE, Aggregate
from features.table import Table

MAX_WINDOWS = 8
"""Windows, and half-lives, of one aggregate."""

LONGEST = 400 * DAY
"""No window is longer: a state must stay small."""


def read_aggregate(table: Table, contracts: Contracts, freshness: int) -> Aggregate:
    """The aggregate; `freshness` (ms) is the limit of its values unless it says its own."""
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
        check_condition(table, "where", where, fields)
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
