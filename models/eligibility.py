"""Which offers may be made to this customer now, and why the others may not."""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.expression import Expression
from models.placement import ContextValue
from models.scorer import Floats

Mask = NDArray[np.bool_]
Indices = NDArray[np.intp]
CrossFor = Callable[[Indices], Floats]

NOT_YET_VALID = "not_yet_valid"
EXPIRED = "expired"
BUILT_IN = {
    NOT_YET_VALID: "The offer has not begun yet.",
    EXPIRED: "The offer has ended.",
}
UNKNOWN = "_unknown"

STRETCHES = 16
"""So many stretches of time are remembered with what their dates leave: dates change seldom."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition that must be true of an offer, with the sentence that says why it was refused.

    `applies` limits the rule to some offers of the assortment (None: all). `live` rules read the
    customer's features and so run last, on the offers that are left. `single` rules read nothing of an
    offer: they have one answer for all.
    """

    name: str
    reason: str
    when: str
    expression: Expression
    applies: Mask | None
    live: bool
    single: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """A rule that refused: `offers` marks which, over the whole assortment."""

    rule: str
    reason: str
    offers: Mask


@dataclass(frozen=True, slots=True)
class Eligibility:
    """`offers` may be made (indices, rising); `cross` are their live values, row for row."""

    offers: Indices
    cross: Floats
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides over an assortment of `size` offers, compiled once.

    `valid_from` and `valid_to` are int64 ms, `changes` all of them, rising. `attributes` has one array a name
    (`offer.department`); `customer` and `cross` say in which column of the row, or of the cross features, a
    feature stands. `stretches` are what dates left lately, by their place among the changes.
    """

    size: int
    valid_from: NDArray[np.int64]
    valid_to: NDArray[np.int64]
    rules: tuple[Rule, ...]
    attributes: Mapping[str, NDArray[Any]]
    customer: Mapping[str, int]
    cross: Mapping[str, int]
    changes: tuple[int, ...]
    stretches: dict[int, tuple[Indices, tuple[Refusal, ...]]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def dated(self, at: int) -> tuple[Indices, tuple[Refusal, ...]]:
        """The offers (rising) that their dates allow at the instant `at` (ms), and who is refused by them."""
        stretch = bisect_right(self.changes, at)
        found = self.stretches.get(stretch)
        if found is None:
            if len(self.stretches) >= STRETCHES:
                self.stretches.clear()
            early, late = self.valid_from > at, self.valid_to <= at
            refusals = tuple(
                Refusal(name, BUILT_IN[name], mask)
                for name, mask in ((NOT_YET_VALID, early), (EXPIRED, late))
                if mask.any()
            )
            left = np.flatnonzero(~(early | late))
            for shared in (early, late, left):
                shared.setflags(write=False)
            found = self.stretches[stretch] = left, refusals
        return found

    def reason(self, rule: str) -> str:
        """The sentence behind a refusal's rule name, as records keep only the name."""
        if rule in BUILT_IN:
            return BUILT_IN[rule]
        for known in self.rules:
            if rule == known.name:
                return known.reason
            if rule == known.name + UNKNOWN:
                return _unknown(known)
        return "The rule is not in this version of the catalogue."


def eligible(
    rules: Rules, row: Floats, cross_for: CrossFor, at: int, context: Mapping[str, ContextValue]
) -> Eligibility:
    """Dates and rules over offers and context first; live values are computed for what is left.

    A rule whose answer is unknown (a value it needs is missing) refuses, and says so: its name then
    ends in `_unknown`. A rule only sees offers that no rule before its stage refused.
    """
    left, by_date = rules.dated(at)
    refusals = list(by_date)
    environment = dict(_context(context))
    for rule in rules.rules:
        if not rule.live and len(left):
            left = left[_passes(rules, rule, left, environment, None, refusals)]
    cross = cross_for(left)
    kept = np.ones(len(left), dtype=np.bool_)
    for rule in rules.rules:
        if rule.live and len(left):
            for name in rule.expression.names:
                if name in rules.customer:
                    environment[name] = float(row[rules.customer[name]])
            kept &= _passes(rules, rule, left, environment, cross, refusals)
    if not kept.all():
        left, cross = left[kept], cross[kept]
    return Eligibility(left, cross, tuple(refusals))


def _passes(
    rules: Rules,
    rule: Rule,
    offers: Indices,
    environment: Mapping[str, object],
    cross: Floats | None,
    refusals: list[Refusal],
) -> Mask:
    """Which of `offers` the rule lets pass; what it refuses is added to `refusals`."""
    known = dict(environment)
    for name in rule.expression.names:
        if name in rules.attributes:
            known[name] = rules.attributes[name][offers]
        elif cross is not None and name in rules.cross:
            known[name] = cross[:, rules.cross[name]].astype(np.float64)
    judged = np.ones(len(offers), dtype=np.bool_) if rule.applies is None else rule.applies[offers]
    if rule.single:
        answer = rule.expression.one(known)
        if answer is True:
            return np.ones(len(offers), dtype=np.bool_)
        true, unknown = np.zeros(len(offers), dtype=np.bool_), np.full(len(offers), answer is None)
    else:
        true, unknown = rule.expression.evaluate(known)
    false = judged & ~true & ~unknown
    unsure = judged & unknown
    for name, reason, mask in (
        (rule.name, rule.reason, false),
        (rule.name + UNKNOWN, _unknown(rule), unsure),
    ):
        if mask.any():
            marked = np.zeros(rules.size, dtype=np.bool_)
            marked[offers[mask]] = True
            refusals.append(Refusal(name, reason, marked))
    passed: Mask = ~(false | unsure)
    return passed


def _unknown(rule: Rule) -> str:
    return f"{rule.reason} (unknown: a value the rule needs is missing)"


def _context(context: Mapping[str, ContextValue]) -> Mapping[str, object]:
    return {f"context.{name}": value for name, value in context.items()}
