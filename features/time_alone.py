"""Whether time alone, with no further event, can make a condition true.

Two questions of each comparison. Can it turn as time passes: do its features move, and in its direction?
And once they have moved, can the whole be true? The second is asked after a spell without events, as long as
the shortest window that is read: what counts over so short a window is then empty. What turns within that
spell and is over at its end is left aside: there an event was the reason.
"""

from collections.abc import Iterator, Mapping
from math import inf, isnan
from operator import truediv
from typing import Literal, NamedTuple

from features import spans
from features.expression import Expression
from features.feature import Feature
from features.kleene import Node
from features.possible import COMPARISONS, together
from features.ranges import Held, Texts, anything, numbers, ranges_of

Motion = Literal["still", "up", "down", "either"]
"""Where a number goes as time passes and nothing happens."""

_OPPOSITE: Mapping[Motion, Motion] = {"still": "still", "up": "down", "down": "up", "either": "either"}
_GROWING = ("since_last", "since_first", "fired_since")
_FALLING = ("count", "distinct")
_DAY_MS = 86_400_000


class _Turning(NamedTuple):
    """A part of the condition that can turn true, or false, as time passes."""

    node: Node
    wanted: bool


def turns_true_by_time(expression: Expression, features: Mapping[str, Feature]) -> str | None:
    """The text of the part that time alone can turn so that the whole becomes true; None when there is none.

    `features` are those of the customer's row by name, hidden ones too where a ratio divides them. Names that
    are not among them are attributes, which stand still, and fields of an event, which time does not bring.
    """
    whole = expression.tree
    turnings = list(_turnings(whole, True, features))
    # What a part reads falls silent, or, as one spell for all, what the whole condition reads.
    for quiet, turning in [(each.node, each) for each in turnings] + [(whole, each) for each in turnings]:
        if together([(whole, True), turning], _quiet(quiet, whole, features)):
            return _shown(expression.text[slice(*turning.node.span)])
    return None


def _shown(text: str) -> str:
    return text[1:-1] if text.startswith("(") and text.endswith(")") and text.count("(") == 1 else text


def _turnings(node: Node, wanted: bool, features: Mapping[str, Feature]) -> Iterator[_Turning]:
    """The parts that can turn with time and thereby help the whole to be as wanted."""
    op, parts = node.op, node.parts
    if op == "not":
        yield from _turnings(parts[0], not wanted, features)
    elif op in ("and", "or"):
        for part in parts:
            yield from _turnings(part, wanted, features)
    elif op in COMPARISONS and parts[0].kind == "number":
        if _turns(op if wanted else spans.INVERSE[op], parts[0], parts[1], features):
            yield _Turning(node, wanted)
    elif op == "is_missing" and parts[0].kind != "boolean":
        # What a window has let go of goes missing; nothing comes back by itself.
        if wanted and _motion(parts[0], features) != "still" and _spell(node, features) is not None:
            yield _Turning(node, wanted)
    elif op == "in" and parts[0].kind != "boolean":
        if _motion(parts[0], features) != "still":
            yield _Turning(node, wanted)
    else:  # a choice, booleans that are compared: whichever way an inner part turns may matter
        for part in parts:
            for truth in (True, False) if part.kind == "boolean" else ():
                if any(_turnings(part, truth, features)):
                    yield _Turning(node, wanted)
                    return


def _turns(compare: str, left: Node, right: Node, features: Mapping[str, Feature]) -> bool:
    """Whether `left compare right` can turn true as its sides move."""
    decaying = _decaying(left, right, compare, features)
    if decaying is not None:
        return decaying
    one, other = _motion(left, features), _motion(right, features)
    if one == other == "up" and left.op == right.op == "name":
        return False  # both grow a day a day
    moved = _sum(one, _OPPOSITE[other])
    if compare in ("eq", "ne"):
        return moved != "still"
    return moved in ("either", "down" if compare in ("lt", "le") else "up")


def _decaying(left: Node, right: Node, compare: str, features: Mapping[str, Feature]) -> bool | None:
    """Whether a decaying sum comes to it by shrinking towards 0; None unless it is compared with a number."""
    if right.op == "name":
        left, right, compare = right, left, spans.MIRRORED[compare]
    feature = features.get(left.value) if left.op == "name" else None
    if feature is None or feature.function != "sum" or feature.half_life_ms is None or right.names:
        return None
    bound = right.one({})
    if bound is None:
        return False
    if compare in ("eq", "ne"):
        return bool(bound != 0)
    return bool(bound > 0 if compare in ("lt", "le") else bound < 0)


