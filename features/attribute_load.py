"""One load of a batch table: its rows become what serving and Feast read; only what changed is written."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from events.faults import Refusal
from events.identity import Identities
from features.attribute import MINTED, AttributeTable, Plain
from features.attribute_history import History, Timeline, advance, history_path, read_history, write_history
from features.attribute_rows import Rows
from features.attribute_store import RedisAttributeStore
from features.attributes import NO_ROW

CHUNK = 2_000

Dated = tuple[int, tuple[Plain | None, ...]]


class NothingLeft(Refusal):
    """A source without one good row would take everything that is known away; nothing was changed."""

    exit_code = 2


class Difference(NamedTuple):
    """What a load changes: customers by what becomes of their row, and how many values of each column.

    `newer` of the changed ones have the same values, known anew; `older` rows changed nothing, as something
    newer counted already; `doubled` rows stood beside another of the same customer and instant.
    """

    new: int
    changed: int
    newer: int
    unchanged: int
    gone: int
    older: int
    doubled: int
    columns: Mapping[str, int]


@dataclass(frozen=True)
class Loaded:
    """A load that was done: what was read, what differed, how many customers were written online.

    `counts_from` (ms): from when on the changes count, None: from each row's as-of; `wrote_history`: whether
    the offline store changed.
    """

    table: AttributeTable
    rows: Rows
    difference: Difference
    written: int
    wrote_history: bool
    counts_from: int | None


def load_table(
    table: AttributeTable,
    rows: Rows,
    *,
    run_dir: Path,
    store: RedisAttributeStore,
    counts_from: Callable[[int], int | None],
    tell: Callable[[int, int], None] = lambda done, total: None,
    all_changed: Callable[[], None] = lambda: None,
) -> Loaded:
    """Bring online store and history to what the rows say; again, with the same rows, nothing changes.

    `counts_from` gives, for so many changed customers, the instant (ms) from which changes count, behind any
    decision made while they are written; None when no decision can have been made yet. `tell` hears how many
    customers are compared, `all_changed` that the changes are written and the rest is only looked over.
    Errors: `NothingLeft`; those of Redis pass through.
    """
    path = history_path(run_dir, table.name)
    before = read_history(path, table)
    if not rows.good and (rows.count or before.timelines):
        raise NothingLeft(
            f"{table.name}: expected good rows, found none of {rows.count}; nothing was changed:\n  "
            + "\n  ".join(rows.examples or ["the source is empty"])
        )
    by_customer, kept, doubled = _by_customer(table, rows, store)
    customers = sorted({*by_customer, *before.timelines})

    def after(customer: str, counted: int | None) -> Timeline:
        past, dated = before.timelines.get(customer, ()), by_customer.get(customer, [])
        return past if not dated and customer in kept else advance(past, dated, counted)

    # How many change is known only after looking, and from when they may count only when that is known.
    counted = counts_from(0)
    timelines = {customer: after(customer, counted) for customer in customers}
    changed = [each for each in customers if timelines[each] != before.timelines.get(each, ())]
    if counted is not None:
        counted = counts_from(len(changed))
        timelines.update((customer, after(customer, counted)) for customer in changed)
    same = sorted({*customers} - {*changed})
    written = 0
    for count, part in ((0, changed), (len(changed), same)):
        for done, chunk in _chunks(part):
            written += store.write_many(table, {each: timelines[each][-2:][::-1] for each in chunk})
            tell(count + done, len(customers))
        if part is changed:
            all_changed()
    older = sum(_left_out(dated, timelines[customer]) for customer, dated in by_customer.items())
    timelines = {customer: timeline for customer, timeline in timelines.items() if timeline}
    loaded = before.loaded if before.loaded is not None and counted is not None else counted or 0
    history = History(timelines, loaded)
    if wrote_history := history != before or not path.exists():
        write_history(path, table, history)
    # Last, so that a load cut short reads as none rather than as a table in which customers have no row.
    if store.loaded([table]) != [loaded]:
        store.set_loaded(table, loaded)
    difference = _difference(table, before.timelines, timelines, older, doubled)
    return Loaded(table, rows, difference, written, wrote_history, counted)


def _by_customer(
    table: AttributeTable, rows: Rows, store: RedisAttributeStore
) -> tuple[dict[str, list[Dated]], set[str], int]:
    """Rows of each customer by as-of, the customers with refused rows, and how many rows stood double."""
    keys = sorted({key for key, _, _ in rows.good} | rows.refused)
    owners = dict(zip(keys, keys, strict=True))
    if table.id_kind != MINTED:
        identities = Identities(store.redis)
        for _, chunk in _chunks(keys):
            found = identities.lookup_many([(table.id_kind, key) for key in chunk])
            owners.update(zip(chunk, found, strict=True))
    found_rows: dict[str, dict[int, tuple[Plain | None, ...]]] = defaultdict(dict)
    doubled = 0
    # Of two rows that say different things of one instant the last in this order counts, wherever it stood.
    for key, as_of, values in sorted(rows.good, key=lambda row: (row[1], repr(row[2]), row[0])):
        mine = found_rows[owners[key]]
        doubled += mine.get(as_of, values) != values
        mine[as_of] = values
    by_customer = {
        customer: sorted(dated.items(), key=lambda each: each[0]) for customer, dated in found_rows.items()
    }
    return by_customer, {owners[key] for key in rows.refused}, doubled


def _left_out(dated: Sequence[Dated], timeline: Timeline) -> int:
    known = {(version.as_of, version.values) for version in timeline}
    return sum((as_of, values) not in known for as_of, values in dated)


def _difference(
    table: AttributeTable,
    before: Mapping[str, Timeline],
    after: Mapping[str, Timeline],
    older: int,
    doubled: int,
) -> Difference:
    kinds: Counter[str] = Counter()
    columns: Counter[str] = Counter()
    for customer in {*before, *after}:
        old, new = before.get(customer, ()), after.get(customer, ())
        had, has = _has_row(old), _has_row(new)
        if old == new:
            kinds["unchanged"] += has
            continue
        kinds["changed" if had and has else "new" if has else "gone"] += 1
        if had and has:
            apart = [a != b for a, b in zip(old[-1].values, new[-1].values, strict=True)]
            kinds["newer"] += not any(apart)
            columns.update(
                each.name for each, differs in zip(table.attributes, apart, strict=True) if differs
            )
    return Difference(
        kinds["new"],
        kinds["changed"],
        kinds["newer"],
        kinds["unchanged"],
        kinds["gone"],
        older,
        doubled,
        columns,
    )


def _has_row(timeline: Timeline) -> bool:
    return bool(timeline) and timeline[-1].as_of != NO_ROW


def _chunks(items: Iterable[str]) -> Iterable[tuple[int, list[str]]]:
    """Chunks of the items, each with how many there have been by its end."""
    rest = iter(items)
    done = 0
    while chunk := list(islice(rest, CHUNK)):
        done += len(chunk)
        yield done, chunk
