"""Reading one `[[trigger]]` of a playbook, every fault noted."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from events.contract import Contracts
from events.faults import did_you_mean
from features.declare_fields import check_condition, event_names
from features.expression import compile_expression
from features.feature import Feature
from features.grammar import BadExpression, names_in
from features.kleene import Kind
from features.ranges import Ranges
from features.table import Table
from features.time_alone import turns_true_by_time
from features.trigger import Step, Trigger

MOST_PAYLOAD = 32
"""Entries of a payload."""

MOST_NTH = 1_000_000


class Known(NamedTuple):
    """What a trigger may speak of: events, features of a customer and families with kinds, attributes.

    `features` is None when their file cannot be read: then conditions are not checked. Those that are
    `shared` count over everybody, which no trigger can watch. `row` are the features of the customer's row by
    name, `ranges` what these may hold.
    """

    contracts: Contracts
    features: Mapping[str, Kind] | None
    shared: Collection[str]
    timezone: ZoneInfo
    row: Mapping[str, Feature]
    ranges: Ranges

    def names(self, events: Collection[str]) -> dict[str, Kind] | None:
        """Names of a condition about one of these events; its fields are those that all of them have."""
        if self.features is None:
            return None
        each = [event_names(self.contracts, event, "event.") for event in events]
        common = (
            {name: kind for name, kind in each[0].items() if all(other.get(name) == kind for other in each)}
            if each
            else {}
        )
        return {**self.features, **common}


def read_trigger(table: Table, known: Known) -> Trigger:
    """The trigger as far as it can be understood."""
    name = table.identifier("name")
    table.name = f"[[trigger]] {name}" if name else table.name
    on = _on(table, known)
    names = known.names(on)
    when = _condition(table, "when", names, known)
    audience = _condition(table, "audience", None if names is None else dict(known.features or {}), known)
    after, unless = _step(table, "after", on, known), _step(table, "unless", on, known)
    wake = None
    if table.has("wake") and table.raw["wake"] != "never":
        wake = table.duration("wake", "1d") or None
    trigger = Trigger(
        name,
        table.text("meaning", " "),
        on,
        when,
        table.flag("repeats"),
        after,
        unless,
        table.duration("patience", "5s"),
        wake,
        table.whole("nth", 1, 1, MOST_NTH) if table.has("nth") else None,
        _each(table, on, known),
        table.duration("cooldown", "1s") if table.has("cooldown") else 0,
        _instant(table, "from", known.timezone),
        _instant(table, "until", known.timezone),
        audience,
        _payload(table, names, known),
    )
    _agree(table, trigger, known)
    table.done()
    return trigger


def speaks_of(text: str | None) -> frozenset[str]:
    """The names that a condition speaks of, up to their first dot; none when it cannot be understood."""
    try:
        return names_in(text) if text else frozenset()
    except BadExpression:
        return frozenset()  # said where it is checked


def _on(table: Table, known: Known) -> tuple[str, ...]:
    what = "a type of event of events.toml"
    if isinstance(table.raw.get("on"), list):
        named = table.texts("on")
        for each in named:
            if each not in known.contracts.types:
                table.fault("on", what, repr(each), did_you_mean(each, known.contracts.types))
        if not named:
            table.fault("on", f"{what}, or some", "none", "leave it out to look after every event")
        return tuple(each for each in named if each in known.contracts.types)
    if not table.has("on"):
        return ()
    one = table.one_of("on", known.contracts.types, what)
    return (one,) if one else ()


def _condition(table: Table, key: str, names: Mapping[str, Kind] | None, known: Known) -> str | None:
    text = table.optional_text(key)
    if text and names is not None:
        for name in sorted(speaks_of(text) & frozenset(known.shared)):
            expected = "features of a customer, as a trigger watches one customer at a time"
            table.fault(key, expected, f"{name}, counted over everybody", "ask it in a rule of offers.toml")
            return None
        asked = sorted(name for name in speaks_of(text) if name.startswith("event."))
        if key == "audience" and asked:
            expected = "features and attributes of the customer, as no event need be at hand when it is asked"
            table.fault(key, expected, asked[0], "ask it in `when`")
            return None
        if check_condition(table, key, text, names, known.ranges) is None:
            return None
    return text if names is not None else None


def _step(table: Table, key: str, on: tuple[str, ...], known: Known) -> Step | None:
    inner = table.table(key)
    if inner is None:
        return None
    event = inner.one_of("event", known.contracts.types, "a type of event of events.toml")
    if not inner.has("within"):
        inner.fault("within", 'a length such as "14d"', "nothing")
    within = inner.duration("within", "1d")
    same = inner.texts("same")
    both = set(event_names(known.contracts, event))
    for each in on:
        both &= event_names(known.contracts, each).keys()
    for field in same:
        if on and event and field not in both:
            expected = f"a field of both {' and '.join(dict.fromkeys((*on, event)))}"
            inner.fault("same", expected, repr(field), did_you_mean(field, sorted(both)))
    if same and not on:
        inner.fault("same", "on = ... beside it, whose fields it compares", "every event")
    when = inner.optional_text("when")
    if when and event:
        check_condition(inner, "when", when, event_names(known.contracts, event, "event."))
    inner.done()
    return Step(event, within, tuple(field for field in same if field in both), when) if event else None


def _each(table: Table, on: tuple[str, ...], known: Known) -> str | None:
    field = table.optional_text("each")
    if field is None:
        return None
    if not table.has("nth"):
        table.fault("each", "nth beside it, as it says of what each is counted apart", "nothing")
    for event in on:
        fields = known.contracts.types[event].fields
        keys = [name for name, kind in fields.items() if kind.removesuffix("?") == "category"]
        if field not in keys:
            table.fault("each", f"a category field of {event}", repr(field), did_you_mean(field, keys))
            return None
    return field


def _instant(table: Table, key: str, timezone: ZoneInfo) -> int | None:
    """An instant in ms: a date is midnight in the playbook's time zone."""
    if not table.has(key):
        return None
    written = table.raw[key]
    text = written if isinstance(written, str) else getattr(written, "isoformat", lambda: "")()
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        expected = 'a date or an instant such as "2026-12-01" or "2026-12-01T08:00Z"'
        table.fault(key, expected, repr(written))
        return None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=timezone)
    return int(instant.timestamp() * 1000)


