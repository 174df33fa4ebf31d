"""What a name of a condition may hold: numbers within bounds, some texts, true or false; or nothing."""

from collections.abc import Iterable, Mapping
from math import inf, isnan
from typing import NamedTuple

from features import spans
from features.feature import Feature
from features.kleene import Kind
from features.spans import Spans

NEVER_BELOW_ZERO = ("count", "distinct", "since_last", "since_first", "fired_count")
"""Functions that cannot come to less than 0, whatever they are of."""


class Texts(NamedTuple):
    """Some texts: those `among`, or with `others` every text but those."""

    among: frozenset[str]
    others: bool = False


Known = Spans | Texts
"""What a value can be where it is known; true and false are 1 and 0."""

ANY_TEXT = Texts(frozenset(), True)
TRUTHS: Spans = spans.points([0, 1])


class Held(NamedTuple):
    """What a name or a part of a condition may hold: values where it is known, and whether it may not be."""

    known: Known
    missing: bool = True


Ranges = Mapping[str, Held]
"""What names may hold; those that are not named may hold anything of their kind, or nothing."""


def anything(kind: Kind) -> Held:
    """All that a name of the kind may hold."""
    known: Known = ANY_TEXT if kind == "category" else TRUTHS if kind == "boolean" else spans.ALL
    return Held(known)


def ranges_of(features: Iterable[Feature]) -> dict[str, Held]:
    """The bounds of features, by what they count.

    Each may be missing, a count too: while it warms, or when its source is not fresh.

    >>> from features.feature import Aggregate, expand
    >>> visits = Aggregate("visits", "visit", None, None, ("count", "since_last"), None, None,
    ...                    (7 * 86_400_000,), (), False, "", "", {}, 1, ("count", "since_last"))
    >>> [(name, held.known == spans.between(0, inf)) for name, held in ranges_of(expand(visits)).items()]
    [('visits_count_7d', True), ('visits_since_last', True)]
    """
    known = {feature.name: feature for feature in features}
    return {name: Held(_bounds(feature, known)) for name, feature in known.items()}


def numbers(held: Held) -> Spans:
    """What is held, of a name that holds numbers."""
    assert not isinstance(held.known, Texts)
    return held.known


def met(left: Known, right: Known) -> Known:
    """What both hold."""
    if isinstance(left, Texts) or isinstance(right, Texts):
        assert isinstance(left, Texts)
        assert isinstance(right, Texts)
        if left.others and right.others:
            return Texts(left.among | right.among, True)
        if left.others or right.others:
            some, but = (right, left) if left.others else (left, right)
            return Texts(some.among - but.among)
        return Texts(left.among & right.among)
    return spans.meet(left, right)


def joined(left: Known, right: Known) -> Known:
    """What either holds."""
    if isinstance(left, Texts) and isinstance(right, Texts):
        return but(met(but(left), but(right)))
    assert not isinstance(left, Texts)
    assert not isinstance(right, Texts)
    return spans.join(left, right)


def but(known: Known) -> Known:
    """Everything of the kind that this does not hold."""
    return Texts(known.among, not known.others) if isinstance(known, Texts) else spans.rest(known)


def empty(known: Known) -> bool:
    """Whether it holds no value at all."""
    return not (known.others or known.among) if isinstance(known, Texts) else not known


def only(known: Known) -> bool:
    """Whether it holds one value."""
    if isinstance(known, Texts):
        return not known.others and len(known.among) == 1
    return spans.single(known) is not None


def _bounds(feature: Feature, known: Mapping[str, Feature]) -> Spans:
    bounds = spans.ALL
    if feature.function in NEVER_BELOW_ZERO:
        bounds = spans.between(0, inf)
    elif feature.derived is not None and all(_counted(each, feature, known) for each in feature.derived[:2]):
        bounds = spans.between(0, 1 if feature.function == "share" else inf)
    return bounds if isnan(feature.default) else spans.join(bounds, spans.points([feature.default]))


def _counted(name: str, of: Feature, known: Mapping[str, Feature]) -> bool:
    """Whether what is divided is a count; a share and a trend say so by its name, as it may be hidden."""
    if name in known:
        return known[name].function in NEVER_BELOW_ZERO and not known[name].default < 0
    return of.function in ("share", "trend") and name.startswith(
        (f"{of.aggregate}_count_", f"{of.aggregate}_total_count_")
    )
