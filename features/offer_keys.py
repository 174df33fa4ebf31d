"""The keys that offers pick, hashed and sorted once, so that a reading only looks them up."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.batch import hash_key

Words = NDArray[np.int64]


class OfferKeys(NamedTuple):
    """The keys of some offers as the compiled reading takes them.

    `keys` are the different keys' hashes, sorted within each of `matches`: ranges[m] to ranges[m + 1] are
    those of match m. picks[offer, m] says which of them the offer reads, -1 for none.
    """

    matches: tuple[str, ...]
    keys: Words
    ranges: Words
    picks: Words

    @property
    def offers(self) -> int:
        """How many offers these are the keys of."""
        return len(self.picks)

    def of(self, offers: NDArray[np.intp]) -> "OfferKeys":
        """The same of some of the offers, by their places; keys that none of them picks are left out."""
        picks = self.picks[offers]
        # One more, which stands for no key at all: a pick of -1 finds it.
        picked = np.zeros(len(self.keys) + 1, dtype=bool)
        picked[picks.ravel()] = True
        before = np.cumsum(picked) - picked
        renumbered = before.copy()
        renumbered[-1] = -1
        return OfferKeys(self.matches, self.keys[picked[:-1]], before[self.ranges], renumbered[picks])


def offer_keys(matches: Sequence[str], keys: Mapping[str, Sequence[str]], offers: int) -> OfferKeys:
    """Lay out keys[match][i], the attribute `match` of offer i; a match that is not in `keys` picks nothing.

    `matches` are those of the plan, `plan.tables.matches`. Errors: ValueError when a list of keys is not one
    for each of so many offers.

    >>> laid = offer_keys(["kind"], {"kind": ["tea", "pie", "tea"]}, 3)
    >>> tea, pie, again = laid.picks[:, 0].tolist()
    >>> len(laid.keys), tea == again, tea == pie
    (2, True, False)
    """
    wrong = {match: len(each) for match, each in keys.items() if len(each) != offers}
    if wrong:
        match, found = next(iter(wrong.items()))
        raise ValueError(
            f"keys of offers: expected lists of one length, {offers}, found {found} of {match!r}; "
            "give each offer a key, an empty one where it has none"
        )
    ranges, different = [0], []
    picks = np.full((offers, len(matches)), -1, dtype=np.int64)
    for number, match in enumerate(matches):
        if match in keys:
            hashed = np.array([hash_key(key) for key in keys[match]], dtype=np.int64)
            each, inverse = np.unique(hashed, return_inverse=True)
            picks[:, number] = ranges[-1] + inverse
            different.append(each)
        ranges.append(ranges[-1] + (len(different[-1]) if match in keys else 0))
    every = np.concatenate(different) if different else np.zeros(0, dtype=np.int64)
    return OfferKeys(tuple(matches), every, np.array(ranges, dtype=np.int64), picks)
