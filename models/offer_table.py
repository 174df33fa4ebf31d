"""Offers from a Parquet table: one row an offer, every further column an attribute."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from events.faults import Fault
from models.offer import Attribute, Offer

NEEDED = ("id", "name", "group", "value")
DATES = ("valid_from", "valid_to")
SHOWN = 20
"""Faults of one table that are said; a broken export has the same one in every row."""


def read_offers(path: Path, faults: list[Fault]) -> list[Offer]:
    """The offers of a table with the columns id, name, group, value, valid_from, valid_to (int64 ms or null).

    Every other column is an attribute, a text or a number; null means the offer does not have it.
    """
    if not path.exists():
        hint = "write it, or name another with KAIROS_CATALOGUE"
        faults.append(Fault(str(path), "", "a Parquet table of offers", "none", hint))
        return []
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        faults.append(Fault(str(path), "", "a Parquet table of offers", str(error)[:200]))
        return []
    absent = [column for column in NEEDED if column not in table.column_names]
    if absent:
        known = ", ".join(table.column_names)
        faults.append(
            Fault(str(path), "", f"the columns {', '.join(NEEDED)}", f"no {', '.join(absent)} in {known}")
        )
        return []
    mine: list[Fault] = []
    offers = [_offer(row, f"row {n}", str(path), mine) for n, row in enumerate(table.to_pylist())]
    if len(mine) > SHOWN:
        mine[SHOWN:] = [Fault(str(path), "", "no more faults", f"{len(mine) - SHOWN} more like these")]
    faults += mine
    return [offer for offer in offers if offer is not None]


def _offer(row: dict[str, Any], place: str, file: str, faults: list[Fault]) -> Offer | None:
    before = len(faults)
    faults += [
        Fault(file, f"{place}, {column}", "a text", repr(row[column]))
        for column in ("id", "group")
        if not isinstance(row[column], str) or not row[column]
    ]
    value = row["value"]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e300:
        faults.append(Fault(file, f"{place}, value", "a number above 0", repr(value)))
    faults += [
        Fault(file, f"{place}, {column}", "ms since the epoch, or null", repr(row[column]))
        for column in DATES
        if not isinstance(row.get(column), int | None)
    ]
    attributes: dict[str, Attribute] = {}
    for column, each in row.items():
        if column in NEEDED or column in DATES or each is None:
            continue
        if isinstance(each, str):
            attributes[column] = each
        elif isinstance(each, int | float):
            attributes[column] = float(each)
        else:
            faults.append(Fault(file, f"{place}, {column}", "a text or a number", repr(each)[:80]))
    if len(faults) > before:
        return None
    return Offer(
        id=row["id"],
        name=str(row["name"] or row["id"]),
        group=row["group"],
        valid_from=row.get("valid_from"),
        valid_to=row.get("valid_to"),
        value=float(value),
        attributes=attributes,
    )
