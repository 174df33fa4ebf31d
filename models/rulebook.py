"""Rules as they are written become rules that run: typed against features, attributes and context."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from events.faults import Fault
from features.expression import BadExpression, compile_expression
from features.kleene import Kind
from models.declared import FILE, RuleText
from models.eligibility import Mask, Rule, Rules
from models.offer import Offer
from models.placement import Placement

INNATE: Mapping[str, Kind] = {"id": "category", "name": "category", "group": "category", "value": "number"}
"""What every offer has, beside its declared attributes."""

ALWAYS = np.iinfo(np.int64).min
NEVER = np.iinfo(np.int64).max


def compile_rules(
    placement: Placement,
    offers: Sequence[Offer],
    written: Iterable[RuleText],
    customer: Sequence[str],
    cross: Sequence[str],
    faults: list[Fault],
) -> Rules:
    """Compile the rules that apply to a placement's offers; `customer` and `cross` name the features.

    Conditions that cannot be understood are added to `faults`.
    """
    kinds: dict[str, Kind] = dict.fromkeys([*customer, *cross], "number")
    kinds |= {f"context.{name}": kind for name, kind in placement.context.items()}
    kinds |= {f"offer.{name}": kind for name, kind in _kinds(offers).items()}
    crossed = frozenset(cross)
    live = crossed.union(customer)
    rules = []
    used: set[str] = set()
    for text, applies in _texts(placement, offers, written):
        try:
            expression = compile_expression(text.when, kinds)
        except BadExpression as error:
            place = f"{text.place} (placement {placement.name}), character {error.at}"
            faults.append(Fault(FILE, place, error.expected, error.found, error.hint, error.excerpt))
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
                single=not any(name in crossed or name.startswith("offer.") for name in expression.names),
            )
        )
    begins = [ALWAYS if o.valid_from is None else o.valid_from for o in offers]
    ends = [NEVER if o.valid_to is None else o.valid_to for o in offers]
    return Rules(
        size=len(offers),
        valid_from=np.array(begins, dtype=np.int64),
        valid_to=np.array(ends, dtype=np.int64),
        rules=tuple(rules),
        attributes={name: _column(offers, name) for name in sorted(used) if name.startswith("offer.")},
        customer={name: n for n, name in enumerate(customer)},
        cross={name: n for n, name in enumerate(cross)},
        changes=tuple(sorted({*begins, *ends})),
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
