"""Checking the rows of a batch table: what is good is kept, whatever is not is told with its reason."""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from events.codec import MAX_ID, render_time, shown
from events.identity import is_customer
from features.attribute import MINTED, Attribute, AttributeTable, Plain
from features.attribute_source import instant

SHOWN = 10
MOST_TOLD_APART = 100
_LARGEST = 1 << 53
_YEAR_10000 = 253_402_300_800_000


class BadRow(Exception):
    """A row that cannot be kept: at which column, what was expected, what was found."""

    def __init__(self, column: str, expected: str, found: str) -> None:
        self.reason = f"{column}: expected {expected}"
        super().__init__(f"{self.reason}, found {found}")


@dataclass
class Rows:
    """The good rows as (key, as-of in ms, values), and what was wrong with the others.

    `refused` are keys of bad rows: what is known of them stays. `unknown` counts values of a column that are
    not among its declared categories; those values are not known then. `count` is every row read.
    """

    good: list[tuple[str, int, tuple[Plain | None, ...]]] = field(default_factory=list)
    count: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    unknown: dict[str, Counter[str]] = field(default_factory=dict)

    def refuse(self, row: str, bad: BadRow, key: str | None) -> None:
        """Count a bad row and keep the first few to show."""
        self.bad[bad.reason] += 1
        if len(self.examples) < SHOWN:
            self.examples.append(f"{row}: {bad}")
        if key is not None:
            self.refused.add(key)


def check_rows(
    table: AttributeTable,
    batches: Iterable[tuple[list[tuple[Any, ...]], int | None]],
    latest: int,
    tell: Callable[[int, int | None], None] = lambda done, total: None,
) -> Rows:
    """Every row of the source, checked; an as-of past `latest` (ms) is one nobody can have known.

    `tell` hears how many rows are read, of how many if that is known.
    """
    rows = Rows()
    for batch, total in batches:
        for raw in batch:
            rows.count += 1
            key = None
            try:
                key = _key(table, raw[0])
                as_of = _as_of(table, raw[1], latest)
                values = tuple(
                    _value(attribute, value, rows)
                    for attribute, value in zip(table.attributes, raw[2:], strict=True)
                )
            except BadRow as bad:
                rows.refuse(f"row {rows.count}", bad, key)
                continue
            rows.good.append((key, as_of, values))
        tell(rows.count, total)
    return rows


def _key(table: AttributeTable, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID:
        raise BadRow(table.key, f"a text of 1 to {MAX_ID} characters", shown(value))
    if table.id_kind == MINTED and not is_customer(value):
        raise BadRow(table.key, "an id that Kairos minted", shown(value))
    return value


def _as_of(table: AttributeTable, value: Any, latest: int) -> int:
    ms = instant(value)
    if ms is None or ms < 0:
        raise BadRow(table.as_of, "an instant from 1970 on", shown(value))
    if ms > latest:
        told = render_time(ms) if ms < _YEAR_10000 else f"{ms} ms"
        raise BadRow(table.as_of, f"an instant up to {render_time(latest)}", told)
    return ms


def _value(attribute: Attribute, value: Any, rows: Rows) -> Plain | None:
    """The value as the column's kind promises it; None when it is not known. Errors: `BadRow`."""
    if value is None or value != value:
        return None
    if attribute.kind == "category":
        return _category(attribute, value, rows)
    if attribute.kind == "boolean":
        if isinstance(value, bool) or value in (0, 1):
            return bool(value)
        raise BadRow(attribute.column, "true or false", shown(value))
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not math.isfinite(value):
        raise BadRow(
            attribute.column, f"a{'n' if attribute.kind == 'integer' else ''} {attribute.kind}", shown(value)
        )
    if attribute.kind == "decimal":
        return float(value)
    if value != int(value) or not -_LARGEST <= value <= _LARGEST:
        raise BadRow(attribute.column, "a whole number up to 2^53", shown(value))
    return int(value)


def _category(attribute: Attribute, value: Any, rows: Rows) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise BadRow(attribute.column, "a category", shown(value))
    if value in attribute.categories:
        return value
    told = rows.unknown.setdefault(attribute.column, Counter())
    told[value[:MAX_ID] if value in told or len(told) < MOST_TOLD_APART else "others"] += 1
    return None
