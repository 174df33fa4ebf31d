"""Reading a cell at an instant: what its windows, half-lives and times come to then.

A window (at - w, at) counts the tiles whose middle is later than at - w, at the width that belongs to the
window: its edge is off by at most half a hundredth of its length. Half-lives, all of time and moments are
exact. A tile counts as if it had been coarsened already, and an interval as if it had been forgotten
already, so that a state reads the same before and after it is settled.
"""

import numpy as np

from features.kernel.compiled import Floats, Words, compiled, int64
from features.kernel.halves import half_of
from features.kernel.layout import (
    ALL_TIME,
    BANK_COLUMNS,
    CELL_BANK,
    CELL_COUNT,
    CELL_EVER,
    CELL_FIRST,
    CELL_LAST,
    CELL_LATEST,
    CELL_MAX,
    CELL_MIN,
    CELL_N,
    CELL_SUM,
    CELL_THIN,
    COUNT,
    DENOMINATOR,
    DERIVED_COLUMNS,
    DERIVED_OUT,
    DISTINCT,
    EXTREMES,
    FEATURE_AT,
    FEATURE_COLUMNS,
    FEATURES_END,
    FUNCTION,
    HALF_AT,
    HALF_LIFE,
    HALF_LIVES_KEPT,
    HEAD,
    INTERVAL,
    LAST_VALUE,
    LEVEL_AT,
    LEVELS,
    MEAN,
    MIN,
    MOMENT,
    MOST_LEVELS,
    NUMBER,
    NUMERATOR,
    OUT,
    SAMPLE,
    SINCE_LAST,
    SPAN,
    SUM,
    TILE,
    WEIGHT_BITS,
    WINDOW,
)
from features.kernel.tiles import width_of

DAY = 86_400_000.0
_LOW = 4294967296.0


@compiled
def sum_windows(
    banks: Words, spans: Words, words: Words, cell: int, degree: int, at: int, sums: Words
) -> None:
    """Of each window how many tiles, their count, sum, least and greatest, in 5 words each of `sums`."""
    bank = words[cell + CELL_BANK]
    finest = spans[banks[bank * BANK_COLUMNS + LEVEL_AT] + 1]
    extremes = banks[bank * BANK_COLUMNS + EXTREMES]
    first = cell + HEAD
    n = words[cell + CELL_N]
    for level in range(banks[bank * BANK_COLUMNS + LEVELS]):
        wide = width_of(banks, spans, bank, level, degree)
        edge = at - spans[banks[bank * BANK_COLUMNS + LEVEL_AT] + 2 * level] - (1 << wide >> 1)
        # The place of the first tile at or behind the edge; tiles of this width start at multiples of it.
        bound = (-(-edge >> wide) << wide >> finest) << 3
        low, high = 0, n
        while low < high:
            middle = (low + high) >> 1
            if words[first + TILE * middle] < bound:
                low = middle + 1
            else:
                high = middle
        count, total = int64(0), int64(0)
        for number in range(low, n):
            count += words[first + TILE * number + 1]
            total += words[first + TILE * number + 2]
        out = 5 * level
        sums[out], sums[out + 1], sums[out + 2] = n - low, count, total
        if extremes and low < n:
            least = words[first + TILE * low + 3]
            greatest = words[first + TILE * low + 4]
            for number in range(low + 1, n):
                least = min(least, words[first + TILE * number + 3])
                greatest = max(greatest, words[first + TILE * number + 4])
            sums[out + 3], sums[out + 4] = least, greatest


@compiled
def sum_half(
    banks: Words, spans: Words, words: Words, cell: int, number: int, at: int
) -> tuple[int, float, float]:
    """(intervals, weighted count, weighted sum) of a half-life at an instant."""
    half = half_of(words, cell, number)
    length = spans[banks[words[cell + CELL_BANK] * BANK_COLUMNS + HALF_AT] + number]
    # By the instant, not by the newest event, so that a state reads the same before and after it is settled.
    oldest = at // length - HALF_LIVES_KEPT
    now = at / length + WEIGHT_BITS
    live, count, total = 0, 0.0, 0.0
    for place in range(half + 1, half + 1 + INTERVAL * words[half], INTERVAL):
        if words[place] >= oldest:
            weight = 2.0 ** (words[place] - now)
            live += 1
            count += weight * words[place + 1]
            total += weight * (words[place + 2] * _LOW + words[place + 3])
    return live, count, total


