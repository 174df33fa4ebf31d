"""The fold by itself: events decoded, states in memory, micro-batches as large as the stream's."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from events.envelope import Event
from events.identity import partition_of
from features.batch import batch_of
from features.fold import fold_batch
from features.plan import Plan
from kairos.bench.measure import median


class FoldCost(NamedTuple):
    """Microseconds of processor an event, medians over micro-batches: laid out as columns, then folded."""

    columns: float
    fold: float


def fold_alone(
    plan: Plan, events: Sequence[Event], partitions: int, states: dict[str, bytes], batch: int
) -> FoldCost:
    """Fold the events into `states` (by customer, changed in place), `batch` at once; say what it took.

    The fold looks up each customer's state, folds, and keeps what came of it.
    """
    # The first call of compiled code loads it.
    fold_batch(plan, [None], events[:1], [0], [0], [0])
    columns: list[float] = []
    whole: list[float] = []
    for at in range(0, len(events), batch):
        part = events[at : at + batch]
        places = [partition_of(event.customer, partitions) for event in part]
        positions = range(at, at + len(part))
        began = time.thread_time()
        owner: dict[str, int] = {}
        owners = [owner.setdefault(event.customer, len(owner)) for event in part]
        folded = fold_batch(plan, [states.get(each) for each in owner], part, owners, places, positions)
        states.update(zip(owner, folded.blobs, strict=True))
        between = time.thread_time()
        batch_of(plan, part, owners, len(owner), places, positions)
        columns.append(1e6 * (time.thread_time() - between) / len(part))
        whole.append(1e6 * (between - began) / len(part))
    return FoldCost(median(columns), median(a - b for a, b in zip(whole, columns, strict=True)))
