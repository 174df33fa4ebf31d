"""Sets of numbers as spans of the line, and what arithmetic makes of them.

A cut lies just before a number, (number, 0), or just behind it, (number, 1); a span is what lies between two
cuts, and a set is spans in order. So `> 5` is (5, 1) to infinity and `<= 5` minus infinity to (5, 1): one
begins where the other ends. All numbers are finite. What arithmetic gives may be taken too wide, never too
narrow: doubles round, but they round in order.
"""

from collections.abc import Callable, Iterable, Sequence
from math import inf, isnan
from typing import Any

Cut = tuple[float, int]
Spans = tuple[tuple[Cut, Cut], ...]

_START, _END = (-inf, 1), (inf, 0)
ALL: Spans = ((_START, _END),)
NONE: Spans = ()
MOST = 64
"""Spans of a set; of more only the two ends are kept."""

INVERSE = {"lt": "ge", "ge": "lt", "gt": "le", "le": "gt", "eq": "ne", "ne": "eq"}
MIRRORED = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le", "eq": "eq", "ne": "ne"}


def between(low: float, high: float) -> Spans:
    """From `low` to `high`, both of them too where they are finite.

    >>> between(0, inf) == meet(ALL, than("ge", points([0])))
    True
    """
    if low > high or low == inf or high == -inf:
        return NONE
    return ((max((low, 0), _START), min((high, 1), _END)),)


def points(values: Iterable[float]) -> Spans:
    """Just these numbers."""
    return join(*(between(value, value) for value in values))


def meet(left: Spans, right: Spans) -> Spans:
    """What is in both."""
    both = [(max(a, c), min(b, d)) for a, b in left for c, d in right]
    return tuple(sorted((start, end) for start, end in both if start < end))


def join(*sets: Spans) -> Spans:
    """What is in any."""
    merged: list[tuple[Cut, Cut]] = []
    for start, end in sorted(span for each in sets for span in each):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return tuple(merged) if len(merged) <= MOST else ((merged[0][0], merged[-1][1]),)


def rest(spans: Spans) -> Spans:
    """What is in none of them.

    >>> rest(points([5])) == join(than("lt", points([5])), than("gt", points([5])))
    True
    """
    starts = [_START, *(end for _, end in spans)]
    ends = [*(start for start, _ in spans), _END]
    return tuple((start, end) for start, end in zip(starts, ends, strict=True) if start < end)


def than(compare: str, others: Spans) -> Spans:
    """The numbers that are so (lt, le, gt, ge, eq, ne) compared with one of the others at least."""
    if not others:
        return NONE
    (low, high), ends = (others[0][0], others[-1][1]), (_START, _END)
    if compare == "lt":
        return ((ends[0], (high[0], 0)),)
    if compare == "le":
        return ((ends[0], high),)
    if compare == "gt":
        return (((low[0], 1), ends[1]),)
    if compare == "ge":
        return ((low, ends[1]),)
    if compare == "eq":
        return others
    return ALL if single(others) is None else rest(others)


def single(spans: Spans) -> float | None:
    """The one number of the set, None when there are more or none."""
    if len(spans) == 1 and spans[0] == ((spans[0][0][0], 0), (spans[0][0][0], 1)):
        return spans[0][0][0]
    return None


def calculate(operation: str, compute: Callable[[Any, Any], Any], a: Spans, b: Spans) -> tuple[Spans, bool]:
    """What `a operation b` may come to, and whether it may come to nothing: too big, or divided by 0."""
    if not a or not b:
        return NONE, True
    x, y = single(a), single(b)
    if x is not None and y is not None:
        try:
            value = float(compute(x, y))
        except (ZeroDivisionError, OverflowError):
            return NONE, True
        return (points([value]), False) if abs(value) < inf else (NONE, True)
    zero = bool(meet(b, points([0]))) and operation in ("truediv", "mod")
    low, high, left, right = a[0][0][0], a[-1][1][0], b[0][0][0], b[-1][1][0]
    if operation == "add":
        corners = [low + left, high + right]
    elif operation == "sub":
        corners = [low - right, high - left]
    elif operation == "mul":
        corners = [_times(p, q) for p in (low, high) for q in (left, right)]
    elif operation == "truediv":
        corners = _quotients((low, high), b)
    else:
        corners = [min(0.0, left), max(0.0, right)]
    result = between(min(corners), max(corners)) if corners else NONE
    return result, zero or not corners or min(corners) == -inf or max(corners) == inf


def _times(p: float, q: float) -> float:
    """A corner of a product; infinity is never reached, so that 0 times it stays 0."""
    return 0.0 if p == 0 or q == 0 else p * q


def _quotients(ends: Sequence[float], b: Spans) -> list[float]:
    """The corners of a quotient: of divisors below 0 and above it, as they come near to it too."""
    corners = []
    for side, sign in ((meet(b, than("lt", points([0]))), -1.0), (meet(b, than("gt", points([0]))), 1.0)):
        for q in (side[0][0][0], side[-1][1][0]) if side else ():
            for p in ends:
                corner = (p and p * sign * inf) if q == 0 else p / q
                if not isnan(corner):
                    corners.append(corner)
    return corners
