"""What everybody does, folded by the one fold: a state for each partition of the log, merged to be read.

An event counts at most once for each position of the log. It is too late when the newest event of its own
partition is newer by more than the playbook's lateness. Ids are not remembered: what intake lets through
twice counts twice here, though it counts once for its customer.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from events.envelope import Event
from features.fold import decode, empty, fold_batch, merge
from features.log import LogReader, Piece
from features.plan import Plan
from features.state import State

AT_ONCE = 2_000
"""Events that are folded in one pass: fewer would read the cells that they touch more often."""


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
    known = [n for n, event in enumerate(events) if event.type in crowd.programs]
    mine = [events[n] for n in known]
    times = np.array([event.time for event in mine], dtype=np.int64)
    places = np.array([positions[n] for n in known], dtype=np.int64)
    return _fold(crowd, blob, times, places, partition, lambda kept: [mine[n] for n in kept.tolist()])


def fold_records(
    reader: LogReader, blob: bytes | None, records: Sequence[bytes], partition: int, positions: Sequence[int]
) -> bytes:
    """The same for records of the log, of whatever kind, which become columns and never events.

    `reader` reads them as `Plan.crowd` wants them. Errors: those of `fold_everybody`.
    """
    log = reader.read(records)
    rows = np.flatnonzero(log.kinds >= 0)
    places = np.array(positions, dtype=np.int64)[rows]
    return _fold(reader.plan, blob, log.times[rows], places, partition, lambda kept: Piece(log, rows[kept]))


def _fold(
    crowd: Plan,
    blob: bytes | None,
    times: NDArray[np.int64],
    positions: NDArray[np.int64],
    partition: int,
    events_at: Callable[[NDArray[np.int64]], Sequence[Event]],
) -> bytes:
    done, newest = -1, -1
    if blob is not None:
        state = decode(crowd, blob)
        done, newest = state.applied.get(partition, -1), state.newest
    new = np.flatnonzero(positions > done)
    kept = new[~late_of(times[new], newest, crowd.lateness_ms)]
    for start in range(0, len(kept), AT_ONCE):
        piece = kept[start : start + AT_ONCE]
        count = len(piece)
        (blob,) = fold_batch(
            crowd, [blob], events_at(piece), [0] * count, [partition] * count, positions[piece].tolist()
        ).blobs
    return empty(crowd).blob if blob is None else blob


def late_of(times: Sequence[int] | NDArray[np.int64], newest: int, lateness_ms: int) -> NDArray[np.bool_]:
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
