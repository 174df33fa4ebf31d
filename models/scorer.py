"""What every model is shown and what it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Columns:
    """The names of a matrix: those that are the same for every offer, then those of each pair.

    Scorers remember what they worked out for a `Columns` object, so make one and keep it.

    >>> Columns(("spend_sum_7d",), ("offer.discount",)).names
    ('spend_sum_7d', 'offer.discount')
    """

    customer: tuple[str, ...]
    offers: tuple[str, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every name, in the order of `Matrix.dense`."""
        return self.customer + self.offers

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Where each name stands among them."""
        return {name: n for n, name in enumerate(self.names)}

    @cached_property
    def digest(self) -> str:
        """16 hex characters that two lists of names share only when they are the same."""
        text = "\n".join(self.customer) + "\n\n" + "\n".join(self.offers)
        return blake2b(text.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Matrix:
    """One customer and n offers at one instant; a missing value is NaN.

    `customer` holds (F,) values that all rows share and `offers` (n, K), both float32: the very
    bytes that a decision record keeps.
    """

    columns: Columns
    customer: Floats
    offers: Floats

    def __len__(self) -> int:
        return len(self.offers)

    def dense(self) -> Scores:
        """The (n, F + K) table in float64, for models that read whole rows."""
        return dense([self])


def dense(matrices: Sequence[Matrix]) -> Scores:
    """The dense tables of matrices with the same columns, one behind the other."""
    width, columns = len(matrices[0].customer), len(matrices[0].columns.names)
    table = np.empty((sum(map(len, matrices)), columns))
    begin = 0
    for each in matrices:
        rows = table[begin : begin + len(each)]
        rows[:, :width], rows[:, width:] = each.customer, each.offers
        begin += len(each)
    return table


class Scorer(Protocol):
    """A model that gives each offer the probability of a conversion."""

    @property
    def name(self) -> str:
        """What the model is: `river`, `lightgbm`, `prior`."""
        ...

    @property
    def version(self) -> str:
        """Which one of its kind; a decision record keeps it."""
        ...

    def score(self, *matrices: Matrix) -> Scores:
        """Probabilities, float64, strictly between 0 and 1: of the first matrix' offers, of the next one's...

        Matrices have the same columns. Each is scored as it is alone, to the last bit: together they are
        only cheaper.
        """
        ...


@dataclass(slots=True)
class Places:
    """Where the features a model knows stand in the matrices it is shown, worked out once per columns.

    `of` gives, for each wanted name, its place in `Columns.names`, or -1 when it is not there.
    """

    wanted: tuple[str, ...]
    _columns: Columns | None = field(default=None)
    _at: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, dtype=np.intp))

    def of(self, columns: Columns) -> NDArray[np.intp]:
        """The places of the wanted names in `columns`."""
        if columns is not self._columns:
            known = columns.places
            self._at = np.array([known.get(name, -1) for name in self.wanted], dtype=np.intp)
            self._columns = columns
        return self._at

    def missing(self, columns: Columns) -> tuple[str, ...]:
        """The wanted names that `columns` does not have."""
        return tuple(name for name, at in zip(self.wanted, self.of(columns), strict=True) if at < 0)
