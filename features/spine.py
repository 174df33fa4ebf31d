"""The past at chosen instants: the states a log gives just before each instant of a spine.

A blob for every event would be gigabytes; a training set asks for few instants, its *spine*. What is
folded here is folded by the one fold, so a past row is the row that would have been served.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from events.envelope import Event, Tick
from features.attribute_past import AttributePast
from features.fold import encode
from features.plan import Plan
from features.retelling import END, Retelling, Ticks
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

Placed = tuple[int, int, Event | Tick]
"""A record of the log: its partition, its position there, what it holds."""


def fold_spine(
    plan: Plan, log: Iterable[Placed], spine: Sequence[tuple[str, int]], past: AttributePast | None = None
) -> Iterator[tuple[str, int, bytes]]:
    """For each (customer, instant in ms) of the spine the state of every event of the log before the instant.

    The log, each record with its partition and position, is read once; the events of the customers asked for
    are kept meanwhile, as a log may hold earlier events after later ones. Its clock counts up to the instant
    too: not past it, and not behind what the customer did from then on. Triggers are told of attributes what
    `past` says. Answers come by customer, then by instant; a pair asked for twice is answered once. A
    customer without events has the empty state, which reads as an unseen one.
    """
    wanted: dict[str, set[int]] = defaultdict(set)
    for customer, at in spine:
        wanted[customer].add(at)
    events: dict[str, list[tuple[int, Event]]] = defaultdict(list)
    homes: dict[str, int] = {}
    ticks: dict[int, Ticks] = defaultdict(Ticks)
    for partition, position, item in log:
        if isinstance(item, Tick):
            ticks[partition].note(position, item.time)
        elif item.customer in wanted:
            homes[item.customer] = partition
            events[item.customer].append((position, item))
    for customer in sorted(wanted):
        home = homes.get(customer, 0)

        def anew(customer: str = customer, home: int = home) -> Retelling:
            return Retelling(plan, customer, home, ticks[home], past)

        for at, state in _instants(anew, events.pop(customer, []), sorted(wanted[customer])):
            yield customer, at, encode(plan, state)


def _instants(
    anew: Callable[[], Retelling], log: list[tuple[int, Event]], instants: list[int]
) -> Iterator[tuple[int, State]]:
    """One customer: fold on from instant to instant if the log is in order of time, else from the start."""
    ordered = all(earlier.time <= later.time for (_, earlier), (_, later) in pairwise(log))
    telling, done = anew(), 0
    for at in instants:
        if ordered:
            end = bisect_left(log, at, done, key=lambda each: each[1].time)
            known, future = log[done:end], log[end][0] if end < len(log) else END
            done = end
        else:
            telling = anew()
            known = [each for each in log if each[1].time < at]
            future = next((position for position, event in log if event.time >= at), END)
        telling.read(known)
        for _ in telling.looks(future, at):
            pass
        yield at, telling.state


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