@compiled
def read_cell(
    banks: Words,
    spans: Words,
    features: Words,
    scales: Floats,
    words: Words,
    cell: int,
    degree: int,
    at: int,
    sums: Words,
    out: Floats,
    base: int,
) -> None:
    """Write what is not empty in this cell at `at` into its features' columns of the row at out[base].

    `sums` is scratch.
    """
    bank = words[cell + CELL_BANK]
    scale = scales[bank]
    sample = banks[bank * BANK_COLUMNS + SAMPLE]
    if banks[bank * BANK_COLUMNS + LEVELS] and not sample:
        sum_windows(banks, spans, words, cell, degree, at, sums)
    halves_of = -1
    live, weighted, total = 0, 0.0, 0.0
    for feature in range(banks[bank * BANK_COLUMNS + FEATURE_AT], banks[bank * BANK_COLUMNS + FEATURES_END]):
        function, span = (
            features[feature * FEATURE_COLUMNS + FUNCTION],
            features[feature * FEATURE_COLUMNS + SPAN],
        )
        number = features[feature * FEATURE_COLUMNS + NUMBER]
        column = base + features[feature * FEATURE_COLUMNS + OUT]
        if function == DISTINCT:
            seen = int64(0)
            since = (
                at - spans[banks[bank * BANK_COLUMNS + LEVEL_AT] + 2 * number] if span == WINDOW else int64(0)
            )
            for entry in range(cell + HEAD, cell + HEAD + TILE * words[cell + CELL_N], TILE):
                seen += words[entry + 1] >= since
            if seen:
                out[column] = seen * 2.0 ** words[cell + CELL_THIN]
        elif span == WINDOW:
            group = 5 * number
            if sums[group]:
                out[column] = value_of(function, scale, sums, group)
        elif span == ALL_TIME:
            if words[cell + CELL_EVER]:
                sums[5 * MOST_LEVELS + 1] = words[cell + CELL_COUNT]
                sums[5 * MOST_LEVELS + 2] = words[cell + CELL_SUM]
                sums[5 * MOST_LEVELS + 3] = words[cell + CELL_MIN]
                sums[5 * MOST_LEVELS + 4] = words[cell + CELL_MAX]
                out[column] = value_of(function, scale, sums, 5 * MOST_LEVELS)
        elif span == HALF_LIFE:
            if number != halves_of:
                halves_of = number
                live, weighted, total = sum_half(banks, spans, words, cell, number, at)
            if live:
                if function == COUNT:
                    out[column] = weighted
                elif function == SUM:
                    out[column] = total / scale
                else:
                    out[column] = total / weighted / scale if weighted else 0.0
        elif span == MOMENT:
            if function == SINCE_LAST:
                out[column] = (at - words[cell + CELL_LAST]) / DAY
            elif function == LAST_VALUE:
                out[column] = words[cell + CELL_LATEST + 2] / scale
            else:
                out[column] = (at - words[cell + CELL_FIRST]) / DAY


@compiled
def value_of(function: int, scale: float, sums: Words, group: int) -> float:
    """A function of the tiles summed in this group."""
    if function == COUNT:
        return float(sums[group + 1])
    if function == SUM:
        return sums[group + 2] / scale
    if function == MEAN:
        return sums[group + 2] / sums[group + 1] / scale
    if function == MIN:
        return sums[group + 3] / scale
    return sums[group + 4] / scale


@compiled
def derive(
    derived: Words, factors: Floats, count: int, defaults: Floats, row: Floats, base: int, beside: Floats
) -> None:
    """Fill the `count` columns computed of two others, of the row that begins at row[base].

    Columns below zero are those of `beside`, from -1 on.
    """
    for number in range(count):
        over, under = (
            derived[number * DERIVED_COLUMNS + NUMERATOR],
            derived[number * DERIVED_COLUMNS + DENOMINATOR],
        )
        top = row[base + over] if over >= 0 else beside[-1 - over]
        bottom = row[base + under] if under >= 0 else beside[-1 - under]
        out = derived[number * DERIVED_COLUMNS + DERIVED_OUT]
        if bottom == 0.0 or np.isnan(bottom) or np.isnan(top):
            row[base + out] = defaults[out]
        else:
            row[base + out] = factors[number] * top / bottom
