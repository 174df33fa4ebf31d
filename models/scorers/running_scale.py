"""The running mean and variance of each feature, for all features of an example at once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


class RunningScale:
    """The numbers of River's StandardScaler, in a few array operations instead of a loop over names.

    Arrays run over `names`, in the order in which features were first seen. NaN is not learned from.

    >>> scale = RunningScale()
    >>> at = scale.places(("a", "b"))
    >>> for pair in ([1.0, np.nan], [3.0, 8.0]):
    ...     scale.learn(at, np.array(pair))
    >>> scale.names, scale.counts.tolist(), scale.means.tolist(), scale.variances.tolist()
    (['a', 'b'], [2.0, 1.0], [2.0, 8.0], [1.0, 0.0])
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.counts: Values = np.empty(0)
        self.means: Values = np.empty(0)
        self.variances: Values = np.empty(0)
        self._index: dict[str, int] = {}
        self._known: tuple[Sequence[str], NDArray[np.intp]] | None = None

    def places(self, names: Sequence[str]) -> NDArray[np.intp]:
        """Where `names` stand in the arrays; names that are new get a place."""
        if self._known is None or self._known[0] is not names:
            for name in names:
                if name not in self._index:
                    self._index[name] = len(self.names)
                    self.names.append(name)
            grown = (0, len(self.names) - len(self.counts))
            self.counts, self.means, self.variances = (
                np.pad(each, grown) for each in (self.counts, self.means, self.variances)
            )
            self._known = names, np.array([self._index[name] for name in names], dtype=np.intp)
        return self._known[1]

    def learn(self, at: NDArray[np.intp], values: Values) -> None:
        """Take in one example (Welford 1962)."""
        known = ~np.isnan(values)
        at, values = at[known], values[known]
        count, old, variance = self.counts[at] + 1, self.means[at], self.variances[at]
        mean = old + (values - old) / count
        self.counts[at], self.means[at] = count, mean
        self.variances[at] = variance + ((values - old) * (values - mean) - variance) / count

    def standard(self, at: NDArray[np.intp], values: Values) -> Values:
        """Deviations from the mean in standard deviations; 0 where nothing ever varied."""
        variance = self.variances[at]
        apart: Values = values - self.means[at]
        scaled: Values = np.divide(apart, np.sqrt(variance), out=np.zeros(len(at)), where=variance > 0)
        scaled[np.isnan(values)] = np.nan
        return scaled
