"""Chance that does not depend on who asks first: a number for each question, the same in every run of a seed.

Arms of an experiment meet the same people in the same mood: what differs between them is what they did.
"""

_MASK = (1 << 64) - 1


def coin(*question: int) -> float:
    """A uniform number in [0, 1) that belongs to these numbers: SplitMix64 over them.

    Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.

    >>> coin(1, 2) == coin(1, 2), coin(1, 2) == coin(2, 1)
    (True, False)
    """
    state = 0x243F6A8885A308D3
    for number in question:
        state = (state ^ number) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return (state >> 11) * 2.0**-53
