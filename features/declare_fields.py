"""What conditions of a playbook may speak of, and their check with the place of each fault."""

from collections.abc import Mapping

from events.contract import Contracts
from events.faults import Fault
from features.expression import BadExpression, Expression, compile_expression
from features.foregone import never_or_always
from features.kleene import Kind
from features.ranges import Ranges
from features.table import Table

_KINDS: Mapping[str, Kind] = {
    "decimal": "decimal",
    "integer": "number",
    "time": "number",
    "boolean": "boolean",
    "category": "category",
    "text": "category",
}


def event_names(contracts: Contracts, event: str, prefix: str = "") -> dict[str, Kind]:
    """The fields of an event as names of an expression; a decimal is named so, as it is kept scaled."""
    declared = contracts.types.get(event)
    if declared is None:
        return {}
    return {prefix + field: _KINDS[kind.removesuffix("?")] for field, kind in declared.fields.items()}


def check_condition(
    table: Table,
    key: str,
    text: str,
    names: Mapping[str, Kind],
    ranges: Ranges | None = None,
    *,
    any_kind: bool = False,
) -> Expression | None:
    """The condition at `key`; None when it has a fault, which is noted at its character.

    With `ranges`, what its names may hold, one that can never or always be true is a fault too. `any_kind`:
    any expression will do.
    """
    try:
        condition = compile_expression(text, names)
    except BadExpression as error:
        _note(table, key, error)
        return None
    if condition.kind != "boolean" and not any_kind:
        table.fault(key, "a condition, true or false", f"a {condition.kind}")
        return None
    foregone = None if ranges is None else never_or_always(condition, ranges)
    if foregone is not None:
        _note(table, key, foregone)
        return None
    return condition


def _note(table: Table, key: str, error: BadExpression) -> None:
    place = f"{table.place(key)}, character {error.at}"
    fault = Fault(table.file, place, error.expected, error.found, error.hint, error.excerpt)
    table.faults.append(fault)
