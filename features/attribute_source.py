"""Reading the rows of a batch table where they are: Parquet files, or a query to a database."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from glob import glob
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import sqlalchemy

from events.faults import Refusal, did_you_mean
from features.attribute import AttributeTable

BATCH = 10_000


class SourceAway(Refusal):
    """The rows of a batch table cannot be had; the message says where they were looked for and what to do."""

    exit_code = 3


class SourceColumns(Refusal):
    """A batch table does not have a column that the playbook names."""

    exit_code = 2


def columns_wanted(table: AttributeTable) -> tuple[str, ...]:
    """The columns of the source: the key, the as-of, then one for each attribute."""
    return (table.key, table.as_of, *(each.column for each in table.attributes))


def read_source(
    table: AttributeTable, folder: Path, environment: Mapping[str, str]
) -> Iterator[tuple[list[tuple[Any, ...]], int | None]]:
    """Batches of rows in the order of `columns_wanted`, each with how many rows there are if that is known.

    A relative Parquet path is one below `folder`. Errors: `SourceAway`, `SourceColumns`.
    """
    if table.source.parquet is not None:
        yield from _parquet(table, folder / table.source.parquet)
    else:
        yield from _query(table, environment)


def _parquet(table: AttributeTable, pattern: Path) -> Iterator[tuple[list[tuple[Any, ...]], int | None]]:
    paths = sorted(glob(str(pattern), recursive=True))
    if not paths:
        raise SourceAway(
            f"attributes.toml: {table.name}: expected Parquet files {pattern}, found none; write them there, "
            "or set KAIROS_DATA to the folder that holds them"
        )
    wanted = columns_wanted(table)
    try:
        files = [pq.ParquetFile(path) for path in paths]
        for path, file in zip(paths, files, strict=True):
            _refuse_columns(table, path, file.schema_arrow.names)
        total = sum(file.metadata.num_rows for file in files)
        for file in files:
            for batch in file.iter_batches(BATCH, columns=list(dict.fromkeys(wanted))):
                columns = [_plain(batch.column(name)).to_pylist() for name in wanted]
                yield list(zip(*columns, strict=True)), total
    except (pa.ArrowException, OSError) as error:
        raise SourceAway(
            f"attributes.toml: {table.name}: expected Parquet files {pattern}, found: {error}"
        ) from None


def _plain(column: pa.Array) -> pa.Array:
    """Instants as whole milliseconds, rounded down; whatever else as it is."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("ms"))
    if pa.types.is_timestamp(column.type):
        floored = pc.floor_temporal(column.cast(pa.timestamp(column.type.unit)), unit="millisecond")
        return floored.cast(pa.timestamp("ms")).cast(pa.int64())
    return column


def _query(
    table: AttributeTable, environment: Mapping[str, str]
) -> Iterator[tuple[list[tuple[Any, ...]], None]]:
    sql, variable = str(table.source.sql), str(table.source.connection)
    address = environment.get(variable)
    place = f"attributes.toml: {table.name}"
    if not address:
        raise SourceAway(
            f"{place}: expected a database's address in the environment variable {variable}, found none; "
            f"set it, such as {variable}=postgresql+psycopg://user:password@host/database"
        )
    try:
        engine = sqlalchemy.create_engine(address)
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        raise SourceAway(
            f"{place}: expected an address that SQLAlchemy knows in {variable}, found: {error}"
        ) from None
    try:
        with engine.connect() as connection:
            result = connection.execution_options(stream_results=True).execute(sqlalchemy.text(sql))
            names = list(result.keys())
            _refuse_columns(table, "its query", names)
            places = [names.index(name) for name in columns_wanted(table)]
            for rows in result.partitions(BATCH):
                yield [tuple(row[place] for place in places) for row in rows], None
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise SourceAway(
            f"{place}: expected rows from {engine.url.render_as_string(hide_password=True)} ({variable}), "
            f"found: {error}"
        ) from None
    finally:
        engine.dispose()


def _refuse_columns(table: AttributeTable, where: str, names: Sequence[str]) -> None:
    lines = [
        f"attributes.toml: {table.name}: expected column {name!r} in {where}, found none; "
        + did_you_mean(name, names)
        for name in dict.fromkeys(columns_wanted(table))
        if name not in names
    ]
    if lines:
        raise SourceColumns("\n".join(lines))


def instant(value: Any) -> int | None:
    """An instant as a database or a file gives it, in ms, rounded down; None when it is none.

    A time without a zone is UTC, a day is its midnight there, a whole number counts milliseconds.

    >>> instant(dt.date(2017, 1, 1)), instant("2017-01-01 00:00:00.0019"), instant("soon")
    (1483228800000, 1483228800001, None)
    """
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime.combine(value, dt.time())
    if isinstance(value, dt.datetime):
        known = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
        return (known - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
