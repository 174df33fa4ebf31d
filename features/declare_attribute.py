"""Reading `attributes.toml`: batch tables and their columns, every fault noted with its place."""

import math
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from events.contract import Contracts
from events.faults import Fault, did_you_mean
from features.attribute import KINDS, MINTED, Attribute, AttributeTable, Kind, Source
from features.table import File, Table

FILE = "attributes.toml"
VIEWS = ("customer_state", "customer_features")
"""Names of Feast views that a table cannot have."""

TAKEN = ("customer_id", "event_timestamp", "as_of", "watermark", "recent", "settled")
"""Names of columns beside which Feast reads those of a table."""

MOST_CATEGORIES = 200
_ENVIRONMENT = re.compile(r"[A-Z][A-Z0-9_]*")


def fields_beside(table: str) -> tuple[str, str, str]:
    """The columns of a table's Feast view beside its attributes: as-of, since, and the version before.

    >>> fields_beside("household")
    ('household_as_of', 'household_since', 'household_before')
    """
    return f"{table}_as_of", f"{table}_since", f"{table}_before"


def read_attributes(
    folder: Path, contracts: Contracts, features: Collection[str], faults: list[Fault]
) -> tuple[AttributeTable, ...]:
    """The tables that the playbook's `attributes.toml` declares; none without the file.

    `features` are the names that the playbook's other features have.
    """
    file = File(folder, FILE, faults, mandatory=False)
    file.top().done()
    file.only("attribute_table")
    kinds = {kind for event in contracts.types.values() for kind in event.customer}
    owners = dict.fromkeys(features, "a feature of playbook.toml") | dict.fromkeys(TAKEN, "Feast's own")
    return tuple(_table(each, kinds, owners) for each in file.tables("attribute_table"))


def _table(table: Table, kinds: set[str], owners: dict[str, str]) -> AttributeTable:
    name = table.identifier("name")
    table.name = f"[[attribute_table]] {name}" if name else table.name
    if name in VIEWS or owners.get(name) == "a table":
        table.fault("name", "a name that no other table has, nor a view of Feast's", repr(name), "rename it")
    owners.setdefault(name, "a table")
    source = _source(table)
    id_kind, key = _key(table, kinds)
    as_of = table.text("as_of")
    freshness = table.duration("freshness", "1d")
    if "freshness" not in table.raw:
        table.fault("freshness", 'how old a row may be, such as "90d"', "nothing")
    purpose = table.text("purpose")
    columns = table.tables("columns")
    attributes = tuple(_attribute(each) for each in columns)
    for field in (*fields_beside(name), f"{name}_loaded"):
        _claim(table, "name", field, f"the table {name}", owners)
    for written, attribute in zip(columns, attributes, strict=True):
        owner = f"column {attribute.name} of {name}"
        _claim(written, "name", attribute.name, owner, owners)
        _claim(written, "name", f"{name}_{attribute.name}", owner, owners)
    table.done()
    return AttributeTable(name, source, id_kind, key, as_of, freshness, purpose, attributes)


def _claim(table: Table, key: str, name: str, owner: str, owners: dict[str, str]) -> None:
    taken = owners.setdefault(name, owner)
    if taken != owner:
        table.fault(
            key, "a name of its own, as Feast reads all columns side by side", f"{name}, which is {taken}'s"
        )


def _source(table: Table) -> Source:
    inner = table.table("source")
    if inner is None:
        if "source" not in table.raw:
            table.fault(
                "source", 'source = { parquet = "..." } or { sql = "...", connection = "..." }', "nothing"
            )
        return Source(None, None, None)
    parquet, sql = inner.optional_text("parquet"), inner.optional_text("sql")
    if (parquet is None) is (sql is None):
        inner.fault("", "either parquet or sql", "both" if sql else "neither")
    connection = inner.optional_text("connection")
    if sql is not None and connection is None:
        inner.fault("connection", "the environment variable that holds the database's address", "nothing")
    if parquet is not None and connection is not None:
        inner.fault("connection", "none beside parquet", repr(connection))
    if connection is not None and (
        not _ENVIRONMENT.fullmatch(connection) or connection.startswith("KAIROS_")
    ):
        expected = "the name of an environment variable such as WAREHOUSE_URL, not one of Kairos's own"
        hint = "an address holds a password: it does not belong in a playbook"
        inner.fault("connection", expected, "another text", hint)
    inner.done()
    return Source(parquet, sql, connection)


def _key(table: Table, kinds: set[str]) -> tuple[str, str]:
    inner = table.table("key")
    known = sorted({*kinds, MINTED})
    if inner is None:
        if "key" not in table.raw:
            table.fault("key", 'the column that names the customer, key = { card = "..." }', "nothing")
        return "", ""
    for kind in inner.raw:
        if kind not in known:
            inner.fault(
                kind, f"a kind of id of events.toml, or {MINTED}", repr(kind), did_you_mean(kind, known)
            )
    found = [(kind, inner.text(kind)) for kind in inner.raw if kind in known]
    if len(inner.raw) != 1:
        inner.fault("", "one column", f"{len(inner.raw)}")
    return found[0] if found else ("", "")


def _attribute(column: Table) -> Attribute:
    name = column.identifier("name")
    kind: Kind = column.one_of("kind", KINDS, f"one of {', '.join(KINDS)}") or "decimal"  # type: ignore[assignment]
    worded = {"category": "category", "boolean": "yes or no"}.get(kind)
    categories = column.texts("categories")
    if kind == "category" and not categories:
        column.fault("categories", 'the categories in order, categories = ["...", "..."]', "nothing")
    if kind != "category" and categories:
        column.fault("categories", f"none, as the kind is {kind}", f"{len(categories)}")
    if len(categories) > MOST_CATEGORIES:
        column.fault("categories", f"at most {MOST_CATEGORIES}", f"{len(categories)}")
    attribute = Attribute(
        name,
        column.text("column", name),
        kind,
        column.text("unit", worded),
        column.text("meaning"),
        _default(column, kind, categories),
        categories,
    )
    column.done()
    return attribute


def _default(column: Table, kind: Kind, categories: tuple[str, ...]) -> float:
    """The number of the declared default: NaN when none is declared."""
    if not column.has("default"):
        return math.nan
    value: Any = column.raw["default"]
    if kind == "category":
        if value in categories:
            return float(categories.index(value))
        column.fault("default", "one of the categories", repr(value), did_you_mean(str(value), categories))
        return math.nan
    if kind == "boolean":
        if not isinstance(value, bool):
            column.fault("default", "true or false", repr(value))
        return float(value is True)
    number = column.number("default")
    if kind == "integer" and number != int(number):
        column.fault("default", "a whole number", repr(value))
    return number
