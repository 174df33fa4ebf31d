"""What may be said, where and under which rules: a playbook's offers.toml, checked whole."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from events.faults import Fault, PlaybookRefused, did_you_mean
from features.expression import BadExpression, compile_expression
from features.kleene import Kind
from features.plan import Plan
from models.assortment import ALWAYS, CLOCK, DATES, NEVER, Assortment, numeric
from models.declared import Declared, RuleText, read
from models.eligibility import Mask, Rule, Rules
from models.offer import Offer
from models.placement import Placement
from models.scorer import Columns

FILE = "offers.toml"
# What every offer has, beside its declared attributes.
INNATE: Mapping[str, Kind] = {"id": "category", "name": "category", "group": "category", "value": "number"}


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything that may be said: an assortment a placement, and the digest of it all.

    `version` (16 hex characters) changes with any offer, rule or placement; `plan` is the digest of
    the features it was compiled against.
    """

    version: str
    plan: str
    zone: ZoneInfo
    assortments: Mapping[str, Assortment]

    def assortment(self, placement: str) -> Assortment:
        """The offers of `placement`; KeyError names the placements there are."""
        try:
            return self.assortments[placement]
        except KeyError:
            known = did_you_mean(placement, self.assortments)
            raise KeyError(
                f"placement: expected one of the catalogue's, found {placement!r}; {known}"
            ) from None

    @property
    def placements(self) -> dict[str, Placement]:
        """Every placement by its name."""
        return {name: each.placement for name, each in self.assortments.items()}


def load(folder: Path, plan: Plan, table: Path | None = None) -> Catalogue:
    """Read `folder`/offers.toml and the Parquet table it names; `table` overrides where that is.

    Errors: PlaybookRefused with every fault found.
    """
    faults: list[Fault] = []
    declared = read(folder, table, faults)
    zone = ZoneInfo(plan.playbook.timezone)
    assortments = {
        placement.name: _assort(placement, declared, plan, zone, faults) for placement in declared.placements
    }
    if faults:
        raise PlaybookRefused(faults)
    return Catalogue(_digest(declared, plan.digest), plan.digest, zone, assortments)


def _assort(
    placement: Placement, declared: Declared, plan: Plan, zone: ZoneInfo, faults: list[Fault]
) -> Assortment:
    offers = tuple(
        sorted(
            (
                offer
                for offer in declared.offers
                if offer.group == placement.group
                and (not offer.placements or placement.name in offer.placements)
            ),
            key=lambda offer: offer.id,
        )
    )
    cross = [feature.name for feature in plan.cross_features]
    families: dict[str, list[int]] = {}
    for n, feature in enumerate(plan.cross_features):
        families.setdefault(str(feature.match), []).append(n)
    keys = {match: tuple(_key(offer, match) for offer in offers) for match in families}
    names, numbers = numeric(offers)
    customer = [feature.name for feature in plan.customer_features]
    faults += _clashes(placement, offers, [*customer, *cross])
    return Assortment(
        placement=placement,
        offers=offers,
        values=np.array([offer.value for offer in offers], dtype=np.float64),
        numbers=numbers,
        dates=np.array([[_open(o.valid_to), _open(o.valid_from)] for o in offers]).reshape(-1, 2),
        columns=Columns((*customer, *CLOCK), (*cross, *names, *DATES)),
        features=len(customer),
        keys=keys,
        codes={match: _codes(every) for match, every in keys.items()},
        families={match: tuple(columns) for match, columns in families.items()},
        rules=_rules(placement, offers, declared, customer, cross, faults),
        zone=zone,
    )


def _clashes(placement: Placement, offers: Sequence[Offer], features: Sequence[str]) -> list[Fault]:
    """Names that would mean two things at once."""
    place = f"placement {placement.name}"
    faults = [
        Fault(FILE, place, "a feature of another name", f"{name}, which every row has anyway", "rename it")
        for name in (*CLOCK, *DATES)
        if name in features
    ]
    kinds: dict[str, set[bool]] = {}
    for offer in offers:
        for name, value in offer.attributes.items():
            kinds.setdefault(name, set()).add(isinstance(value, str))
    for name, texts in sorted(kinds.items()):
        if len(texts) > 1:
            faults.append(Fault(FILE, f"{place}: offer.{name}", "texts or numbers throughout", "both"))
        if name in INNATE:
            faults.append(
                Fault(FILE, f"{place}: offer.{name}", "an attribute of another name", name, "rename it")
            )
    return faults


