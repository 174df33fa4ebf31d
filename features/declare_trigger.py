"""Reading one `[[trigger]]` of a playbook, every fault noted."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from events.contract import Contracts
from events.faults import did_you_mean
from features.declare_fields import check_condition, event_names
from features.grammar import BadExpression, names_in
from features.kleene import Kind
from features.table import Table


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


def read_trigger(
    table: Table, contracts: Contracts, features: Iterable[str] | None, shared: Collection[str] = ()
) -> Trigger:
    """The trigger; `features` are the names its condition may use beside the fields of its event.

    None: they are not known, as their file cannot be read, and the condition is not checked. Those of them
    that are `shared` count over everybody, which no trigger can watch.
    """
    name = table.identifier("name")
    table.name = f"[[trigger]] {name}" if name else table.name
    on = table.one_of("on", contracts.types, "a type of event of events.toml")
    when = table.optional_text("when")
    if when and on and features is not None:
        names: dict[str, Kind] = dict.fromkeys(features, "number")
        check_condition(table, "when", when, names | event_names(contracts, on, "event."))
        for name in _spoken(when) & frozenset(shared):
            expected = "features of a customer, as a trigger watches one customer at a time"
            hint = "ask it in a rule of offers.toml"
            table.fault("when", expected, f"{name}, counted over everybody", hint)
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


def _spoken(condition: str) -> frozenset[str]:
    try:
        return frozenset(names_in(condition))
    except BadExpression:
        return frozenset()  # said already
