"""What a playbook promises about each type of event, and the check of one event against it."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from events.codec import MAX_ID, YEAR_10000, BadEvent, CloudEvent, parse_time, render_time, shown
from events.envelope import Field
from events.faults import Fault, did_you_mean
from events.fields import KINDS
from events.toml_places import TomlPlaces
from events.topics import OWN

FARTHEST = 3_124_224_000_000
"""2069-01-01: the first instant no event may have when its reader has no clock to compare with (ms)."""

FILE = "events.toml"
_ID_TEXT = f"a text of 1 to {MAX_ID} characters"
_INSTANT = "an RFC 3339 instant with an offset"
_KEYS = ("topic", "id", "time", "customer", "fields", "link", "meaning")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TOPIC = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


class Raw(NamedTuple):
    """A valid event whose customer is not yet resolved: `ids` are (kind, value), in the declared order."""

    type: str
    id: str
    time: int
    ids: list[tuple[str, str]]
    fields: dict[str, Field]
    link: bool


class EventType(msgspec.Struct, frozen=True):
    """The contract of one type of event.

    `id_field` and `time_field` name members of `data`; None: the CloudEvent's own id (within its
    source) and time count. `customer` maps kinds of id to members, any of which names the customer.
    `fields` maps members to kinds; a kind with `?` may be missing. `link` events join their ids.
    """

    name: str
    topic: str
    id_field: str | None
    time_field: str | None
    customer: dict[str, str]
    fields: dict[str, str]
    link: bool = False
    meaning: str = ""


class _Check:
    """One contract, laid out for speed: each event of a stream passes here."""

    __slots__ = ("customer", "fields", "id_field", "link", "name", "time_field")

    def __init__(self, event: EventType) -> None:
        self.name = event.name
        self.id_field = event.id_field
        self.time_field = event.time_field
        self.link = event.link
        self.customer = tuple(event.customer.items())
        self.fields = tuple(
            (name, KINDS[kind.removesuffix("?")].convert, kind) for name, kind in event.fields.items()
        )


class Contracts:
    """The contracts of a playbook, by type of event; `topics` are those the events come on, sorted."""

    def __init__(self, types: Iterable[EventType]) -> None:
        self.types: dict[str, EventType] = {event.name: event for event in types}
        self.topics: tuple[str, ...] = tuple(sorted({event.topic for event in self.types.values()}))
        self._checks = {name: _Check(event) for name, event in self.types.items()}

    def validate(self, event: CloudEvent, now_ms: int | None, max_future_ms: int = 300_000) -> Raw:
        """The event as its contract promises it.

        An event more than `max_future_ms` past `now_ms` is refused as `future`; with no clock to
        compare with (None) only a time from `FARTHEST` on is. Errors: `BadEvent`.
        """
        check = self._checks.get(event.type)
        if check is None:
            hint = did_you_mean(event.type, self._checks)
            raise BadEvent("unknown_type", "type", f"a declared type ({hint})", shown(event.type))
        data = event.data
        ident = f"{event.source} {event.id}" if check.id_field is None else _id(data, check.id_field)
        time = event.time if check.time_field is None else _time(data, check.time_field)
        latest = FARTHEST - 1 if now_ms is None else now_ms + max_future_ms
        if time is None or not 0 <= time <= latest:
            raise _bad_time(check.time_field, time, latest)
        ids = []
        for kind, member in check.customer:
            value = data.get(member)
            if type(value) is int:
                value = str(value)
            if type(value) is str and 0 < len(value) <= MAX_ID:
                ids.append((kind, value))
            elif value is not None:
                raise BadEvent("no_customer", f"data.{member}", _ID_TEXT, shown(value))
        if len(ids) <= check.link:
            members = ", ".join(f"data.{member}" for _, member in check.customer)
            expected = f"{'two' if check.link else 'one'} or more of {members}"
            raise BadEvent("no_customer", "data", expected, f"only {ids[0][0]}" if ids else "none")
        fields: dict[str, Field] = {}
        for name, convert, kind in check.fields:
            value = data.get(name)
            if value is not None:
                fields[name] = convert(name, value)
            elif kind[-1] == "?":
                fields[name] = None
            else:
                raise BadEvent("missing_field", f"data.{name}", KINDS[kind].expected, "none")
        return Raw(check.name, ident, time, ids, fields, check.link)


def load_contracts(folder: Path) -> tuple[Contracts, list[Fault]]:
    """The contracts of the playbook in `folder`, and every fault of its `events.toml` at once.

    Types with faults are left out, so that other files can be checked against the rest.
    """
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8")
        tables = tomllib.loads(text)
    except FileNotFoundError:
        hint = "declare the playbook's types of event in it"
        return Contracts([]), [Fault(str(path), "", "a file", "none", hint)]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return Contracts([]), [Fault(str(path), "", "TOML", str(error), "mend it there first")]
    faults: list[Fault] = []
    types = []
    places = TomlPlaces(text)
    for name, table in tables.items():
        mine = _Faults(path, places, name)
        event = _event_type(name, table, mine)
        faults.extend(mine.found)
        if not mine.found:
            types.append(event)
    if not tables:
        hint = "add a table such as [purchase]"
        faults.append(Fault(str(path), "", "at least one type of event", "none", hint))
    return Contracts(types), faults


def _id(data: Mapping[str, Any], member: str) -> str:
    value = data.get(member)
    if type(value) is int:
        value = str(value)
    if type(value) is str and 0 < len(value) <= MAX_ID:
        return value
    raise BadEvent("no_id", f"data.{member}", _ID_TEXT, shown(value))


def _time(data: Mapping[str, Any], member: str) -> int | None:
    value = data.get(member)
    if value is None:
        return None
    try:
        return parse_time(value)
    except ValueError:
        raise BadEvent("wrong_type", f"data.{member}", _INSTANT, shown(value)) from None


def _bad_time(member: str | None, time: int | None, latest: int) -> BadEvent:
    place = "time" if member is None else f"data.{member}"
    if time is None:
        return BadEvent("missing_field", place, _INSTANT, "none")
    if time < 0:
        return BadEvent("out_of_range", place, "an instant from 1970 on", f"{time} ms")
    found = render_time(time) if time < YEAR_10000 else f"{time} ms"
    return BadEvent("future", place, f"an instant up to {render_time(latest)}", found)


class _Faults:
    """The faults of one type's table, each with the line it stands on."""

    def __init__(self, path: Path, places: TomlPlaces, name: str) -> None:
        self.found: list[Fault] = []
        self._path = str(path)
        self._places = places
        self._name = name

    def add(self, keys: tuple[str, ...], expected: str, found: object, hint: str = "") -> None:
        line = self._places.line(self._name, *keys)
        place = f"line {line}: " + ".".join((f"[{self._name}]", *keys))
        self.found.append(Fault(self._path, place, expected, shown(found), hint))


