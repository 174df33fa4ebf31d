"""What a fold came to for triggers: rows that compiled code wrote, in the order of each customer's log."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.kernel import trigger_layout as at
from features.kernel.trigger_layout import RememberTables, ToldTables


class Hit(NamedTuple):
    """One thing that happened to a trigger, a number of `features.kernel.trigger_layout` from `FIRED` on.

    `event` is the place of the event in the batch, `time` and `began` ms, `mark` that of the cause, `told`
    the values that the trigger reports.
    """

    event: int
    trigger: int
    sort: int
    time: int
    began: int
    mark: int
    more: int
    told: list[float]


class Hits(NamedTuple):
    """All of them: rows as the kernel wrote them, and the values told."""

    rows: NDArray[np.int64]
    told: NDArray[np.float64]

    def __bool__(self) -> bool:
        return len(self.rows) > 0

    def every(self) -> list[Hit]:
        """Each, as it came."""
        told = self.told.tolist()
        return [
            Hit(event, trigger, sort, time, began, mark, more, told[row] if row >= 0 else [])
            for event, trigger, sort, row, time, began, mark, more in self.rows.tolist()
        ]


def hits_of(outcome: ToldTables, memories: RememberTables, asking: NDArray[np.int64]) -> Hits:
    """What was written, taken out of the scratch; `asking` says of which event each row of `asks` is."""
    rows = outcome.hits[: memories.counts[at.N_HITS]].copy()
    rows[:, at.HIT_EVENT] = asking[rows[:, at.HIT_EVENT]]
    return Hits(rows, outcome.told[: memories.counts[at.N_TOLD]].copy())