def _key(offer: Offer, match: str) -> str:
    """The key a cross feature reads off an offer; an attribute the offer does not have is no key at all."""
    if match == "offer":
        return str(offer.attributes.get("offer", offer.id))
    return str(offer.attributes.get(match, ""))


def _open(at: int | None) -> float:
    return np.nan if at is None else float(at)


def _codes(keys: Sequence[str]) -> NDArray[np.int32]:
    known = {key: n for n, key in enumerate(dict.fromkeys(keys))}
    return np.array([known[key] for key in keys], dtype=np.int32)


def _rules(
    placement: Placement,
    offers: Sequence[Offer],
    declared: Declared,
    customer: Sequence[str],
    cross: Sequence[str],
    faults: list[Fault],
) -> Rules:
    kinds: dict[str, Kind] = dict.fromkeys([*customer, *cross], "number")
    kinds |= {f"context.{name}": kind for name, kind in placement.context.items()}
    kinds |= {f"offer.{name}": kind for name, kind in _kinds(offers).items()}
    live = {*customer, *cross}
    rules = []
    used: set[str] = set()
    for text, applies in _texts(placement, offers, declared.rules):
        try:
            expression = compile_expression(text.when, kinds)
        except BadExpression as error:
            faults.append(
                Fault(FILE, f"{text.place} (placement {placement.name})", "a condition", str(error))
            )
            continue
        if expression.kind != "boolean":
            place = f"{text.place} (placement {placement.name})"
            faults.append(Fault(FILE, place, "a condition", f"a {expression.kind}: {text.when}"))
            continue
        used |= set(expression.names)
        rules.append(
            Rule(
                name=text.name,
                reason=text.reason,
                when=text.when,
                expression=expression,
                applies=applies,
                live=bool(live & set(expression.names)),
            )
        )
    return Rules(
        size=len(offers),
        valid_from=np.array(
            [ALWAYS if o.valid_from is None else o.valid_from for o in offers], dtype=np.int64
        ),
        valid_to=np.array([NEVER if o.valid_to is None else o.valid_to for o in offers], dtype=np.int64),
        rules=tuple(rules),
        attributes={name: _column(offers, name) for name in sorted(used) if name.startswith("offer.")},
        customer={name: n for n, name in enumerate(customer)},
        cross={name: n for n, name in enumerate(cross)},
    )


def _texts(
    placement: Placement, offers: Sequence[Offer], rules: Iterable[RuleText]
) -> list[tuple[RuleText, Mask | None]]:
    """The rules of this placement, then the conditions that single offers carry (each distinct one once)."""
    chosen: list[tuple[RuleText, Mask | None]] = [
        (rule, None)
        for rule in rules
        if (not rule.placements or placement.name in rule.placements)
        and (not rule.groups or placement.group in rule.groups)
    ]
    own: dict[str, list[int]] = {}
    for n, offer in enumerate(offers):
        for when in offer.eligible:
            own.setdefault(when, []).append(n)
    for number, (when, members) in enumerate(sorted(own.items()), 1):
        applies = np.zeros(len(offers), dtype=np.bool_)
        applies[members] = True
        text = RuleText(
            name=f"offer_condition_{number}",
            when=when,
            reason=f"The offer asks for: {when}.",
            place=f"[[offer]] {offers[members[0]].id}.eligible",
        )
        chosen.append((text, applies))
    return chosen


def _kinds(offers: Sequence[Offer]) -> dict[str, Kind]:
    kinds = dict(INNATE)
    for offer in offers:
        for name, value in offer.attributes.items():
            kinds[name] = "category" if isinstance(value, str) else "number"
    return kinds


def _column(offers: Sequence[Offer], name: str) -> NDArray[Any]:
    """One attribute of every offer, None or NaN where an offer does not have it."""
    attribute = name.removeprefix("offer.")
    if attribute in INNATE:
        values = [getattr(offer, attribute) for offer in offers]
    else:
        values = [offer.attributes.get(attribute) for offer in offers]
    if all(isinstance(value, str) for value in values):
        return np.array(values)
    if any(isinstance(value, str) for value in values):
        return np.array(values, dtype=np.object_)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _digest(declared: Declared, plan: str) -> str:
    text = json.dumps([declared.plain(), plan], sort_keys=True, ensure_ascii=False)
    return blake2b(text.encode(), digest_size=8).hexdigest()
