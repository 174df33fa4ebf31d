"""What the warehouse knows of a customer: batch tables as a playbook declares them, and their features."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, Protocol

from features import kleene
from features.feature import Feature

Kind = Literal["decimal", "integer", "category", "boolean"]
KINDS: tuple[Kind, ...] = ("decimal", "integer", "category", "boolean")
Plain = str | int | float | bool
"""A value as the table holds it; None where the table says that it does not know."""

FUNCTION = "attribute"
MINTED = "customer"
"""The kind of key that is a customer's minted id itself."""


class Source(NamedTuple):
    """Where the rows are: Parquet files by path or glob, or a query; `connection` names a variable."""

    parquet: str | None
    sql: str | None
    connection: str | None


class Attribute(NamedTuple):
    """One column. `default` is its number for a customer of whom the table has no row; NaN: none declared."""

    name: str
    column: str
    kind: Kind
    unit: str
    meaning: str
    default: float
    categories: tuple[str, ...]

    def number(self, value: Plain | None) -> float:
        """The value as a number of the row; a category is its place in the declared order; NaN: not known.

        >>> Attribute("size", "size", "category", "", "", 0.0, ("1", "2", "3+")).number("3+")
        2.0
        """
        if value is None:
            return math.nan
        if self.kind == "category":
            return float(self.categories.index(value)) if value in self.categories else math.nan
        return float(value)


class AttributeTable(NamedTuple):
    """A batch table: rows of customers, each known since its `as_of`, old after `freshness_ms`.

    `id_kind` says whose id `key` is: a kind of foreign id, or `MINTED`. `purpose` says why we may hold it.
    """

    name: str
    source: Source
    id_kind: str
    key: str
    as_of: str
    freshness_ms: int
    purpose: str
    attributes: tuple[Attribute, ...]


class Declares(Protocol):
    """A playbook, as far as attributes go."""

    @property
    def attributes(self) -> tuple[AttributeTable, ...]:
        """Its batch tables."""
        ...


def attribute_features(playbook: Declares) -> tuple[Feature, ...]:
    """The live features of every table, in declared order: the end of the customer's row.

    >>> age = Attribute("age", "age", "integer", "years", "age of the head", 0.0, ())
    >>> table = AttributeTable("household", Source("h.parquet", None, None), "card", "c", "t", 9, "p", (age,))
    >>> class Small(NamedTuple):
    ...     attributes: tuple[AttributeTable, ...] = (table,)
    >>> [feature.name for feature in attribute_features(Small())]
    ['household_age']
    """
    return tuple(_features(playbook.attributes))


_SPOKEN: Mapping[Kind, kleene.Kind] = {
    "decimal": "number",
    "integer": "number",
    "category": "category",
    "boolean": "boolean",
}


def attribute_kinds(tables: Iterable[AttributeTable]) -> dict[str, kleene.Kind]:
    """What conditions may speak of: the live name of each column, and its kind in an expression."""
    return {f"{table.name}_{each.name}": _SPOKEN[each.kind] for table in tables for each in table.attributes}


def row_shape(playbook: Declares) -> list[Any]:
    """What of the tables changes a number of the row: for the plan's digest; not words, keys or sources.

    A default is a text, as JSON has no NaN.
    """
    return [
        (
            table.name,
            table.freshness_ms,
            [(a.name, a.kind, a.categories, repr(a.default)) for a in table.attributes],
        )
        for table in playbook.attributes
    ]


def _features(tables: tuple[AttributeTable, ...]) -> Iterator[Feature]:
    for table in tables:
        for each in table.attributes:
            yield Feature(
                name=f"{table.name}_{each.name}",
                unit=each.unit,
                meaning=each.meaning,
                aggregate=table.name,
                function=FUNCTION,
                window_ms=None,
                half_life_ms=None,
                default=each.default,
                freshness_ms=table.freshness_ms,
                match=None,
            )
