"""Why this, why not that: read off a decision's record, in words and numbers."""

from typing import Any

import numpy as np

from models.catalogue import Catalogue
from models.record import DecisionRecord


def why(record: DecisionRecord, catalogue: Catalogue) -> dict[str, Any]:
    """What spoke for each eligible offer and what refused each other one, as plain JSON values.

    `offers` are in the order of their chance at position 1; those of the slate carry `position` and
    `propensity`. When the catalogue has changed since, only the slate can be named, and `note` says so.
    """
    told: dict[str, Any] = {
        "decision_id": record.decision_id,
        "customer": record.customer,
        "placement": record.placement,
        "at": record.at,
        "rung": record.rung,
        "models": dict(record.models),
        "blend": dict(record.blend),
        "versions": {"catalogue": record.catalogue, "plan": record.plan},
        "seed": str(record.seed),
        "probability_of_slate": record.probability,
        "silent": record.silent,
    }
    draws = np.frombuffer(record.draws, dtype="<f4").astype(np.float64)
    total = float(draws.sum()) + (record.silence or 0.0)
    if record.silence is not None:
        told["chance_of_silence"] = record.silence / total
    scores = record.every_score()
    probability = scores["blend"] if "blend" in scores else next(iter(scores.values()))
    positions = {place: n for n, place in enumerate(record.order)}
    current = record.catalogue == catalogue.version and record.placement in catalogue.assortments
    if not current:
        told["note"] = (
            f"This was decided under catalogue {record.catalogue}; the one loaded is {catalogue.version}, "
            "so only the offers of the slate can be named."
        )
    names = dict(zip(record.order, record.offers, strict=True))
    if current:
        offers = catalogue.assortment(record.placement).offers
        names = {place: offers[n].id for place, n in enumerate(record.places().tolist())}
    told["offers"] = [
        {
            "offer": names[place],
            "position": positions[place] + 1 if place in positions else None,
            "propensity": record.propensities[positions[place]] if place in positions else None,
            "probability": float(probability[place]),
            "scores": {name: float(each[place]) for name, each in scores.items()},
            "chance_at_first_position": float(draws[place]) / total,
            "why": _why(place, positions, record),
        }
        for place in np.argsort(-draws, kind="stable").tolist()
        if place in names
    ]
    told["refused"] = _refused(record, catalogue) if current else []
    told["refusals"] = {rule: int(record.refused(rule).sum()) for rule in record.refusals}
    return told


def _why(place: int, positions: dict[int, int], record: DecisionRecord) -> str:
    if place in positions:
        chance = record.propensities[positions[place]]
        return f"Drawn at position {positions[place] + 1}, where it had a chance of {chance:.3g}."
    if record.silent:
        return "Eligible, but silence was drawn: saying nothing was worth enough to compete."
    return f"Eligible, but {len(record.order)} offers were drawn before it and that is all the slate holds."


def _refused(record: DecisionRecord, catalogue: Catalogue) -> list[dict[str, Any]]:
    assortment = catalogue.assortment(record.placement)
    rules: dict[int, list[dict[str, str]]] = {}
    for rule in record.refusals:
        said = {"rule": rule, "reason": assortment.rules.reason(rule)}
        for n in np.flatnonzero(record.refused(rule)).tolist():
            rules.setdefault(n, []).append(said)
    return [{"offer": assortment.offers[n].id, "rules": said} for n, said in sorted(rules.items())]
