"""What conditions of triggers are told of batch tables: values as people write them, as of an instant."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from features.attribute import Attribute, AttributeTable, Plain
from features.attribute_past import AttributePast
from features.attributes import Held, in_force
from features.given import Attributes
from features.plan import Plan

LookUp = Callable[[Sequence[str], Sequence[int]], Attributes]
"""What batch tables knew of customers at instants (ms), for each name that conditions of triggers read."""


class _Asked(NamedTuple):
    """An attribute that some trigger reads: its name there, and its place in the table's rows."""

    name: str
    place: int
    attribute: Attribute

    def value(self, number: float) -> Plain | None:
        """A number of the customer's row as a value of its kind; None for NaN."""
        if number != number:
            return None
        if self.attribute.kind == "category":
            return self.attribute.categories[int(number)]
        return bool(number) if self.attribute.kind == "boolean" else number


class AskedAttributes:
    """The attributes that triggers of a plan read; `tables` are those that they are of, in declared order.

    Their values are the very ones that serving puts into the row: missing before a table was loaded and when
    a row is too old, the declared default for a customer of whom it has none.
    """

    def __init__(self, plan: Plan) -> None:
        asked = {table: _asked(table, plan.triggers.attributes) for table in plan.playbook.attributes}
        self._places = [table for table, each in enumerate(asked.values()) if each]
        self._asked = [each for each in asked.values() if each]
        self.tables = tuple(table for table, each in asked.items() if each)
        self.names = tuple(one.name for each in self._asked for one in each)

    def of_all(self, held: Held) -> Held:
        """What is held of `tables`, of what is held of every table of the playbook."""
        return Held(
            tuple(held.loaded[place] for place in self._places),
            tuple(held.versions[place] for place in self._places),
        )

    def columns(self, held: Iterable[Held], instants: Sequence[int]) -> Attributes:
        """For each of `names` its values, of what is held of `tables` and the instant (ms) beside it."""
        rows = [self.at(each, instant) for each, instant in zip(held, instants, strict=True)]
        return {name: [row[place] for row in rows] for place, name in enumerate(self.names)}

    def at(self, held: Held, instant: int) -> tuple[Plain | None, ...]:
        """The value of each of `names` at `instant` (ms), of what is held of `tables`; None: not known."""
        values: list[Plain | None] = []
        for table, asked, loaded, versions in zip(
            self.tables, self._asked, held.loaded, held.versions, strict=True
        ):
            found, version = in_force(versions, loaded, instant)
            if version is not None and instant - version.as_of <= table.freshness_ms:
                values += [each.value(each.attribute.number(version.values[each.place])) for each in asked]
            elif found == "none":
                values += [each.value(each.attribute.default) for each in asked]
            else:
                values += [None] * len(asked)
        return tuple(values)


def look_up_in(past: AttributePast, plan: Plan) -> LookUp:
    """What conditions of the plan would have been told by these histories."""
    asked = AskedAttributes(plan)

    def look_up(customers: Sequence[str], instants: Sequence[int]) -> Attributes:
        if not asked.names:
            return {}
        held = (past.held(*each) for each in zip(customers, instants, strict=True))
        return asked.columns(map(asked.of_all, held), instants)

    return look_up


def _asked(table: AttributeTable, names: frozenset[str]) -> tuple[_Asked, ...]:
    live = ((f"{table.name}_{each.name}", place, each) for place, each in enumerate(table.attributes))
    return tuple(_Asked(*each) for each in live if each[0] in names)
