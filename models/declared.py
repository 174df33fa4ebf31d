"""offers.toml and its table as they are written, checked line by line before anything is compiled."""

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from events.faults import Fault, did_you_mean
from models.arbitration import STEEPEST
from models.offer import Attribute, Offer
from models.placement import KINDS, Placement

FILE = "offers.toml"
UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
PLACEMENT_KEYS = (
    "name", "offers", "limit", "silence", "temperature", "clip", "prior", "attribution", "reward", "model", "context",
)  # fmt: skip
RULE_KEYS = ("name", "when", "reason", "placements", "groups")
OFFER_KEYS = (
    "id", "name", "group", "placements", "treatments", "valid_from", "valid_to", "value", "attributes", "eligible",
)  # fmt: skip
COLUMNS = ("id", "name", "group", "value", "valid_from", "valid_to")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleText:
    """A rule as it is written; no placements and no groups means everywhere."""

    name: str
    when: str
    reason: str
    place: str
    placements: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(slots=True)
class Declared:
    """All that was declared, in the order in which it was written."""

    placements: list[Placement] = field(default_factory=list)
    rules: list[RuleText] = field(default_factory=list)
    offers: list[Offer] = field(default_factory=list)

    def plain(self) -> list[Any]:
        """Nothing but lists, dicts, texts and numbers: what the catalogue's digest is taken of."""
        offers = sorted(self.offers, key=lambda offer: offer.id)
        return [[dataclasses.asdict(each) for each in part] for part in (self.placements, self.rules, offers)]


def read(folder: Path, table: Path | None, faults: list[Fault]) -> Declared:
    """Everything that offers.toml and its table declare; faults are added to `faults`."""
    path = folder / FILE
    declared = Declared()
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        faults.append(Fault(FILE, "", "a file", "none", f"write {path}"))
        return declared
    except tomllib.TOMLDecodeError as error:
        faults.append(Fault(FILE, "", "TOML", str(error)))
        return declared
    _unknown(document, ("placement", "rule", "offer", "table"), "", faults)
    for n, entry in enumerate(_tables(document, "placement", faults), 1):
        placement = _placement(entry, f"[[placement]] {entry.get('name', n)}", faults)
        if placement:
            declared.placements.append(placement)
    for n, entry in enumerate(_tables(document, "rule", faults), 1):
        rule = _rule(entry, f"[[rule]] {entry.get('name', n)}", faults)
        if rule:
            declared.rules.append(rule)
    for n, entry in enumerate(_tables(document, "offer", faults), 1):
        offer = _offer(entry, f"[[offer]] {entry.get('id', n)}", faults)
        if offer:
            declared.offers.append(offer)
    if "table" in document:
        name = document["table"].get("file", "catalogue.parquet")
        declared.offers += _from_table(table if table is not None else folder / str(name), faults)
    _agree(declared, faults)
    return declared


def _agree(declared: Declared, faults: list[Fault]) -> None:
    """What only shows when all is read: doubles, and names that nothing answers to."""
    names = [placement.name for placement in declared.placements]
    groups = {offer.group for offer in declared.offers}
    for kind, every in (
        ("[[placement]]", names),
        ("[[rule]]", [rule.name for rule in declared.rules]),
        ("[[offer]]", [offer.id for offer in declared.offers]),
    ):
        for double in sorted(
            {name for name in every if every.count(name) > 1} if len(every) < 500 else _twice(every)
        ):
            faults.append(Fault(FILE, f"{kind} {double}", "each name once", "it twice"))
    for placement in declared.placements:
        if placement.group not in groups and declared.offers:
            hint = did_you_mean(placement.group, groups)
            faults.append(
                Fault(
                    FILE,
                    f"[[placement]] {placement.name}.offers",
                    "a group with offers",
                    placement.group,
                    hint,
                )
            )
        if placement.model not in names:
            hint = did_you_mean(placement.model, names)
            faults.append(
                Fault(FILE, f"[[placement]] {placement.name}.model", "a placement", placement.model, hint)
            )
    for rule in declared.rules:
        for name in set(rule.placements) - set(names):
            faults.append(
                Fault(FILE, f"{rule.place}.placements", "a placement", name, did_you_mean(name, names))
            )
        for name in set(rule.groups) - groups if groups else ():
            faults.append(Fault(FILE, f"{rule.place}.groups", "a group", name, did_you_mean(name, groups)))
    for offer in declared.offers:
        for name in set(offer.placements) - set(names):
            hint = did_you_mean(name, names)
            faults.append(Fault(FILE, f"[[offer]] {offer.id}.placements", "a placement", name, hint))


