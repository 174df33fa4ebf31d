"""What everybody does, folded by the one fold: a state for each partition of the log, merged to be read.

An event counts at most once for each position of the log. It is too late when the newest event of its own
partition is newer by more than the playbook's lateness. Ids are not remembered: what intake lets through
twice counts twice here, though it counts once for its customer.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from events.envelope import Event
from features.fold import decode, fold_batch, merge
from features.plan import Plan
from features.state import State

AT_ONCE = 200
"""Events that are folded in one pass: each of the many cells they touch gets room for all of them."""


class Cut(NamedTuple):
    """Where the counts over everybody that a decision saw can be had from the log again.

    `at` and `read` (ms) are those of `features.row.Everybody`, -1 for None; `positions` the last position of
    each partition that was counted, -1 for none.
    """

    at: int
    read: int
    positions: tuple[int, ...]

    @property
    def plain(self) -> tuple[int, ...]:
        """The same as numbers, as a decision's record keeps it."""
        return (self.at, self.read, *self.positions)

    @classmethod
    def of(cls, plain: Sequence[int]) -> "Cut":
        """What `plain` made.

        >>> Cut.of(Cut(5, 4, (7, -1)).plain)
        Cut(at=5, read=4, positions=(7, -1))
        """
        return cls(plain[0], plain[1], tuple(plain[2:]))


def fold_everybody(
    crowd: Plan, blob: bytes | None, events: Sequence[Event], partition: int, positions: Sequence[int]
) -> bytes:
    """The state of everybody in a partition after these events, in log order; `crowd` is `Plan.crowd`.

    What stands at or below the state's position is skipped, so that reading a piece of log again changes
    nothing. Errors: `BlobDamaged`, `UnknownPlan`.
    """
    if blob is not None:
        state = decode(crowd, blob)
        done, newest = state.applied.get(partition, -1), state.newest
    else:
        done, newest = -1, -1
    new = [n for n, event in enumerate(events) if positions[n] > done and event.type in crowd.programs]
    late = late_of([events[n].time for n in new], newest, crowd.lateness_ms)
    kept = [n for n, too_late in zip(new, late.tolist(), strict=True) if not too_late]
    for start in range(0, len(kept), AT_ONCE):
        piece = kept[start : start + AT_ONCE]
        folded = fold_batch(
            crowd,
            [blob],
            [events[n] for n in piece],
            [0] * len(piece),
            [partition] * len(piece),
            [positions[n] for n in piece],
        )
        (blob,) = folded.blobs
    return fold_batch(crowd, [None], [], [], [], []).blobs[0] if blob is None else blob


def late_of(times: Sequence[int], newest: int, lateness_ms: int) -> NDArray[np.bool_]:
    """Which events, in log order, are older than the newest before them by more than the lateness (ms).

    >>> late_of([100, 40, 95, 90], 0, 8).tolist()
    [False, True, False, True]
    """
    each = np.array(times, dtype=np.int64)
    before = np.maximum.accumulate(np.concatenate(([newest], each)))[:-1]
    return np.asarray(each < before - lateness_ms)


def merge_everybody(crowd: Plan, blobs: Iterable[bytes | None]) -> State | None:
    """The state of everybody in all partitions; None when nothing ever happened.

    Errors: `BlobDamaged`, `UnknownPlan`.
    """
    states = [decode(crowd, blob) for blob in blobs if blob is not None]
    return reduce(lambda one, other: merge(crowd, one, other), states) if states else None
