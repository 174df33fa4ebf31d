"""What attributes come to at an instant: the end of the customer's row.

A table's row counts from its `since` on, which is never before its as-of has passed. Its values are
*missing* (NaN) when it is older than the table's freshness, or where the table does not know; *empty* (the
declared default) when a table that has been loaded has no row of the customer; all *missing* before it was
loaded.
"""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.attribute import Attribute, AttributeTable, Plain, attribute_features

if TYPE_CHECKING:
    from features.feature import Feature
    from features.plan import Plan

NO_ROW = -1
"""The as-of of a version that says: from here on the table has no row of this customer."""

Status = Literal["known", "empty", "missing"]
Found = Literal["row", "none", "missing"]


class Version(NamedTuple):
    """A row of a table: it counts from `since` (ms) on; `as_of` (ms) is when it became known there."""

    since: int
    as_of: int
    values: tuple[Plain | None, ...]


class Held(NamedTuple):
    """What is held of one customer: for each table the newest version and the one before, newest first.

    `loaded`: for each table the instant from which it counts as loaded, ms; None when it never was.
    """

    loaded: tuple[int | None, ...]
    versions: tuple[tuple[Version, ...], ...]


class AttributeValue(NamedTuple):
    """One attribute as people read it; `age_ms` is that of its row, `text` the category."""

    feature: "Feature"
    value: float | None
    text: str | None
    status: Status
    age_ms: int | None


def nothing_held(tables: Sequence[AttributeTable], loaded: Sequence[int | None] | None = None) -> Held:
    """What is held of a customer in no table; without `loaded` no table was ever loaded."""
    return Held(tuple(loaded or (None,) * len(tables)), ((),) * len(tables))


def in_force(versions: Sequence[Version], loaded: int | None, at: int) -> tuple[Found, Version | None]:
    """The version that counts at `at`, of versions newest first of which older ones may have been dropped.

    >>> new, old = Version(20, 15, (2,)), Version(10, 9, (1,))
    >>> in_force([new, old], 0, 20)[1] is new, in_force([new, old], 0, 19)[1] is old
    (True, True)
    >>> in_force([new, old], 0, 9)
    ('missing', None)
    >>> in_force([new], 0, 19), in_force([new], 30, 29)
    (('none', None), ('missing', None))
    """
    if loaded is None or at < loaded:
        return "missing", None
    for version in versions:
        if version.since <= at:
            return ("none", None) if version.as_of == NO_ROW else ("row", version)
    # Of more than one version the oldest held may have had others before it, which nobody can say now.
    return ("missing", None) if len(versions) > 1 else ("none", None)


def attribute_values(plan: "Plan", held: Held, at: int) -> NDArray[np.float32]:
    """The numbers of every attribute at `at` (ms), in the order of `attribute_features`."""
    return np.array([number for _, _, number, _, _ in _read(plan, held, at)], dtype=np.float32)


def explain_attributes(plan: "Plan", held: Held, at: int) -> list[AttributeValue]:
    """Each attribute at `at` with its status, for people; the numbers are those of `attribute_values`."""
    told = []
    features = attribute_features(plan.playbook)
    for feature, (attribute, value, number, status, age) in zip(features, _read(plan, held, at), strict=True):
        text = str(value) if attribute.kind == "category" and status == "known" else None
        shown = float(np.float32(number)) if number == number else None
        told.append(AttributeValue(feature, shown, text, status, age))
    return told


def _read(
    plan: "Plan", held: Held, at: int
) -> Iterator[tuple[Attribute, Plain | None, float, Status, int | None]]:
    """(attribute, value, number, status, age of its row in ms) of every attribute."""
    for table, loaded, versions in zip(plan.playbook.attributes, held.loaded, held.versions, strict=True):
        found, version = in_force(versions, loaded, at)
        age = None if version is None else at - version.as_of
        for place, each in enumerate(table.attributes):
            if version is not None and at - version.as_of <= table.freshness_ms:
                value = version.values[place]
                number = each.number(value)
                yield each, value, number, "known" if number == number else "missing", age
            elif found == "none":
                yield each, None, each.default, "empty", None
            else:
                yield each, None, math.nan, "missing", age
