"""The answer before anything was learned."""

from dataclasses import dataclass

import numpy as np

from models.scorer import Matrix, Scores


@dataclass(frozen=True, slots=True)
class Prior:
    """Every offer gets the rate that its placement declares.

    >>> from models.scorer import Columns
    >>> nothing = np.empty((2, 0), dtype=np.float32)
    >>> Prior(0.02).score(Matrix(Columns((), ()), np.empty(0, dtype=np.float32), nothing)).tolist()
    [0.02, 0.02]
    """

    rate: float
    name: str = "prior"
    version: str = "declared"

    def score(self, *matrices: Matrix) -> Scores:
        """The declared rate, once for each offer."""
        return np.full(sum(map(len, matrices)), self.rate)