def _sum(one: Motion, other: Motion) -> Motion:
    if "still" in (one, other):
        return one if other == "still" else other
    return one if one == other else "either"


def _motion(node: Node, features: Mapping[str, Feature]) -> Motion:
    """Where a part goes as time passes."""
    if node.op == "name":
        feature = features.get(node.value)
        return "still" if feature is None else _moves(feature, features)
    motions = [_motion(part, features) for part in node.parts if part.kind != "boolean"]
    if any(any(_turnings(part, True, features)) for part in node.parts if part.kind == "boolean"):
        return "either"
    if all(motion == "still" for motion in motions):
        return "still"
    if node.op in ("add", "sub"):
        return _sum(motions[0], _OPPOSITE[motions[1]] if node.op == "sub" else motions[1])
    if node.op in ("mul", "truediv"):
        factor = node.parts[1] if motions[1] == "still" else node.parts[0]
        value = None if factor.names or (node.op == "truediv" and factor is node.parts[0]) else factor.one({})
        if value is not None:
            motion = motions[0] if factor is node.parts[1] else motions[1]
            return motion if value > 0 else _OPPOSITE[motion]
    return "either"


def _moves(feature: Feature, features: Mapping[str, Feature]) -> Motion:
    if feature.function in _GROWING:
        return "up"
    if feature.derived is not None and feature.function == "ratio":
        divided = [features.get(name) for name in feature.derived[:2]]
        still = all(each is not None and _moves(each, features) == "still" for each in divided)
        return "still" if still else "either"
    if feature.window_ms is None and (feature.half_life_ms is None or feature.function == "mean"):
        return "still"  # of all time; and all that a mean weighs fades alike
    return "down" if feature.function in _FALLING else "either"


def _windows(node: Node, features: Mapping[str, Feature]) -> Iterator[tuple[str, int]]:
    """The aggregates and lengths (ms) of the windows that a part reads."""
    for name in node.names:
        feature = features.get(name)
        if feature is None:
            continue
        made_of = [feature]
        if feature.function == "ratio" and feature.derived is not None:
            made_of = [features[each] for each in feature.derived[:2] if each in features]
        for each in made_of:
            if each.window_ms is not None:
                yield each.aggregate, each.window_ms


def _spell(node: Node, features: Mapping[str, Feature]) -> int | None:
    """The shortest window (ms) that the part reads."""
    return min((length for _, length in _windows(node, features)), default=None)


def _quiet(part: Node, whole: Node, features: Mapping[str, Feature]) -> dict[str, Held]:
    """What names may hold once nothing of what the part counts has happened for as long as its spell."""
    spell = _spell(part, features)
    of = {features[name].aggregate for name in part.names if name in features}
    of |= {aggregate for aggregate, _ in _windows(part, features)}
    held = ranges_of(features[name] for name in whole.names if name in features)
    for name in held:
        feature = features[name]
        if spell is not None and feature.aggregate in of:
            held[name] = _after(feature, held[name], spell, features)
    texts = set(_texts_in(whole))
    for name in whole.names - held.keys():
        if name.startswith("event.") or "[" in name:
            held[name] = Held(Texts(frozenset()) if name in texts else spans.NONE)
    return held


def _texts_in(node: Node) -> Iterator[str]:
    """The names in it that hold texts."""
    if node.op == "name" and node.kind == "category":
        yield node.value
    for part in node.parts:
        yield from _texts_in(part)


def _after(feature: Feature, before: Held, spell: int, features: Mapping[str, Feature]) -> Held:
    """What the feature may hold after a spell (ms) in which nothing it is about happened."""
    if feature.function == "since_last":
        return Held(spans.between(spell / _DAY_MS, inf))
    empty = spans.NONE if isnan(feature.default) else spans.points([feature.default])
    if feature.window_ms is not None and feature.window_ms <= spell:
        # None of something, or none of nothing, when it is divided.
        return Held(spans.join(empty, spans.points([0] if feature.derived else [])), isnan(feature.default))
    if feature.function == "ratio" and feature.derived is not None:
        above, below = (
            _after(each, ranges_of([each])[name], spell, features)
            if (each := features.get(name)) is not None
            else anything("number")
            for name in feature.derived[:2]
        )
        known, _ = spans.calculate("truediv", truediv, numbers(above), numbers(below))
        return Held(spans.join(known, empty))
    return before
