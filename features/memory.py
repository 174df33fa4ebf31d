"""How much a declaration may cost: the most bytes an aggregate can take, the fewest a customer needs."""

from collections.abc import Iterable

from features.feature import DECAYED, MOMENTS, Aggregate

MEMORY = 64_000
"""Bytes that are stored of one customer at most, unless the playbook says otherwise."""

MEMORY_LEAST, MEMORY_MOST = 4_000, 1_000_000

TILES = 2 * 100 + 1
"""Tiles of one window: each is between a two-hundredth and a hundredth of it, and one is half outside."""

INTERVALS = 41
"""Intervals of one half-life: the newest 40, and one that has begun."""

NUMBER, PLACE, KEY, MOMENT = 8, 6, 12, 8
"""Bytes of a count, a sum, a least or a most; of where a tile lies; of a key with its cell; of an instant."""


def memory_of(aggregate: Aggregate) -> int:
    """The most bytes this aggregate takes of a state: keys x what one key takes.

    One key takes 12 bytes (its hash and the size of its cell) and, where functions ask for them,
    for each window 201 tiles, for each half-life 41 intervals, for `ever` one tile, each 6 bytes of
    place and 8 for each number kept in it: count, sum, both for a mean, and two more for min and max
    (not in half-lives). `since_first` and `since_last` take 8 each, `last` 24 (instant, event, value).
    A distinct takes 16 bytes (hash, newest instant) for each of its `keys` values instead, at a time
    for all its windows, and as much again for `ever`.
    """
    if "distinct" in aggregate.functions:
        return KEY + aggregate.keys * (NUMBER + MOMENT) * (bool(aggregate.windows) + aggregate.ever)
    return aggregate.keys * _cell(aggregate, TILES, INTERVALS)


def memory_at_least(aggregate: Aggregate) -> int:
    """The fewest bytes it can be coarsened to: one tile a window and a half-life, no keys of a family."""
    if aggregate.by is not None or "distinct" in aggregate.functions:
        return KEY
    return _cell(aggregate, 1, 1)


def memory_of_customer(aggregates: Iterable[Aggregate]) -> int:
    """The most bytes the aggregates take of one customer's state, before the playbook's bound."""
    return sum(memory_of(aggregate) for aggregate in aggregates if aggregate.of in ("customer", "pair"))


def _cell(aggregate: Aggregate, tiles: int, intervals: int) -> int:
    functions = set(aggregate.functions)
    spanning = functions - set(MOMENTS)
    # A mean needs both; extremes come with both.
    sums = bool(functions & {"sum", "mean", "min", "max"})
    counts = bool(functions & {"count", "mean", "min", "max"})
    numbers = counts + sums
    wide = PLACE + NUMBER * (numbers + 2 * bool(functions & {"min", "max"}))
    size = KEY
    if spanning:
        size += wide * (tiles * len(aggregate.windows) + aggregate.ever)
    if functions & set(DECAYED):
        size += (PLACE + NUMBER * numbers) * intervals * len(aggregate.half_lives)
    size += MOMENT * len(functions & {"since_first", "since_last"})
    return size + 3 * MOMENT * ("last" in functions)
