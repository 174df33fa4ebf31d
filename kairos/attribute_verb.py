"""The verb `features load`: batch tables into what serving and Feast read; what changed is said."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import redis
from rich.console import Console

from events.codec import render_time
from events.faults import Refusal, did_you_mean
from features.attribute import AttributeTable
from features.attribute_load import Loaded, load_table
from features.attribute_rows import check_rows
from features.attribute_source import read_source
from features.attribute_store import RedisAttributeStore
from features.declare import load as load_playbook
from features.feast_store import RedisStateStore
from features.store import StoreUnavailable
from kairos.settings import Settings

FUTURE_MS = 300_000
QUIET_S = 2.0
SAY_EVERY_S = 10.0
WRITING_MS = 2_000
CUSTOMERS_A_MS = 2


class NoSuchTable(Refusal):
    """A table was named that the playbook does not declare."""

    exit_code = 2


def run(settings: Settings, *, table: str | None, past: bool) -> int:
    """Load one batch table of the playbook, or all of them; again, with nothing new, changes nothing.

    `past`: rows count from their own as-of although decisions may have been made without them.
    Errors: `NoSuchTable`, `StoreUnavailable`; those of reading the source and of `load_table`.
    """
    console = Console(highlight=False, markup=False, soft_wrap=True)
    tables = chosen(load_playbook(settings.playbook).attributes, table)
    if not tables:
        console.print(f"{settings.playbook}: no attributes.toml, so there is nothing to load")
    store = RedisAttributeStore(settings.redis, settings.project)
    try:
        for each in tables:
            load_one(settings, each, store, console, past=past)
    except redis.RedisError as error:
        raise StoreUnavailable(
            f"redis: expected to read and write attributes at {settings.redis}, found {error}; start it "
            "(`make up` brings one) or set KAIROS_REDIS, then load again"
        ) from None
    finally:
        store.close()
    return 0


def chosen(tables: Sequence[AttributeTable], name: str | None) -> Sequence[AttributeTable]:
    """The table of that name, or every table. Errors: `NoSuchTable`."""
    found = [each for each in tables if name in (None, each.name)]
    if name is not None and not found:
        hint = did_you_mean(name, [each.name for each in tables]) if tables else "the playbook declares none"
        raise NoSuchTable(f"features load: expected a table of attributes.toml, found {name!r}; {hint}")
    return found


def load_one(
    settings: Settings, table: AttributeTable, store: RedisAttributeStore, console: Console, *, past: bool
) -> Loaded:
    """Load one table and print what that changed."""
    folder = settings.data or settings.run_dir
    counts_from = when(settings, past=past)
    written_at = [0]
    with Pace(console) as pace:
        rows = check_rows(
            table,
            read_source(table, folder, os.environ),
            _now() + FUTURE_MS,
            lambda done, total: pace.tell(f"{table.name}: {_of(done, total)} rows read"),
        )
        loaded = load_table(
            table,
            rows,
            run_dir=settings.run_dir,
            store=store,
            counts_from=counts_from,
            tell=lambda done, total: pace.tell(f"{table.name}: {_of(done, total)} customers compared"),
            all_changed=lambda: written_at.append(_now()),
        )
    for line in told(loaded, source_of(table, folder)):
        console.print(line)
    late = written_at[-1] - (loaded.counts_from or written_at[-1])
    if settings.clock == "wall" and late > 0:
        console.print(
            f"  note: writing took {late / 1000:.1f} s longer than planned: a decision made meanwhile may "
            "have seen the old row where point-in-time joins find the new one"
        )
    return loaded


def when(settings: Settings, *, past: bool) -> Callable[[int], int | None]:
    """From when on the changes of a load count, given how many customers change.

    Behind any decision that can be made while the load writes; None when no event was ever read, so that
    nobody can have been served by anything else.
    """
    states = RedisStateStore(settings.redis, settings.project)
    marks = states.watermarks()
    states.close()
    if past or not marks:
        return lambda customers: None
    if settings.clock == "events":
        return lambda customers: max(marks.values()) + 1
    return lambda customers: _now() + WRITING_MS + customers // CUSTOMERS_A_MS


def told(loaded: Loaded, source: str) -> list[str]:
    """What a load changed, a line each, for people."""
    rows, change = loaded.rows, loaded.difference
    lines = [f"{loaded.table.name}: {rows.count:,} rows of {source}, for: {loaded.table.purpose}"]
    if change.new:
        lines.append(f"  + {change.new:,} new")
    if change.changed:
        columns = ", ".join(f"{name} of {count:,}" for name, count in change.columns.items())
        newer = f"{change.newer:,} of them only known anew" if change.newer else ""
        lines.append(f"  ~ {change.changed:,} changed: {', '.join(filter(None, (columns, newer)))}")
    if change.gone:
        lines.append(f"  - {change.gone:,} gone: the table has no row of them any more")
    if change.unchanged:
        lines.append(f"  = {change.unchanged:,} unchanged")
    if change.older:
        lines.append(f"  {change.older:,} rows left out: something newer counted before they came")
    if change.doubled:
        lines.append(f"  {change.doubled:,} rows beside another of the same customer and instant: one counts")
    for column, values in rows.unknown.items():
        first = ", ".join(f"{value!r} {count:,}" for value, count in values.most_common(5))
        lines.append(
            f"  {values.total():,} values of {column} are no declared category, so not known: {first}"
        )
    if rows.bad:
        lines.append(f"  {rows.bad.total():,} bad rows, kept out; what was known of their customers stays:")
        lines += [f"    {count:,} x {reason}" for reason, count in rows.bad.most_common()]
        lines += [f"    {example}" for example in rows.examples]
    if not loaded.written and not loaded.wrote_history:
        lines.append("  nothing changed")
        return lines
    if loaded.counts_from is not None and loaded.wrote_history:
        lines.append(
            f"  counts from {render_time(loaded.counts_from)}: decisions until then stand as they were"
        )
    past = (
        "and the past for point-in-time joins"
        if loaded.wrote_history
        else "as they were not what they should be"
    )
    lines.append(f"  wrote {loaded.written:,} customers online {past}")
    return lines


def source_of(table: AttributeTable, folder: Path) -> str:
    """Where the rows of a table come from, for people."""
    if table.source.parquet is not None:
        return str(folder / table.source.parquet)
    return f"a query to {table.source.connection}"


class Pace:
    """Says how far a long task is, once it has taken `QUIET_S`; on a terminal in one line that goes away."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = time.monotonic() + QUIET_S - SAY_EVERY_S
        self._status = console.status("")
        self._shown = self._spoken = False
        self._unsaid = ""

    def __enter__(self) -> "Pace":
        return self

    def __exit__(self, *raised: object) -> None:
        if self._shown:
            self._status.stop()
        elif self._spoken and self._unsaid:
            self._console.print(self._unsaid)  # where lines stay, the last must not be one from half way

    def tell(self, text: str) -> None:
        """Say it, if it is time to."""
        self._unsaid = text
        if time.monotonic() - self._said < (0.2 if self._shown else SAY_EVERY_S):
            return
        self._said = time.monotonic()
        self._unsaid = ""
        if not self._console.is_terminal:
            self._console.print(text)
            self._spoken = True
            return
        self._status.update(text)
        if not self._shown:
            self._status.start()
            self._shown = True


def _of(done: int, total: int | None) -> str:
    return f"{done:,}" if total is None else f"{done:,} of {total:,}"


def _now() -> int:
    return int(time.time() * 1000)