def _event_type(name: str, table: Any, faults: _Faults) -> EventType:
    if not _NAME.fullmatch(name):
        faults.add((), "a name of small letters, digits and _", name, "rename the type")
    if not isinstance(table, dict):
        faults.add((), f"a table [{name}]", table)
        table = {}
    for key in table:
        if key not in _KEYS:
            faults.add((key,), "a known key", key, did_you_mean(key, _KEYS))
    topic = _text(table, "topic", faults)
    if topic is None:
        if "topic" not in table:
            faults.add(("topic",), "the topic that the event comes on", None)
    elif topic in OWN or not _TOPIC.fullmatch(topic):
        faults.add(("topic",), "a topic of the domain's own (letters, digits, . _ -)", topic, "rename it")
    link = table.get("link", False)
    if not isinstance(link, bool):
        faults.add(("link",), "true or false", link)
    customer = _names(table, "customer", faults)
    declared = table.get("customer", {})
    if isinstance(declared, dict) and len(declared) <= (link is True):
        expected = f"{'two or more ids' if link is True else 'an id'} of the customer"
        faults.add(("customer",), expected, declared, 'name them: customer = { card = "card_token" }')
    fields = _names(table, "fields", faults)
    for field, kind in fields.items():
        if kind.removesuffix("?") not in KINDS:
            faults.add(("fields", field), "a kind of field", kind, did_you_mean(kind, KINDS))
    return EventType(
        name,
        topic or "",
        _text(table, "id", faults),
        _text(table, "time", faults),
        customer,
        fields,
        link is True,
        _text(table, "meaning", faults) or "",
    )


def _text(table: Mapping[str, Any], key: str, faults: _Faults) -> str | None:
    value = table.get(key)
    if value is None or (isinstance(value, str) and value):
        return value
    faults.add((key,), "a text", value)
    return None


def _names(table: Mapping[str, Any], key: str, faults: _Faults) -> dict[str, str]:
    """The good entries of a table of texts."""
    value = table.get(key, {})
    if not isinstance(value, dict):
        faults.add((key,), "a table of names", value)
        return {}
    good = {}
    for name, text in value.items():
        if not _NAME.fullmatch(name):
            faults.add((key, name), "a name of small letters, digits and _", name, "rename it")
        elif not isinstance(text, str) or not text:
            faults.add((key, name), "a text", text)
        else:
            good[name] = text
    return good
