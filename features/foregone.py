"""Conditions whose answer is known before anything happens: never true, or always."""

from math import inf

from features import spans
from features.bad_expression import BadExpression
from features.expression import Expression
from features.kleene import Node
from features.possible import COMPARISONS, outcomes, taken_apart, together
from features.ranges import Ranges, anything


def never_or_always(expression: Expression, ranges: Ranges) -> BadExpression | None:
    """What is wrong with a condition that can never be true or never be false, at the guilty part; else None.

    A condition that is true whenever it is known asks for nothing but a value, and is refused too.
    """
    truths = outcomes(expression.tree, ranges)
    if True in truths and False in truths:
        return None
    if True in truths:
        part, truth, other = _guilty(expression.tree, False, ranges)
        found = f"{_shown(expression, part, not truth)}, which always is true"
        if other is not None:
            also = _shown(expression, other[0], not other[1])
            found = f"{_shown(expression, part, not truth)} or {also}, of which one always is true"
        hint = "leave it out, or ask for something that can fail"
        if None in truths:
            found += " once it is known"
            hint = "write !is_missing(x) to ask whether x is known"
        expected = "a condition that is not always true"
    else:
        part, truth, other = _guilty(expression.tree, True, ranges)
        found, hint = f"{_shown(expression, part, truth)}, which never is true", ""
        if other is not None:
            also = _shown(expression, other[0], other[1])
            found = f"{_shown(expression, part, truth)} together with {also}, which are never both true"
        expected = "a condition that can be true"
    hints = filter(None, (_bounds(part, ranges), hint))
    return BadExpression(expression.text, part.span[0] + 1, expected, found, "; ".join(hints))


def _guilty(node: Node, wanted: bool, ranges: Ranges) -> tuple[Node, bool, tuple[Node, bool] | None]:
    """The part that keeps the whole from being as wanted, how it had to be, and what it contradicts."""
    parts = list(taken_apart(node, wanted))
    for part, truth in parts:
        if not together([(part, truth)], ranges):
            alone = part is node or len(parts) == 1
            return (part, truth, None) if alone else _guilty(part, truth, ranges)
    for last in range(1, len(parts)):
        for first in range(last):
            if not together([parts[first], parts[last]], ranges):
                return (*parts[last], parts[first])
    return node, wanted, None


def _shown(expression: Expression, part: Node, truth: bool) -> str:
    text = expression.text[slice(*part.span)]
    shown = text if len(text) <= 30 else f"{text[:27]}..."
    return shown if truth else f"!{shown}" if shown.startswith("(") else f"!({shown})"


def _bounds(part: Node, ranges: Ranges) -> str:
    """What the name that a comparison is about may hold, for a hint; nothing where it may hold any."""
    inner = part.parts if part.op in COMPARISONS or part.op == "in" else ()
    for name in (each for each in inner if each.op == "name"):
        held = ranges.get(name.value.split("[")[0], anything(name.kind)).known
        if held == spans.between(0, inf):
            return f"{name.value} is never below 0"
        if held == spans.between(0, 1):
            return f"{name.value} is from 0 to 1"
    return ""
