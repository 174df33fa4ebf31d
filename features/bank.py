"""The storage of one aggregate: what a cell keeps, told to the compiled code as a row of numbers."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.declare import Playbook
from features.feature import DECAYED, PERCENTILES, Aggregate, Feature, stored
from features.kernel import layout as at

FINENESS = 100
"""A tile is at most this part of its window."""

_FUNCTIONS: Mapping[str, int] = {
    "count": at.COUNT,
    "sum": at.SUM,
    "mean": at.MEAN,
    "min": at.MIN,
    "max": at.MAX,
    "last": at.LAST_VALUE,
    "since_last": at.SINCE_LAST,
    "since_first": at.SINCE_FIRST,
    "distinct": at.DISTINCT,
    **{function: at.PERCENTILE + int(function[1:]) for function in PERCENTILES},
}
_MOMENTS = (at.LAST_VALUE, at.SINCE_LAST, at.SINCE_FIRST)


class Bank(NamedTuple):
    """The storage of one aggregate; for a family a cell for each key, for percentiles one for each bucket.

    `scale` divides what is kept of a decimal. `features` are those read off it, `columns` where they stand
    in the row (or in the cross row, of a family).
    """

    number: int
    aggregate: Aggregate
    scale: int
    features: tuple[Feature, ...]
    columns: tuple[int, ...]

    @property
    def keyed(self) -> bool:
        """Whether it keeps a cell for each key."""
        return self.aggregate.keyed


class BankTables(NamedTuple):
    """All banks as the tables of `features.kernel.layout`; `matches` are the attributes that pick keys."""

    banks: NDArray[np.int64]
    spans: NDArray[np.int64]
    features: NDArray[np.int64]
    scales: NDArray[np.float64]
    matches: tuple[str, ...]


def banks_of(playbook: Playbook, columns: Mapping[str, int]) -> tuple[Bank, ...]:
    """The storage of every aggregate; `columns` says where each feature that is read stands in its row."""
    banks = []
    for number, aggregate in enumerate(playbook.aggregates):
        read = [feature for feature in stored(aggregate) if feature.name in columns]
        fields = playbook.contracts.types[aggregate.event].fields
        decimal = aggregate.value is not None and fields[aggregate.value].removesuffix("?") == "decimal"
        scale = 10_000 if decimal and "distinct" not in aggregate.functions else 1
        places = tuple(columns[feature.name] for feature in read)
        banks.append(Bank(number, aggregate, scale, tuple(read), places))
    return tuple(banks)


def tables_of(banks: Sequence[Bank]) -> BankTables:
    """The banks as numbers."""
    matches = tuple(sorted({bank.aggregate.match for bank in banks if bank.aggregate.match}))
    rows = np.zeros((len(banks), at.BANK_COLUMNS), dtype=np.int64)
    spans: list[int] = []
    features: list[tuple[int, int, int, int]] = []
    for bank in banks:
        row, aggregate, functions = rows[bank.number], bank.aggregate, set(bank.aggregate.functions)
        _shape(row, functions)
        spanning = bool(functions & {"count", "sum", "mean", "min", "max", "distinct", *PERCENTILES})
        row[at.LEVELS] = len(aggregate.windows) if spanning else 0
        row[at.LEVEL_AT] = len(spans)
        for window in aggregate.windows:
            spans += (window, (window // FINENESS).bit_length() - 1)
        row[at.EVER] = spanning and aggregate.ever and "distinct" not in functions
        row[at.FIRST] = "since_first" in functions
        row[at.LAST] = "since_last" in functions
        row[at.LATEST] = "last" in functions
        row[at.HALVES] = len(aggregate.half_lives) if functions & set(DECAYED) else 0
        row[at.HALF_AT] = len(spans)
        spans += aggregate.half_lives
        row[at.KEYS] = aggregate.keys if bank.keyed else 0
        row[at.MATCH] = matches.index(aggregate.match) if aggregate.match else -1
        if aggregate.histogram:
            row[at.MATCH] = at.HISTOGRAM
        if "distinct" in functions:
            row[at.SAMPLE] = aggregate.keys
            row[at.HORIZON] = 0 if aggregate.ever else aggregate.windows[-1]
        row[at.FEATURE_AT] = len(features)
        for feature, column in zip(bank.features, bank.columns, strict=True):
            features.append((_FUNCTIONS[feature.function], *_span(aggregate, feature), column))
        row[at.FEATURES_END] = len(features)
        _weigh(row, bank.keyed)
    return BankTables(
        rows.ravel(),
        np.array(spans, dtype=np.int64),
        np.array(features, dtype=np.int64).ravel(),
        np.array([bank.scale for bank in banks], dtype=np.float64),
        matches,
    )


def _shape(row: NDArray[np.int64], functions: set[str]) -> None:
    """A tile keeps no more than is asked of it."""
    row[at.EXTREMES] = bool(functions & {"min", "max"})
    row[at.SUMS] = bool(functions & {"sum", "mean", "min", "max"})
    row[at.COUNTS] = bool(functions & {"count", "mean", "min", "max", *PERCENTILES})


def _span(aggregate: Aggregate, feature: Feature) -> tuple[int, int]:
    if feature.window_ms is not None:
        return at.WINDOW, aggregate.windows.index(feature.window_ms)
    if feature.half_life_ms is not None:
        return at.HALF_LIFE, aggregate.half_lives.index(feature.half_life_ms)
    return (at.MOMENT if _FUNCTIONS[feature.function] in _MOMENTS else at.ALL_TIME), 0


def _weigh(row: NDArray[np.int64], keyed: bool) -> None:
    """Bytes at most, of numbers as they occur: places of 5, counts of 4, sums and extremes of 8 bytes."""
    value = 4 * int(row[at.COUNTS]) + 8 * int(row[at.SUMS]) + 16 * int(row[at.EXTREMES])
    row[at.WEIGHT_TILE] = 14 if row[at.SAMPLE] else 5 + value
    row[at.WEIGHT_HALF] = 4 + 4 * int(row[at.COUNTS]) + 13 * int(row[at.SUMS])
    moments = 6 * int(row[at.FIRST]) + 6 * int(row[at.LAST]) + 22 * int(row[at.LATEST])
    row[at.WEIGHT_CELL] = 16 + 8 * keyed + value * int(row[at.EVER]) + moments + int(row[at.HALVES])
