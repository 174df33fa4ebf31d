"""The storage of one aggregate: what a cell keeps, and what its features read of it."""

from typing import NamedTuple

from features.declare import Playbook
from features.feature import DECAYED, Aggregate, Feature, expand

COUNT, SUM, COUNT_SUM, EXTREMES = 1, 2, 3, 4
"""Shapes of a tile: a count; a sum; [count, sum]; [count, sum, min, max]: no more than is needed."""

FINENESS = 100
"""A tile is at most this part of its window."""


class Span(NamedTuple):
    """What one window, half-life or `ever` yields: (place among the bank's features, function) pairs.

    `kind` is window, half_life or ever; `number` says which window or half-life, `length` its ms.
    """

    kind: str
    number: int
    length: int
    outputs: tuple[tuple[int, str], ...]


class Bank(NamedTuple):
    """The storage of one aggregate: for each key a cell, a list whose slots are laid out here (-1: none).

    `shape` of its tiles; `widths` are the tiles' widths as powers of two, one a window. Slots: `tiles`
    {place: tile}, `ever` (a tile of all time), `first` and `last` (ms), `newest` ([ms, id hash, value] of
    the last value), `halves` (first of the slots {interval: weighted tile}, one a half-life).
    """

    number: int
    aggregate: Aggregate
    scale: int
    shape: int
    widths: tuple[int, ...]
    tiles: int
    ever: int
    first: int
    last: int
    newest: int
    halves: int
    features: tuple[Feature, ...]
    spans: tuple[Span, ...]
    moments: tuple[tuple[int, str], ...]
    row_at: int

    @property
    def keyed(self) -> bool:
        """Whether it is a family, a cell for each key."""
        return self.aggregate.by is not None


def narrowed(bank: Bank, place: int) -> Bank:
    """The same storage, of which only the feature at `place` is read."""
    spans = [span._replace(outputs=tuple(o for o in span.outputs if o[0] == place)) for span in bank.spans]
    return bank._replace(
        spans=tuple(span for span in spans if span.outputs),
        moments=tuple(moment for moment in bank.moments if moment[0] == place),
    )


def bank_of(playbook: Playbook, number: int, aggregate: Aggregate, row_at: int) -> Bank:
    """Lay out the storage of an aggregate; `row_at` is where its features begin in the row."""
    functions = set(aggregate.functions)
    if functions & {"min", "max"}:
        shape = EXTREMES
    elif "mean" in functions or {"count", "sum"} <= functions:
        shape = COUNT_SUM
    else:
        shape = SUM if "sum" in functions else COUNT
    spanning = bool(functions & {"count", "sum", "mean", "min", "max"})
    slots = iter(range(100))
    tiles = next(slots) if spanning and aggregate.windows else -1
    ever = next(slots) if spanning and aggregate.ever else -1
    first = next(slots) if "since_first" in functions else -1
    last = next(slots) if "since_last" in functions else -1
    newest = next(slots) if "last" in functions else -1
    halves = next(slots) if functions & set(DECAYED) and aggregate.half_lives else -1
    features = tuple(expand(aggregate))
    spans: dict[tuple[str, int, int], list[tuple[int, str]]] = {}
    moments = []
    for place, feature in enumerate(features):
        if feature.window_ms is not None:
            kind = ("window", aggregate.windows.index(feature.window_ms), feature.window_ms)
        elif feature.half_life_ms is not None:
            kind = ("half_life", aggregate.half_lives.index(feature.half_life_ms), feature.half_life_ms)
        elif feature.function in ("last", "since_last", "since_first"):
            moments.append((place, feature.function))
            continue
        else:
            kind = ("ever", 0, 0)
        spans.setdefault(kind, []).append((place, feature.function))
    fields = playbook.contracts.types[aggregate.event].fields
    decimal = aggregate.value is not None and fields[aggregate.value].removesuffix("?") == "decimal"
    return Bank(
        number,
        aggregate,
        10_000 if decimal else 1,
        shape,
        tuple((window // FINENESS).bit_length() - 1 for window in aggregate.windows),
        tiles,
        ever,
        first,
        last,
        newest,
        halves,
        features,
        tuple(Span(*kind, tuple(outputs)) for kind, outputs in spans.items()),
        tuple(moments),
        row_at,
    )


def decayed(bank: Bank) -> tuple[tuple[int, int, int], ...]:
    """(slot, half-life, shape) of each half-life; decayed tiles keep no extremes."""
    shape = COUNT_SUM if bank.shape == EXTREMES else bank.shape
    lengths = bank.aggregate.half_lives if bank.halves >= 0 else ()
    return tuple((slot, length, shape) for slot, length in enumerate(lengths, start=bank.halves))
