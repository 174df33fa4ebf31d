"""The past at chosen instants: the states a log gives just before each instant of a spine.

A blob for every event would be gigabytes; a training set asks for few instants, its *spine*. What is
folded here is folded by the one fold, so a past row is the row that would have been served.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from events.envelope import Event, Tick
from features.fold import empty, encode, fold_log
from features.plan import Plan
from features.state import State, parts_of

SCHEMA = pa.schema(
    [
        ("customer_id", pa.string()),
        # DuckDB, behind Feast's offline store, refuses nanoseconds.
        ("event_timestamp", pa.timestamp("us", tz="UTC")),
        ("recent", pa.binary()),
        ("settled", pa.binary()),
    ]
)
_ROWS = 5_000


def fold_spine(
    plan: Plan, log: Iterable[Event | Tick], spine: Sequence[tuple[str, int]]
) -> Iterator[tuple[str, int, bytes]]:
    """For each (customer, instant in ms) of the spine the state of every event of the log before the instant.

    The log is read once; the events of the customers asked for are kept meanwhile, as a log may hold earlier
    events after later ones. Answers come by customer, then by instant; a pair asked for twice is answered
    once. A customer without events has the empty state, which reads as an unseen one.
    """
    wanted: dict[str, set[int]] = defaultdict(set)
    for customer, at in spine:
        wanted[customer].add(at)
    events: dict[str, list[Event]] = defaultdict(list)
    for event in log:
        if isinstance(event, Event) and event.customer in wanted:
            events[event.customer].append(event)
    for customer in sorted(wanted):
        yield from _instants(plan, customer, events.pop(customer, []), sorted(wanted[customer]))


def _instants(
    plan: Plan, customer: str, log: list[Event], instants: list[int]
) -> Iterator[tuple[str, int, bytes]]:
    """One customer: fold on from instant to instant if the log is in order of time, else from the start."""
    ordered = all(earlier.time <= later.time for earlier, later in pairwise(log))
    state, done = empty(plan), 0
    for at in instants:
        if not ordered:
            state = _cut(plan, log, at)
        else:
            end = bisect_left(log, at, done, key=lambda event: event.time)
            if end > done:
                fold_log(plan, state, log[done:end], 0, range(done, end))
                done = end
        yield customer, at, encode(plan, state)


def _cut(plan: Plan, log: list[Event], at: int) -> State:
    """The state of the log's events before the instant, in the log's order."""
    state = empty(plan)
    places = [place for place, event in enumerate(log) if event.time < at]
    if places:
        fold_log(plan, state, [log[place] for place in places], 0, places)
    return state


def write_spine(path: Path, rows: Iterable[tuple[str, int, bytes]]) -> int:
    """Write (customer, instant in ms, state) as the Parquet file that Feast's offline store reads; how many.

    The file appears whole or not at all.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    count = 0
    with pq.ParquetWriter(partial, SCHEMA, compression="zstd") as writer:
        batch: list[tuple[str, int, bytes]] = []
        for each in rows:
            batch.append(each)
            if len(batch) == _ROWS:
                writer.write_table(_table(batch))
                count += len(batch)
                batch = []
        writer.write_table(_table(batch))
        count += len(batch)
    partial.replace(path)
    return count


def _table(rows: list[tuple[str, int, bytes]]) -> pa.Table:
    parts = [parts_of(blob) for _, _, blob in rows]
    columns: list[list[Any]] = [[row[0] for row in rows], [row[1] * 1_000 for row in rows]]
    columns += [[recent for recent, _ in parts], [settled for _, settled in parts]]
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
