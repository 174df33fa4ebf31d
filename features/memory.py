"""How much a declaration may cost: the most bytes an aggregate can take, the fewest a customer needs."""

from collections.abc import Iterable
from typing import NamedTuple

from features.feature import DECAYED, SHARED, Aggregate
from features.kernel.buckets import LEAST

MEMORY = 64_000
"""Bytes that are stored of one customer at most, unless the playbook says otherwise."""

MEMORY_LEAST, MEMORY_MOST = 4_000, 1_000_000

MEMORY_OF_EVERYBODY = 4_000_000
"""Bytes that are kept of everybody in each partition of the log at most; past it detail is coarsened."""

FINENESS = 100
"""A tile is at most this part of its window."""

COARSEST = 6
"""How often the tiles of a state that is too large are doubled in width at most."""

INTERVALS = 41
"""Intervals of one half-life that are kept: forty, and the one that has begun."""


class Weights(NamedTuple):
    """Bytes at most of a cell alone, of each of its tiles (or values of a distinct), of each interval."""

    cell: int
    tile: int
    interval: int


def weights_of(aggregate: Aggregate) -> Weights:
    """What the parts of one key's cell weigh, of numbers as they occur.

    A place takes 5 bytes, a count 4, a sum 8, the least and the most 16; a half-life's interval is wider, as
    its sums carry 24 more bits. A cell takes 16 (24 with a key) and, where functions ask for
    them, all of time, the first and the last instant (6 each), and the last value (22).
    """
    functions = set(aggregate.functions)
    extremes = bool(functions & {"min", "max"})
    sums = bool(functions & {"sum", "mean"}) or extremes
    counts = bool(functions & {"count", "mean"}) or extremes or aggregate.histogram
    distinct = "distinct" in functions
    value = 4 * counts + 8 * sums + 16 * extremes
    moments = 6 * len(functions & {"since_first", "since_last"}) + 22 * ("last" in functions)
    halves = len(aggregate.half_lives) if functions & set(DECAYED) else 0
    ever = value * (aggregate.ever and not distinct)
    return Weights(
        16 + 8 * aggregate.keyed + ever + moments + halves,
        14 if distinct else 5 + value,
        (4 + 4 * counts + 13 * sums) if halves else 0,
    )


def memory_of(aggregate: Aggregate) -> int:
    """The most bytes this aggregate takes: keys x (cell + tiles x tile + intervals x interval).

    Window k keeps the events that are older than window k - 1: (w_k - w_k-1) / width tiles, at most 2 x 100
    for each window as a width is a power of two between a two-hundredth and a hundredth of it, and a few
    more where two widths meet. A half-life keeps 41 intervals. A distinct keeps `keys` values, one key. Of
    percentiles each bucket is a key.
    """
    weights = weights_of(aggregate)
    if "distinct" in aggregate.functions:
        return weights.cell + aggregate.keys * weights.tile
    return aggregate.keys * _cell(aggregate, weights, 0)


def memory_at_least(aggregate: Aggregate) -> int:
    """The bytes when all is as coarse as it may get, and nothing is kept of a family or of a distinct."""
    weights = weights_of(aggregate)
    if aggregate.histogram:
        return LEAST * _cell(aggregate, weights, COARSEST)
    if aggregate.by is not None or "distinct" in aggregate.functions:
        return weights.cell
    return _cell(aggregate, weights, COARSEST)


def memory_of_everybody(aggregates: Iterable[Aggregate]) -> int:
    """The most bytes the aggregates take of everybody's state in one partition, before its bound."""
    return sum(memory_of(aggregate) for aggregate in aggregates if aggregate.of in SHARED)


def memory_of_customer(aggregates: Iterable[Aggregate]) -> int:
    """The most bytes the aggregates take of one customer's state, before the playbook's bound."""
    return sum(memory_of(aggregate) for aggregate in aggregates if aggregate.of not in SHARED)


def _cell(aggregate: Aggregate, weights: Weights, degree: int) -> int:
    halves = len(aggregate.half_lives) if weights.interval else 0
    tiles = _tiles(aggregate.windows, degree) if weights.tile > 5 else 0
    return weights.cell + tiles * weights.tile + halves * INTERVALS * weights.interval


def _tiles(windows: tuple[int, ...], degree: int) -> int:
    """Tiles that are kept at once when each window's are doubled in width so often.

    >>> week = 7 * 86_400_000
    >>> _tiles((week,), 0), _tiles((week, 4 * week), 0), _tiles((week, 4 * week), 6)
    (147, 261, 12)
    """
    widths = [(window // FINENESS).bit_length() - 1 + degree for window in windows]
    tiles = 0
    for number, window in enumerate(windows):
        younger = windows[number - 1] if number else 0
        # What has left a window stays until the whole tile of the next one around it has.
        meeting = 1 << widths[number + 1] - widths[number] if number + 1 < len(windows) else 1
        tiles += -(-(window - younger) >> widths[number]) + meeting + 1
    return tiles
