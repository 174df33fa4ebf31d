"""The offers of one placement, as arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from features.offer_keys import OfferKeys
from models.eligibility import Indices, Rules
from models.offer import Offer
from models.placement import DAY_MS, Placement
from models.scorer import Columns, Floats, Matrix

# A text attribute with at most so many values becomes one number (0 or 1) for each of them, when on average
# two offers or more share a value: what nearly tells offers apart teaches nothing about the next one.
FEW = 20

CHOICES = 16
"""So many choices of offers are remembered with their keys: what rules leave changes seldom."""

CLOCK = ("hour", "weekday")
DATES = ("days_left", "days_since_start")
DAYS = np.array([1 / DAY_MS, -1 / DAY_MS])


@dataclass(frozen=True, slots=True)
class Assortment:
    """The offers of one placement in the order of their ids, as arrays.

    `numbers` (n, K) float32 are the attributes as models see them, `dates` (n, 2) the ends and beginnings
    of their validity (ms, NaN where open), `columns` the names of a whole matrix,
    `features` the length of the customer's row without the clock. For each `match` of a cross feature,
    `keys` has what it reads off each offer, `codes` the same as numbers, `families` its columns; `picks` are
    the keys as they are read, `asked` those of the choices lately asked for.
    """

    placement: Placement
    offers: tuple[Offer, ...]
    values: NDArray[np.float64]
    numbers: Floats
    dates: NDArray[np.float64]
    columns: Columns
    features: int
    keys: Mapping[str, tuple[str, ...]]
    codes: Mapping[str, NDArray[np.int32]]
    families: Mapping[str, tuple[int, ...]]
    rules: Rules
    zone: ZoneInfo
    picks: OfferKeys
    asked: dict[bytes, OfferKeys] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.offers)

    def keys_of(self, offers: Indices) -> OfferKeys:
        """What `features.row.cross` asks for: the keys of each of `offers`."""
        choice = offers.tobytes()
        found = self.asked.get(choice)
        if found is None:
            if len(self.asked) >= CHOICES:
                self.asked.clear()
            found = self.asked[choice] = self.picks.of(offers)
        return found

    def customer(self, row: Floats, at: int) -> Floats:
        """The customer's part of a matrix: the row, then the local hour and weekday (Monday is 0)."""
        local = datetime.fromtimestamp(at / 1000, self.zone)
        whole = np.empty(len(row) + len(CLOCK), dtype=np.float32)
        whole[: len(row)] = row
        whole[len(row) :] = local.hour + local.minute / 60, local.weekday()
        return whole

    def matrix(self, row: Floats, cross: Floats, offers: Indices, at: int) -> Matrix:
        """What the models are shown for `offers` at the instant `at` (ms).

        Of each offer its cross features, its attributes, and the days it has left and behind it; open dates
        are NaN.
        """
        crossed, known = cross.shape[1], cross.shape[1] + self.numbers.shape[1]
        pairs = np.empty((len(offers), known + len(DATES)), dtype=np.float32)
        pairs[:, :crossed] = cross
        pairs[:, crossed:known] = self.numbers[offers]
        # (end, begin) against the instant: days left are counted from it, days since the start up to it.
        pairs[:, known:] = (self.dates[offers] - at) * DAYS
        return Matrix(self.columns, self.customer(row, at), pairs)


def numeric(offers: Sequence[Offer]) -> tuple[tuple[str, ...], Floats]:
    """Attributes as numbers: numbers as they are, shared texts as 0/1 columns, never an id.

    >>> from models.offer import Offer
    >>> menu = [Offer(id=i, name=i, group="menu", attributes={"kind": k, "kcal": c})
    ...         for i, k, c in (("a", "soup", 90.0), ("b", "soup", 80.0), ("c", "pie", 400.0))]
    >>> names, numbers = numeric(menu)
    >>> names
    ('offer.kcal', 'offer.kind=pie', 'offer.kind=soup')
    >>> numbers.tolist()
    [[90.0, 0.0, 1.0], [80.0, 0.0, 1.0], [400.0, 1.0, 0.0]]
    """
    names: list[str] = []
    columns: list[list[float]] = []
    for attribute in sorted({name for offer in offers for name in offer.attributes}):
        values = [offer.attributes.get(attribute) for offer in offers]
        texts = sorted({value for value in values if isinstance(value, str)})
        if not texts:
            names.append(f"offer.{attribute}")
            columns.append([np.nan if value is None else float(value) for value in values])
        elif len(texts) <= FEW and 2 * len(texts) <= max(len(offers), 4):
            for text in texts:
                names.append(f"offer.{attribute}={text}")
                columns.append([float(value == text) for value in values])
    table = np.array(columns, dtype=np.float32).T if columns else np.empty((len(offers), 0), dtype=np.float32)
    return tuple(names), np.ascontiguousarray(table.reshape(len(offers), len(names)))
