"""Half-lives: sums that count half after a while, exact to add in any order.

With a half-life h, time is cut in intervals of h; an interval i sums round(v * 2^frac(t / h) * 2^24). Read
at t', its part is that sum times 2^(i - t'/h - 24): forward decay (Cormode, Shkapenyuk, Srivastava and Xu
2009). The newest 40 intervals are kept; what is older weighs less than 2^-39. Sums need up to 80 bits: two
words, the lower of 32 bits, carried over when the cell is stored.
"""

import math

import numpy as np

from features.kernel.compiled import Words, compiled, int64
from features.kernel.layout import (
    BANK_COLUMNS,
    CELL_CAP,
    HALF_AT,
    HALF_LIVES_KEPT,
    HALVES,
    HEAD,
    INTERVAL,
    INTERVALS,
    TILE,
    WEIGHT_BITS,
)

_LOW = 4294967296.0


@compiled
def half_of(words: Words, cell: int, number: int) -> int:
    """Offset of the intervals of one half-life of a cell: a count, then (interval, count, high, low)."""
    return cell + HEAD + TILE * words[cell + CELL_CAP] + number * (1 + INTERVAL * INTERVALS)


@compiled
def forget_intervals(words: Words, half: int, oldest: int) -> None:
    """Let go of the intervals before `oldest`; they are in order."""
    n = words[half]
    gone = 0
    while gone < n and words[half + 1 + INTERVAL * gone] < oldest:
        gone += 1
    if gone:
        for word in range(half + 1, half + 1 + INTERVAL * (n - gone)):
            words[word] = words[word + INTERVAL * gone]
        words[half] = n - gone


@compiled
def add_interval(words: Words, half: int, interval: int, oldest: int, count: int, high: int, low: int) -> int:
    """Add to an interval; 1 when it is new, 0 when it was there or is forgotten already."""
    if interval < oldest:
        return 0
    if words[half] == INTERVALS:
        forget_intervals(words, half, oldest)
    n = words[half]
    at = n
    while at and words[half + 1 + INTERVAL * (at - 1)] >= interval:
        at -= 1
    place = half + 1 + INTERVAL * at
    if at < n and words[place] == interval:
        words[place + 1] += count
        words[place + 2] += high
        words[place + 3] += low
        return 0
    for word in range(half + INTERVAL * n, place - 1, -1):
        words[word + INTERVAL] = words[word]
    words[place], words[place + 1], words[place + 2], words[place + 3] = interval, count, high, low
    words[half] = n + 1
    return 1


@compiled
def add_halves(
    banks: Words, spans: Words, words: Words, cell: int, bank: int, time: int, newest: int, value: int
) -> int:
    """Add a value that happened at `time` to every half-life; how many intervals are new."""
    new = 0
    for number in range(banks[bank * BANK_COLUMNS + HALVES]):
        length = spans[banks[bank * BANK_COLUMNS + HALF_AT] + number]
        interval = time // length
        weight = 2.0 ** ((time - interval * length) / length + WEIGHT_BITS)
        weighted = np.rint(weight * value)
        high = math.floor(weighted / _LOW)
        new += add_interval(
            words,
            half_of(words, cell, number),
            interval,
            newest // length - HALF_LIVES_KEPT,
            int64(np.rint(weight)),
            int64(high),
            int64(weighted - high * _LOW),
        )
    return new


@compiled
def settle_halves(banks: Words, spans: Words, words: Words, cell: int, bank: int, newest: int) -> None:
    """Forget the intervals that are past, and carry lower words over."""
    for number in range(banks[bank * BANK_COLUMNS + HALVES]):
        half = half_of(words, cell, number)
        forget_intervals(
            words, half, newest // spans[banks[bank * BANK_COLUMNS + HALF_AT] + number] - HALF_LIVES_KEPT
        )
        for at in range(words[half]):
            place = half + 1 + INTERVAL * at
            words[place + 2] += words[place + 3] >> 32
            words[place + 3] &= 0xFFFFFFFF
