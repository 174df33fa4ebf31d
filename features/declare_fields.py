"""What conditions of a playbook may speak of, and their check with the place of each fault."""

from collections.abc import Mapping

from events.contract import Contracts
from events.faults import Fault
from features.expression import BadExpression, compile_expression
from features.kleene import Kind
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


def check_condition(table: Table, key: str, text: str, names: Mapping[str, Kind]) -> None:
    """Note every fault of the condition at `key`, at its character."""
    try:
        kind = compile_expression(text, names).kind
    except BadExpression as error:
        table.faults.append(
            Fault(
                table.file,
                f"{table.place(key)}, character {error.at}",
                error.expected,
                error.found,
                error.hint,
                error.excerpt,
            )
        )
        return
    if kind != "boolean":
        table.fault(key, "a condition, true or false", f"a {kind}")
