"""The past of a batch table: when which row of a customer counted; Parquet for Feast's offline store."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from features.attribute import AttributeTable, Kind, Plain
from features.attribute_fields import columns_of
from features.attributes import NO_ROW, Version

Timeline = tuple[Version, ...]
"""The versions of one customer, oldest first: `since` rises, and from one to the next as-of does not fall."""

_LOADED = b"kairos.loaded"
_ROWS = 50_000
_TYPES: Mapping[Kind | None, tuple[pa.DataType, type]] = {
    "decimal": (pa.float64(), float),
    "integer": (pa.int64(), int),
    "category": (pa.string(), str),
    "boolean": (pa.bool_(), bool),
    None: (pa.binary(), bytes),
}


class History(NamedTuple):
    """Every customer's timeline, and the instant (ms) from which the table counts as loaded, None: never."""

    timelines: dict[str, Timeline]
    loaded: int | None


def history_path(run_dir: Path, table: str) -> Path:
    """Where the history of a table is kept: below the run's Feast folder."""
    return run_dir.resolve() / "feast" / f"attributes_{table}.parquet"


def advance(
    timeline: Timeline, rows: Sequence[tuple[int, tuple[Plain | None, ...]]], counted: int | None
) -> Timeline:
    """The timeline after a load in which the table has these (as-of, values) of the customer; none: gone.

    A row counts from the millisecond behind its as-of, yet not before `counted` (ms), as until then nobody
    was served by it; None: nobody was served by anything yet. What is older than what counts already changes
    nothing.

    >>> first = advance((), [(10, ("a",)), (20, ("b",))], None)
    >>> [(version.since, version.values) for version in first]
    [(11, ('a',)), (21, ('b',))]
    >>> [version.since for version in advance(first, [(20, ("b",)), (30, ("c",))], 100)]
    [11, 21, 100]
    >>> advance(first, [(15, ("late",)), (20, ("b",))], 100) == first
    True
    >>> advance(first, [], 100)[-1].as_of == NO_ROW, advance(first, [], None)
    (True, ())
    """
    if not rows:
        return _gone(timeline, counted)
    if counted is None:
        # The past is told anew, as far as the table still tells it.
        told = {NO_ROW, *(as_of for as_of, _ in rows)}
        timeline = tuple(version for version in timeline if version.as_of not in told)
    for as_of, values in rows:
        same = next((each for each in _since_it_came(timeline) if each.as_of == as_of), None)
        if same is not None and same.values == values:
            continue
        since = as_of + 1 if counted is None else max(as_of + 1, counted)
        place = bisect_right(timeline, since, key=lambda version: version.since)
        if place and timeline[place - 1].as_of > as_of:
            continue
        start = place - 1 if place and timeline[place - 1].since == since else place
        timeline = (*timeline[:start], Version(since, as_of, values), *timeline[place:])
    return timeline


def _since_it_came(timeline: Timeline) -> Iterator[Version]:
    """Newest first, the versions of the time since the customer has been in the table without a break."""
    return takewhile(lambda version: version.as_of != NO_ROW, reversed(timeline))


def _gone(timeline: Timeline, counted: int | None) -> Timeline:
    if timeline and timeline[-1].as_of == NO_ROW and counted is not None:
        return timeline
    past = tuple(version for version in timeline if counted is not None and version.since < counted)
    return (*past, Version(counted or 0, NO_ROW, (None,) * len(past[-1].values))) if past else ()


def schema_of(table: AttributeTable) -> pa.Schema:
    """The columns of a history: Feast's own two, then those of the view."""
    return pa.schema(
        [
            ("customer_id", pa.string()),
            # DuckDB, behind Feast's offline store, refuses nanoseconds.
            ("event_timestamp", pa.timestamp("us", tz="UTC")),
            *((name, _TYPES[kind][0]) for name, kind in columns_of(table)),
        ]
    )


def read_history(path: Path, table: AttributeTable) -> History:
    """The history in the file, empty without one; a column that the file does not have is not known."""
    if not path.exists():
        return History({}, None)
    found = pq.read_table(path)
    columns = [_column(found, name, kind) for name, kind in columns_of(table)]
    as_of, since = columns[-3], columns[-2]
    timelines: dict[str, list[Version]] = {}
    values = zip(*columns[:-3], strict=True)
    for customer, start, known, row in zip(
        found["customer_id"].to_pylist(), since, as_of, values, strict=True
    ):
        timelines.setdefault(customer, []).append(Version(start, NO_ROW if known is None else known, row))
    loaded = (found.schema.metadata or {}).get(_LOADED)
    return History(
        {customer: tuple(each) for customer, each in timelines.items()},
        None if loaded is None else int(loaded),
    )


def _column(found: pa.Table, name: str, kind: Kind | None) -> list[Any]:
    if name not in found.column_names:
        return [None] * len(found)
    if kind in ("decimal", "integer") and pa.types.is_integer(found[name].type) != (kind == "integer"):
        return [_number(value, kind) for value in found[name].to_pylist()]
    return [value if isinstance(value, _TYPES[kind][1]) else None for value in found[name].to_pylist()]


def _number(value: Any, kind: Kind | None) -> float | None:
    """A number written when its column was of another kind; what does not fit the new one is not known."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    if kind == "decimal":
        return float(value)
    return int(value) if value == int(value) else None


def write_history(path: Path, table: AttributeTable, history: History) -> None:
    """Write the history as the Parquet file that Feast's offline store reads, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    schema = schema_of(table)
    if history.loaded is not None:
        schema = schema.with_metadata({_LOADED: str(history.loaded)})
    with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        batch: list[tuple[Any, ...]] = []
        for customer in sorted(history.timelines):
            batch += _rows(customer, history.timelines[customer])
            if len(batch) >= _ROWS:
                writer.write_table(_table(batch, schema))
                batch = []
        writer.write_table(_table(batch, schema))
    partial.replace(path)


def _rows(customer: str, timeline: Timeline) -> Iterable[tuple[Any, ...]]:
    for since, as_of, values in timeline:
        yield customer, since * 1_000, *values, None if as_of == NO_ROW else as_of, since, None


def _table(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else ([] for _ in schema)
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def fit_history(path: Path, table: AttributeTable) -> None:
    """Let the file have the columns that the table declares now: Feast reads no others."""
    if not path.exists() or not pq.read_schema(path).equals(schema_of(table)):
        write_history(path, table, read_history(path, table))


def loaded_in(path: Path) -> int | None:
    """From when on the table counts as loaded, as its history says; None without one."""
    if not path.exists():
        return None
    loaded = (pq.read_schema(path).metadata or {}).get(_LOADED)
    return None if loaded is None else int(loaded)
