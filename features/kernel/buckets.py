"""Buckets of a histogram of numbers, each as wide as its numbers are large: what percentiles are read off.

A number as it is kept (a whole one) is in bucket i when gamma^(i - 1) < number <= gamma^i, gamma being
(1 + 2.5 %) / (1 - 2.5 %) = 41 / 39; negative ones mirror these, zero has a bucket of its own. So each number
of a bucket is within 2.5 % of its middle. The key of a cell is the bucket's number, counted so that keys are
above 0 and in the order of what they hold.

A histogram that has been `joined` t times keeps 2^t neighbours as one, under the key of that furthest from
zero: which numbers are together follows from t alone, whatever the order they came in.
"""

import numpy as np
from numpy.typing import NDArray

from features.kernel.compiled import compiled
from features.kernel.layout import MISSING

GAMMA = (41, 39)
"""As a fraction, so that every machine puts a number into the same bucket."""

ZERO = 4096
"""The key of the bucket of zero."""

MOST_JOINED = 10
"""By then all numbers of one sign are in two buckets: those of size 1, and all others."""

LEAST = 5
"""Buckets of a histogram that has been joined as often as it may be."""

_TOP = (1 << 63) - 1


def _bounds() -> NDArray[np.int64]:
    """The greatest number of each bucket of positive ones."""
    over, under = GAMMA
    bounds, power = [1], 1
    while bounds[-1] < _TOP:
        bounds.append(min(over**power // under**power, _TOP))
        power += 1
    return np.array(bounds, dtype=np.int64)


BOUNDS = _bounds()


def buckets_of(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """The key of each number's bucket; `MISSING` where the number is.

    >>> buckets_of(np.array([-1, 0, 1, 2])) - ZERO
    array([-1,  0,  1, 15])
    """
    missing = numbers == MISSING
    sizes = np.abs(np.where(missing, 0, numbers))
    keys = ZERO + np.sign(numbers) * (1 + np.searchsorted(BOUNDS, sizes))
    return np.where(missing, MISSING, keys)


@compiled
def joined(key: int, times: int) -> int:
    """The key under which a histogram that was joined so often keeps a bucket."""
    if times == 0 or key == ZERO:
        return key
    number = abs(key - ZERO) - 1
    number = (number + (1 << times) - 1) >> times << times
    return ZERO + 1 + number if key > ZERO else ZERO - 1 - number


@compiled
def middle_of(key: int, times: int) -> float:
    """The number from which the least and the greatest of a bucket are equally far, each as a part of itself.

    Exact where a bucket has room for one number only.
    """
    if key == ZERO:
        return 0.0
    number = abs(key - ZERO) - 1
    before = number - (1 << times)
    least = float(BOUNDS[before] + 1) if before >= 0 else 1.0
    greatest = float(BOUNDS[min(number, BOUNDS.size - 1)])
    middle = 2.0 * least * greatest / (least + greatest)
    return middle if key > ZERO else -middle
