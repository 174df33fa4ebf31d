"""The audit that refuses leaks: what was served must be what the log holds before the moment."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from events.faults import Refusal


class Leak(Refusal):
    """Features whose served values cannot be had from the log before the moment; `features` counts rows."""

    def __init__(self, features: Mapping[str, int], rows: int, examples: Mapping[str, str]) -> None:
        self.features = dict(features)
        lines = [
            f"  {name}: {count} of {rows} rows differ{examples[name]}" for name, count in features.items()
        ]
        count = "1 feature that differs" if len(features) == 1 else f"{len(features)} features that differ"
        super().__init__(
            "audit: expected every served value to be recomputed from events before the moment, found "
            f"{count}; do not train on them until the log and the service agree:\n" + "\n".join(lines)
        )


def audit(
    names: Sequence[str],
    served: NDArray[np.floating],
    recomputed: NDArray[np.floating],
    tolerance: float = 0.0,
) -> int:
    """Compare (n, F) rows value by value, NaN equal to NaN; the number of rows when all agree.

    `recomputed` comes from the log cut before each moment. Errors: Leak names every feature that
    differs by more than `tolerance`; ValueError when the shapes do.

    >>> audit(["a"], np.array([[1.0]]), np.array([[1.0]]))
    1
    >>> audit(["a", "basket_today"], np.array([[1.0, 9.0]]), np.array([[1.0, 0.0]]))
    Traceback (most recent call last):
    experiments.audit.Leak: audit: expected every served value to be recomputed from events before the \
moment, found 1 feature that differs; do not train on them until the log and the service agree:
      basket_today: 1 of 1 rows differ, first in row 0: served 9.0, recomputed 0.0
    """
    if served.shape != recomputed.shape or served.shape[1:] != (len(names),):
        raise ValueError(
            f"audit: expected two tables of shape (rows, {len(names)}), "
            f"found {served.shape} and {recomputed.shape}"
        )
    both_missing = np.isnan(served) & np.isnan(recomputed)
    with np.errstate(invalid="ignore"):
        same = both_missing | (served == recomputed) | (np.abs(served - recomputed) <= tolerance)
    wrong = (~same).sum(axis=0)
    if wrong.any():
        features, examples = {}, {}
        for column in np.flatnonzero(wrong).tolist():
            row = int(np.flatnonzero(~same[:, column])[0])
            features[names[column]] = int(wrong[column])
            examples[names[column]] = (
                f", first in row {row}: served {served[row, column]}, recomputed {recomputed[row, column]}"
            )
        raise Leak(features, len(served), examples)
    return len(served)
