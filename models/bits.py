"""The random bits of a decision: those of numpy's PCG64 under the same seed, without the objects around them.

Seeding is that of numpy's `SeedSequence` (O'Neill 2015, "Developing a seed_seq alternative"); the generator
is PCG XSL RR 128/64 (O'Neill 2014, "PCG: A Family of Simple Fast Space-Efficient Statistically Good
Algorithms for Random Number Generation").
"""

import numpy as np
from numpy.typing import NDArray

from features.kernel.compiled import compiled

_LOW = np.uint64(0xFFFFFFFF)
_HALF, _QUARTER, _ONE, _ROTATES, _WORD = (np.uint64(n) for n in (32, 16, 1, 58, 64))
_POOL = 4
"""Words of 32 bits that a seed is spread over."""

_BEGIN, _FACTOR = np.uint64(0x43B0D7E5), np.uint64(0x931E8875)
_BEGIN_OUT, _FACTOR_OUT = np.uint64(0x8B51F9DD), np.uint64(0x58F38DED)
_LEFT, _RIGHT = np.uint64(0xCA01F9DD), np.uint64(0x4973F715)
_HIGH_STEP, _LOW_STEP = np.uint64(0x2360ED051FC65DA4), np.uint64(0x4385DF649FCCF645)

Bits = NDArray[np.uint64]


def bits_of(seed: int, count: int) -> list[int]:
    """The first `count` words of 64 bits under a seed of 0 to 2^64 - 1.

    >>> bits_of(7, 2) == np.random.PCG64(7).random_raw(2).tolist()
    True
    """
    out = np.empty(count, dtype=np.uint64)
    _draw(np.uint64(seed), out)
    return out.tolist()


@compiled
def _draw(seed: np.uint64, out: Bits) -> None:
    words = _spread(seed)
    # The increment is odd; the first step is from zero, the seed is added, and one more is made.
    high, low = words[2] << _ONE | words[3] >> np.uint64(63), words[3] << _ONE | _ONE
    state = _add(high, low, words[0], words[1])
    state = _step(state[0], state[1], high, low)
    for place in range(out.size):
        state = _step(state[0], state[1], high, low)
        mixed, turn = state[0] ^ state[1], state[0] >> _ROTATES
        out[place] = mixed >> turn | mixed << (_WORD - turn & np.uint64(63))


@compiled
def _spread(seed: np.uint64) -> Bits:
    """Four words of a seed."""
    pool, factor = np.zeros(_POOL, dtype=np.uint64), _BEGIN
    pool[0], pool[1] = seed & _LOW, seed >> _HALF
    for place in range(_POOL):
        pool[place], factor = _hashed(pool[place], factor, _FACTOR)
    for source in range(_POOL):
        for place in range(_POOL):
            if source != place:
                word, factor = _hashed(pool[source], factor, _FACTOR)
                mixed = (_LEFT * pool[place] - _RIGHT * word) & _LOW
                pool[place] = mixed ^ mixed >> _QUARTER
    words, factor = np.zeros(4, dtype=np.uint64), _BEGIN_OUT
    for place in range(4):
        low, factor = _hashed(pool[2 * place % _POOL], factor, _FACTOR_OUT)
        high, factor = _hashed(pool[(2 * place + 1) % _POOL], factor, _FACTOR_OUT)
        words[place] = high << _HALF | low
    return words


@compiled
def _hashed(word: np.uint64, factor: np.uint64, by: np.uint64) -> tuple[np.uint64, np.uint64]:
    """A word of 32 bits, hashed, and the next factor."""
    word ^= factor
    factor = factor * by & _LOW
    word = word * factor & _LOW
    return word ^ word >> _QUARTER, factor


@compiled
def _add(
    high: np.uint64, low: np.uint64, more_high: np.uint64, more_low: np.uint64
) -> tuple[np.uint64, np.uint64]:
    """The sum of two words of 128 bits."""
    total = low + more_low
    carry = _ONE if total < low else np.uint64(0)
    return high + more_high + carry, total


@compiled
def _step(
    high: np.uint64, low: np.uint64, more_high: np.uint64, more_low: np.uint64
) -> tuple[np.uint64, np.uint64]:
    """The next state: times the multiplier, plus the increment."""
    a, b = low & _LOW, low >> _HALF
    c, d = _LOW_STEP & _LOW, _LOW_STEP >> _HALF
    middle = b * c + (a * c >> _HALF)
    side = a * d + (middle & _LOW)
    carried = b * d + (middle >> _HALF) + (side >> _HALF)
    return _add(high * _LOW_STEP + low * _HIGH_STEP + carried, low * _LOW_STEP, more_high, more_low)
