"""Which offers are said, in which order, with which exact probability."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.bits import bits_of

# exp(-80) is still an ordinary float32; past it weights would lose digits and then vanish.
STEEPEST = 80.0

Weights = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Slate:
    """What was drawn: `order` are indices of offers, `probabilities[j]` the chance of the j-th of them there.

    Each chance is given what was drawn before; `probability` is their product: the exact chance of this
    very slate. When silence was drawn at position 1, `silent` is true, `order` is empty and `probability`
    is that of silence.
    """

    order: tuple[int, ...]
    probabilities: tuple[float, ...]
    probability: float
    silent: bool = False


def weigh(z: Sequence[float] | NDArray[np.float64], temperature: float, clip: float) -> Weights:
    """exp((z - best) / temperature) as float32, with z no further than `clip` below the best.

    `z` is the logarithm of a priority, so `clip` is the widest ratio of priorities that still counts:
    it bounds every probability from below. Errors: ValueError for a temperature or range that
    would leave weights of zero.

    >>> weigh([0.0, -1.0, -9.0], temperature=1.0, clip=2.0).round(3).tolist()
    [1.0, 0.36800000071525574, 0.13500000536441803]
    """
    if not temperature > 0 or not 0 <= clip / temperature <= STEEPEST:
        raise ValueError(
            f"arbitration: expected temperature > 0 and 0 <= clip / temperature <= {STEEPEST:g}, "
            f"found temperature {temperature!r} and clip {clip!r}; raise the temperature or lower the clip"
        )
    given = np.asarray(z, dtype=np.float64)
    if given.size == 0:
        return np.empty(0, dtype=np.float32)
    best = float(given.max())
    if not best < np.inf:  # nor is NaN, which is then the greatest
        raise ValueError("arbitration: expected priorities that are finite numbers, found NaN or infinity")
    below = np.zeros_like(given) if best == -np.inf else np.maximum(given - best, -clip)
    return np.exp(below / temperature).astype(np.float32)


def draw(seed: int, weights: Weights, slots: int, silence: float | None = None) -> Slate:
    """Fill up to `slots` positions, each drawn in proportion to the weights still there.

    Only IEEE additions, multiplications and comparisons in a fixed order happen here, on the raw bits of
    PCG64, so the same seed (0 to 2^64 - 1) and weights give the same slate on every machine and for ever.
    `silence` is the weight of saying nothing, in the same unit; it competes at position 1 alone.

    >>> draw(7, np.array([1, 1, 1], dtype=np.float32), slots=2).probabilities
    (0.3333333333333333, 0.5)
    """
    left = np.array(weights, dtype=np.float64)
    order: list[int] = []
    chances: list[float] = []
    product = 1.0
    for position, bits in enumerate(bits_of(seed, max(0, min(slots, len(left))))):
        heap = left.cumsum()
        quiet = float(silence) if silence is not None and position == 0 else 0.0
        total = float(heap[-1]) + quiet
        if not total > 0:
            raise ValueError("arbitration: expected positive weights, found none; make them with `weigh`")
        aim = (bits >> 11) * 2.0**-53 * total
        if aim >= float(heap[-1]) and quiet > 0:
            return Slate((), (), quiet / total, silent=True)
        pick = int(heap.searchsorted(aim, side="right"))
        if pick >= len(left):  # aim rounded up to the very top
            pick = int(np.flatnonzero(left)[-1])
        chance = float(left[pick]) / total
        order.append(pick)
        chances.append(chance)
        product *= chance
        left[pick] = 0.0
    return Slate(tuple(order), tuple(chances), product)


def arrange(
    seed: int,
    z: Sequence[float] | NDArray[np.float64],
    temperature: float,
    clip: float,
    slots: int,
    silence_z: float | None = None,
) -> Slate:
    """A Plackett-Luce slate over log priorities `z`: position j is a softmax over the offers still there.

    >>> arrange(1, [0.0, -50.0], temperature=0.1, clip=5.0, slots=1).order
    (0,)
    """
    given = np.asarray(z, dtype=np.float64)
    if silence_z is None:
        return draw(seed, weigh(given, temperature, clip), slots)
    weights = weigh(np.append(given, silence_z), temperature, clip)
    return draw(seed, weights[:-1], slots, float(weights[-1]))