def _twice(every: list[str]) -> set[str]:
    seen: set[str] = set()
    return {name for name in every if name in seen or seen.add(name)}  # type: ignore[func-returns-value]


def _tables(document: Mapping[str, Any], name: str, faults: list[Fault]) -> list[dict[str, Any]]:
    entries = document.get(name, [])
    if isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries):
        return entries
    faults.append(Fault(FILE, f"[[{name}]]", "an array of tables", repr(entries)[:60], f"write [[{name}]]"))
    return []


def _unknown(entry: Mapping[str, Any], known: tuple[str, ...], place: str, faults: list[Fault]) -> None:
    for key in entry:
        if key not in known:
            faults.append(Fault(FILE, place, "a known key", key, did_you_mean(key, known)))


class _Reader:
    """Reads typed entries of one table, adding a fault for each that is absent or of another kind."""

    def __init__(self, entry: Mapping[str, Any], place: str, faults: list[Fault]) -> None:
        self.entry, self.place, self.faults = entry, place, faults

    def get(self, key: str, expected: str, fits: Any, default: Any = ...) -> Any:
        """The entry `key` when it fits; the default, or a fault, when it is absent."""
        if key not in self.entry and default is not ...:
            return default
        value = self.entry.get(key)
        if key in self.entry and fits(value):
            return value
        self.faults.append(
            Fault(FILE, f"{self.place}.{key}", expected, repr(value) if key in self.entry else "nothing")
        )
        return default if default is not ... else None

    def text(self, key: str, default: Any = ...) -> str:
        """A text that is not empty."""
        return str(
            self.get(key, "a text", lambda value: isinstance(value, str) and bool(value.strip()), default)
        )

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, or one text."""
        value = self.get(
            key,
            "a list of texts",
            lambda v: (
                isinstance(v, str) or (isinstance(v, list) and all(isinstance(each, str) for each in v))
            ),
            [],
        )
        return (value,) if isinstance(value, str) else tuple(value)

    def number(self, key: str, expected: str, above: float, to: float, default: Any = ...) -> Any:
        """A number in (above, to]."""
        return self.get(key, expected, lambda v: _is_number(v) and above < v <= to, default)

    def time(self, key: str) -> int | None:
        """An instant: ms since the epoch, or a TOML date-time with an offset."""
        value = self.get(
            key,
            "ms since the epoch or a date-time with an offset",
            lambda v: isinstance(v, int) or getattr(v, "tzinfo", None) is not None,
            None,
        )
        if value is None or isinstance(value, int):
            return value
        return round(value.timestamp() * 1000)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _placement(entry: dict[str, Any], place: str, faults: list[Fault]) -> Placement | None:
    before = len(faults)
    _unknown(entry, PLACEMENT_KEYS, place, faults)
    reader = _Reader(entry, place, faults)
    context = reader.get(
        "context",
        f"a table of names to {', '.join(KINDS)}",
        lambda v: isinstance(v, dict) and all(kind in KINDS for kind in v.values()),
        {},
    )
    attribution = reader.get("attribution", '"day" or a duration such as "7d"', _is_window, "day")
    limit = reader.get(
        "limit", "a whole number from 1 to 1000", lambda v: isinstance(v, int) and 0 < v <= 1000
    )
    temperature = reader.number("temperature", "a number above 0", 0, 1e6, 0.1)
    clip = reader.number("clip", "a number above 0", 0, 1e6, 3.0)
    if _is_number(temperature) and _is_number(clip) and clip / temperature > STEEPEST:
        faults.append(
            Fault(
                FILE,
                f"{place}.clip",
                f"at most {STEEPEST:g} x temperature",
                repr(clip),
                "exploration would vanish",
            )
        )
    placement = {
        "name": reader.text("name"),
        "group": reader.text("offers"),
        "limit": limit,
        "silence": reader.number("silence", "a value above 0", 0, 1e12, None),
        "temperature": temperature,
        "clip": clip,
        "prior": reader.get("prior", "a rate between 0 and 1", lambda v: _is_number(v) and 0 < v < 1, 0.02),
        "attribution_ms": duration(attribution),
        "reward": reader.text("reward", "conversion"),
        "model": reader.text("model", entry.get("name", "")),
        "context": context,
    }
    return Placement(**placement) if len(faults) == before else None


def _is_window(value: object) -> bool:
    if value == "day":
        return True
    return isinstance(value, str) and value[-1:] in UNITS and value[:-1].isdigit() and int(value[:-1]) > 0


def duration(text: str) -> int | None:
    """Milliseconds of "7d", "90m"; None for "day", which is until the local midnight.

    >>> duration("7d"), duration("day")
    (604800000, None)
    """
    return None if not _is_window(text) or text == "day" else int(text[:-1]) * UNITS[text[-1]]


def _rule(entry: dict[str, Any], place: str, faults: list[Fault]) -> RuleText | None:
    before = len(faults)
    _unknown(entry, RULE_KEYS, place, faults)
    reader = _Reader(entry, place, faults)
    rule = RuleText(
        name=reader.text("name"),
        when=reader.text("when"),
        reason=reader.text("reason"),
        place=place,
        placements=reader.texts("placements"),
        groups=reader.texts("groups"),
    )
    return rule if len(faults) == before else None


def _offer(entry: dict[str, Any], place: str, faults: list[Fault]) -> Offer | None:
    before = len(faults)
    _unknown(entry, OFFER_KEYS, place, faults)
    reader = _Reader(entry, place, faults)
    identity = reader.text("id")
    offer = Offer(
        id=identity,
        name=reader.text("name", identity),
        group=reader.text("group"),
        placements=reader.texts("placements"),
        treatments=reader.get("treatments", "a table for each placement", _is_treatments, {}),
        valid_from=reader.time("valid_from"),
        valid_to=reader.time("valid_to"),
        value=reader.number("value", "a number above 0", 0, 1e12, 1.0) or 1.0,
        attributes=reader.get("attributes", "a table of texts and numbers", _is_attributes, {}),
        eligible=reader.texts("eligible"),
    )
    return offer if len(faults) == before else None


def _is_treatments(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(each, dict) for each in value.values())


def _is_attributes(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(v, str) or _is_number(v) for v in value.values())


def _from_table(path: Path, faults: list[Fault]) -> list[Offer]:
    """The rows of a Parquet table; every column that is not one of `COLUMNS` is an attribute."""
    name = path.name
    if not path.exists():
        hint = f"write {path}, or name another with KAIROS_CATALOGUE"
        faults.append(Fault(FILE, "[table].file", "a Parquet file", f"no {path}", hint))
        return []
    table = pq.read_table(path)
    absent = [column for column in ("id", "name", "group", "value") if column not in table.column_names]
    if absent:
        faults.append(Fault(name, "", "the columns id, name, group, value", f"no {', '.join(absent)}"))
        return []
    offers = []
    for n, row in enumerate(table.to_pylist()):
        value = row["value"]
        if not isinstance(row["id"], str) or not row["id"] or not isinstance(row["group"], str):
            faults.append(
                Fault(name, f"row {n}", "texts for id and group", f"{row['id']!r}, {row['group']!r}")
            )
            continue
        if not _is_number(value) or not 0 < value < float("inf"):
            faults.append(Fault(name, f"row {n} ({row['id']}).value", "a number above 0", repr(value)))
            continue
        dates = {column: row.get(column) for column in ("valid_from", "valid_to")}
        wrong = [column for column, at in dates.items() if at is not None and not isinstance(at, int)]
        if wrong:
            faults.append(
                Fault(name, f"row {n} ({row['id']}).{wrong[0]}", "ms since the epoch", repr(dates[wrong[0]]))
            )
            continue
        attributes: dict[str, Attribute] = {
            column: each if isinstance(each, str) else float(each)
            for column, each in row.items()
            if column not in COLUMNS and isinstance(each, str | int | float)
        }
        offers.append(
            Offer(
                id=row["id"],
                name=str(row["name"]),
                group=row["group"],
                valid_from=dates["valid_from"],
                valid_to=dates["valid_to"],
                value=float(value),
                attributes=attributes,
            )
        )
    return offers
