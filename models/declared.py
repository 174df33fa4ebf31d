"""offers.toml as it is written: placements, rules and offers, checked table by table."""

import dataclasses
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from events.faults import Fault, did_you_mean
from features.duration import parse_duration
from features.kleene import Kind
from features.table import File, Table
from models.arbitration import STEEPEST
from models.offer import Attribute, Offer
from models.offer_table import read_offers
from models.placement import KINDS, Placement

FILE = "offers.toml"
MOST_SLOTS = 1_000


@dataclass(frozen=True, slots=True)
class RuleText:
    """A rule as it is written, and where; no placements and no groups means everywhere."""

    name: str
    when: str
    reason: str
    place: str
    placements: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(slots=True)
class Declared:
    """All that a playbook says about its offers, in the order in which it says it."""

    placements: list[Placement] = field(default_factory=list)
    rules: list[RuleText] = field(default_factory=list)
    offers: list[Offer] = field(default_factory=list)

    def plain(self) -> list[Any]:
        """Lists, texts and numbers only: what the catalogue's digest is taken of."""
        rules = [dataclasses.replace(rule, place="") for rule in self.rules]
        offers = sorted(self.offers, key=lambda offer: offer.id)
        parts: tuple[Iterable[Any], ...] = (self.placements, rules, offers)
        return [[dataclasses.asdict(each) for each in part] for part in parts]


def read(folder: Path, table: Path | None, faults: list[Fault]) -> Declared:
    """Everything that offers.toml and its table declare; `table` overrides where that is."""
    file = File(folder, FILE, faults)
    file.only("placement", "rule", "offer")
    top = file.top()
    name = top.optional_text("table")
    top.done()
    placements = [(_placement(each), each) for each in file.tables("placement")]
    rules = [(_rule(each), each) for each in file.tables("rule")]
    offers = [(_offer(each), each) for each in file.tables("offer")]
    declared = Declared([p for p, _ in placements], [r for r, _ in rules], [o for o, _ in offers])
    if name is not None:
        declared.offers += read_offers(table if table is not None else folder / name, faults)
        if faults and not declared.offers:
            return declared  # without offers every placement and rule would look wrong
    names = [placement.name for placement in declared.placements]
    groups = sorted({offer.group for offer in declared.offers})
    for placement, written in placements:
        _known(written, "offers", [placement.group], groups, "a group that has offers")
        _known(written, "model", [placement.model], names, "a placement")
    for rule, written in rules:
        _known(written, "placements", rule.placements, names, "a placement")
        _known(written, "groups", rule.groups, groups, "a group that has offers")
    for offer, written in offers:
        _known(written, "placements", offer.placements, names, "a placement")
        _known(written, "treatments", offer.treatments, names, "a placement")
    for kind, each_name in (
        ("[[placement]]", names),
        ("[[rule]]", [rule.name for rule in declared.rules]),
        ("offers", [offer.id for offer in declared.offers]),
    ):
        faults += [
            Fault(file.name, kind, "each name once", f"{twice} {count} times")
            for twice, count in Counter(each_name).items()
            if count > 1 and twice
        ]
    return declared


def _known(written: Table, key: str, names: Iterable[str], known: list[str], what: str) -> None:
    for name in names:
        if name and name not in known:
            written.fault(key, what, name, did_you_mean(name, known))


def _placement(table: Table) -> Placement:
    name = table.identifier("name")
    temperature = table.number("temperature", 0.1)
    clip = table.number("clip", 3.0)
    if temperature <= 0:
        table.fault("temperature", "a number above 0", f"{temperature:g}")
    elif not 0 < clip <= STEEPEST * temperature:
        table.fault(
            "clip", f"above 0 and at most {STEEPEST:g} x temperature", f"{clip:g}", "exploration vanishes"
        )
    limit = table.number("limit")
    if table.has("limit") and not (limit.is_integer() and 1 <= limit <= MOST_SLOTS):
        table.fault("limit", f"a whole number from 1 to {MOST_SLOTS}", f"{limit:g}")
    silence = table.number("silence", 1.0) if table.has("silence") else None
    if silence is not None and silence <= 0:
        table.fault("silence", "a value above 0", f"{silence:g}", "leave it out to always say something")
    prior = table.number("prior", 0.02)
    if not 0 < prior < 1:
        table.fault("prior", "a rate between 0 and 1", f"{prior:g}")
    placement = Placement(
        name=name,
        group=table.text("offers"),
        limit=int(limit),
        silence=silence,
        temperature=temperature,
        clip=clip,
        prior=prior,
        attribution_ms=_attribution(table),
        reward=table.text("reward", "conversion"),
        model=table.text("model", name),
        context=_context(table),
    )
    table.done()
    return placement


def _attribution(table: Table) -> int | None:
    text = table.text("attribution", "day")
    if text == "day":
        return None
    try:
        return parse_duration(text)
    except ValueError:
        table.fault("attribution", '"day", or a length such as "12h" or "7d"', repr(text))
        return None


def _context(table: Table) -> dict[str, Kind]:
    context: dict[str, Kind] = {}
    written = table.table("context")
    for name in written.raw if written else ():
        assert written is not None
        kind = written.one_of(name, KINDS, f"one of {', '.join(KINDS)}")
        context.update((name, each) for each in KINDS if each == kind)
    return context


def _rule(table: Table) -> RuleText:
    rule = RuleText(
        name=table.identifier("name"),
        when=table.text("when"),
        reason=table.text("reason"),
        place=table.place("when"),
        placements=table.texts("placements"),
        groups=table.texts("groups"),
    )
    table.done()
    return rule


def _offer(table: Table) -> Offer:
    identity = table.text("id")
    value = table.number("value", 1.0)
    if value <= 0:
        table.fault("value", "a number above 0", f"{value:g}")
    offer = Offer(
        id=identity,
        name=table.text("name", identity),
        group=table.text("group"),
        placements=table.texts("placements"),
        treatments=_treatments(table),
        valid_from=_instant(table, "valid_from"),
        valid_to=_instant(table, "valid_to"),
        value=value,
        attributes=_attributes(table),
        eligible=table.texts("eligible"),
    )
    table.done()
    return offer


def _instant(table: Table, key: str) -> int | None:
    """A TOML date-time with an offset, or ms since the epoch."""
    value = table.raw.get(key) if table.has(key) else None
    if isinstance(value, datetime) and value.tzinfo is not None:
        return round(value.timestamp() * 1000)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    table.fault(key, "a date-time with an offset, such as 2026-03-01T00:00:00Z", str(value))
    return None


def _attributes(table: Table) -> dict[str, Attribute]:
    attributes: dict[str, Attribute] = {}
    written = table.table("attributes")
    for name, value in written.raw.items() if written else ():
        assert written is not None
        attributes[name] = written.text(name) if isinstance(value, str) else written.number(name)
    return attributes


def _treatments(table: Table) -> dict[str, dict[str, str]]:
    treatments: dict[str, dict[str, str]] = {}
    written = table.table("treatments")
    for placement in written.raw if written else ():
        assert written is not None
        inner = written.table(placement)
        treatments[placement] = {key: inner.text(key) for key in inner.raw} if inner else {}
    return treatments
