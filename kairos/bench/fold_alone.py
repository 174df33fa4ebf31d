"""The fold by itself: records of the log and states in memory, micro-batches as large as the stream's."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from events.codec import encode
from events.envelope import Event
from events.identity import partition_of
from features.batch import batch_of
from features.fold import fold_parts
from features.log import LogReader, Piece
from features.plan import Plan
from features.state import parts_of
from kairos.bench.measure import median


class FoldCost(NamedTuple):
    """Microseconds of processor an event, medians over micro-batches: read into columns, then folded."""

    columns: float
    fold: float


def fold_alone(
    plan: Plan, events: Sequence[Event], partitions: int, states: dict[str, bytes], batch: int
) -> FoldCost:
    """Fold the events into states that begin as `states` (by customer), `batch` at once; say what it took.

    Reading makes columns of the log's bytes. The fold looks up the parts of each customer's state, folds, and
    keeps what came of them.
    """
    reader = LogReader(plan)
    logged = [encode(event) for event in events]
    recents, settled = {}, {}
    for customer, blob in states.items():
        recents[customer], settled[customer] = parts_of(blob)
    columns: list[float] = []
    folded: list[float] = []
    # The first pass over one event loads compiled code.
    for start, end in ((0, 1), *((at, at + batch) for at in range(1, len(events), batch))):
        part = logged[start:end]
        places = np.array([partition_of(event.customer, partitions) for event in events[start:end]])
        positions = np.arange(start, start + len(part))
        began = time.thread_time()
        log = reader.read(part)
        rows = np.flatnonzero(log.kinds >= 0)
        piece = Piece(log, rows)
        laid = batch_of(plan, piece, piece.owners, len(piece.customers), places[rows], positions[rows])
        between = time.thread_time()
        done = fold_parts(
            plan,
            list(map(recents.get, piece.customers)),
            [settled.get(customer, b"") for customer in piece.customers],
            laid,
            len(piece),
        )
        recents.update(zip(piece.customers, done.recents, strict=True))
        settled.update((who, new) for who, new in zip(piece.customers, done.settled, strict=True) if new)
        ended = time.thread_time()
        if start:
            columns.append(1e6 * (between - began) / len(part))
            folded.append(1e6 * (ended - between) / len(part))
    return FoldCost(median(columns), median(folded))
