"""What may be said, where and under which rules: a playbook's offers.toml, checked whole."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from events.faults import Fault, PlaybookRefused, did_you_mean
from features.feature import Feature
from features.full_row import full_features
from features.offer_keys import offer_keys
from features.plan import Plan
from models.assortment import CLOCK, DATES, Assortment, numeric
from models.declared import FILE, Declared, read
from models.offer import Offer
from models.placement import Placement
from models.rulebook import INNATE, compile_rules
from models.scorer import Columns


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
    if faults and not declared.offers:
        raise PlaybookRefused(faults)  # without offers every placement and rule would look wrong
    zone = ZoneInfo(plan.playbook.timezone)
    row, cross, matches = full_features(plan), plan.cross_features, plan.tables.matches
    assortments = {
        placement.name: _assort(placement, declared, row, cross, matches, zone, faults)
        for placement in declared.placements
    }
    faults += _unpicked(declared.offers, plan.cross_features)
    if faults:
        raise PlaybookRefused(_placed(folder, faults))
    return Catalogue(_digest(declared, plan.digest), plan.digest, zone, assortments)


def faults_of(
    folder: Path, row: Sequence[Feature], cross: Sequence[Feature], table: Path | None = None
) -> list[Fault]:
    """Every fault that `load` would find, given the features as far as they are known."""
    faults: list[Fault] = []
    declared = read(folder, table, faults)
    if declared.offers and (row or cross):  # else every rule would look wrong
        for placement in declared.placements:
            _assort(placement, declared, row, cross, (), ZoneInfo("UTC"), faults)
        faults += _unpicked(declared.offers, cross)
    return _placed(folder, faults)


def _placed(folder: Path, faults: Sequence[Fault]) -> list[Fault]:
    """The faults with the path of the file, as those of other files have it."""
    return [each._replace(file=str(folder / FILE)) if each.file == FILE else each for each in faults]


def _unpicked(offers: Sequence[Offer], cross: Sequence[Feature]) -> list[Fault]:
    """Families whose key no offer picks: the attribute that `match` names is on none of them."""
    known = {name for offer in offers for name in offer.attributes} | {"offer"}
    families = {feature.match: feature.name for feature in reversed(cross) if feature.match not in known}
    return [
        Fault(
            FILE,
            "offers",
            f"an attribute {match!r}, which picks the key of {name}",
            "no offer that has it",
            hint,
        )
        for match, name in families.items()
        for hint in [did_you_mean(str(match), known)]
    ]


def _assort(
    placement: Placement,
    declared: Declared,
    row: Sequence[Feature],
    crossed: Sequence[Feature],
    matches: Sequence[str],
    zone: ZoneInfo,
    faults: list[Fault],
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
    cross = [feature.name for feature in crossed]
    families: dict[str, list[int]] = {}
    for n, feature in enumerate(crossed):
        families.setdefault(str(feature.match), []).append(n)
    keys = {match: tuple(key_of(offer, match) for offer in offers) for match in families}
    names, numbers = numeric(offers)
    customer = [feature.name for feature in row]
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
        rules=compile_rules(placement, offers, declared.rules, customer, cross, faults),
        zone=zone,
        picks=offer_keys(
            matches, {match: each for match, each in keys.items() if match in matches}, len(offers)
        ),
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


def key_of(offer: Offer, match: str) -> str:
    """The key a cross feature reads off an offer; an attribute the offer does not have is no key at all."""
    if match == "offer":
        return str(offer.attributes.get("offer", offer.id))
    return str(offer.attributes.get(match, ""))


def _open(at: int | None) -> float:
    return np.nan if at is None else float(at)


def _codes(keys: Sequence[str]) -> NDArray[np.int32]:
    known = {key: n for n, key in enumerate(dict.fromkeys(keys))}
    return np.array([known[key] for key in keys], dtype=np.int32)


def _digest(declared: Declared, plan: str) -> str:
    text = json.dumps([declared.plain(), plan], sort_keys=True, ensure_ascii=False)
    return blake2b(text.encode(), digest_size=8).hexdigest()