def _payload(
    table: Table, names: Mapping[str, Kind] | None, known: Known
) -> tuple[tuple[str, str], ...] | None:
    inner = table.table("payload")
    if inner is None:
        return None
    if len(inner.raw) > MOST_PAYLOAD:
        table.fault("payload", f"at most {MOST_PAYLOAD} entries", str(len(inner.raw)))
    entries = []
    for key in inner.raw:
        text = inner.text(key)
        if names is None or not text:
            continue
        shared = sorted(speaks_of(text) & frozenset(known.shared))
        if shared:
            inner.fault(key, "features of a customer", f"{shared[0]}, counted over everybody")
            continue
        if check_condition(inner, key, text, names, any_kind=True) is not None:
            entries.append((key, text))
    inner.done()
    return tuple(entries)


def _agree(table: Table, trigger: Trigger, known: Known) -> None:
    """Note keys that do not go together."""
    if table.has("patience") and not trigger.waits:
        hint = "patience is how long an absence or a wake-up waits for what is still on its way"
        table.fault("patience", "unless or wake beside it", "neither", hint)
    if trigger.since_ms is not None and trigger.until_ms is not None and trigger.since_ms >= trigger.until_ms:
        table.fault("until", "an instant behind from", repr(table.raw["until"]), "it would never fire")
    reads = any(name != "event" for name in speaks_of(trigger.when))
    others = [key for key in ("unless", "after", "nth", "repeats") if table.raw.get(key)]
    if table.has("wake"):
        if others:
            table.fault("wake", f"no {others[0]} beside it", "both", "wake looks at `when` again by itself")
        if trigger.when is None and known.features is not None and not table.raw.get("when"):
            table.fault("wake", "when beside it, the condition that time may make true", "nothing")
        elif trigger.when is not None and not reads:
            table.fault("wake", "a feature in when, as fields of an event do not change", trigger.when)
    elif trigger.when is not None and reads and not others:
        _ask_to_wake(table, trigger, known)
    if trigger.nth is not None:
        if len(trigger.on) != 1:
            table.fault("nth", "one type of event in on, which it counts", f"{len(trigger.on) or 'every'}")
        if trigger.when is not None and reads:
            expected = "a when of event fields alone beside it, as it counts events"
            hint = "read the trigger's own count instead, NAME_fired_count"
            table.fault("nth", expected, trigger.when, hint)
        if trigger.repeats:
            table.fault("repeats", "no nth beside it", "both")


def _ask_to_wake(table: Table, trigger: Trigger, known: Known) -> None:
    """Note a condition that time alone can make true, when nobody has said whether to look then."""
    names = known.names(trigger.on)
    if names is None or trigger.when is None:
        return
    part = turns_true_by_time(compile_expression(trigger.when, names), known.row)
    if part is not None:
        expected = 'wake = "30d" or so beside it, or wake = "never" to look after events only'
        found = f"{part}, which time alone can make true"
        table.fault("wake", expected, found, "wake says how long after an event to look again")
