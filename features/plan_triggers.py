"""The triggers of a playbook, compiled: which events concern them, which features their conditions read."""

from collections.abc import Sequence
from typing import NamedTuple

from features.declare import Playbook, Trigger
from features.declare_fields import event_names
from features.expression import Expression, compile_expression
from features.feature import Feature
from features.kleene import Kind


class CompiledTrigger(NamedTuple):
    """A trigger and its condition. `edge`: the condition reads features, so only its turning true fires.

    `features` are those it reads, each with its place among the plan's `columns`; `scales` says by how much
    each field of its event is scaled, so that a payload shows plain numbers.
    """

    trigger: Trigger
    condition: Expression | None
    features: dict[str, int]
    edge: bool
    scales: dict[str, int]


class TriggerPlan(NamedTuple):
    """All triggers, and for each type of event those it may start and those whose absence it ends.

    `columns` are the columns of the customer's row that any condition reads.
    """

    triggers: tuple[CompiledTrigger, ...]
    starts: dict[str, tuple[CompiledTrigger, ...]]
    ends: dict[str, tuple[CompiledTrigger, ...]]
    columns: tuple[int, ...]

    @property
    def events(self) -> set[str]:
        """Every type of event that concerns a trigger."""
        return set(self.starts) | set(self.ends)


def plan_triggers(playbook: Playbook, row: Sequence[Feature]) -> TriggerPlan:
    """Compile the triggers against the features of the customer's row."""
    places = {feature.name: place for place, feature in enumerate(row) if not feature.hidden}
    conditions = []
    for trigger in playbook.triggers:
        names: dict[str, Kind] = dict.fromkeys(places, "number")
        names |= event_names(playbook.contracts, trigger.on, "event.")
        conditions.append(None if trigger.when is None else compile_expression(trigger.when, names))
    read = {name for condition in conditions if condition for name in condition.names if name in places}
    columns = tuple(sorted(places[name] for name in read))
    compiled = []
    for trigger, condition in zip(playbook.triggers, conditions, strict=True):
        fields = playbook.contracts.types[trigger.on].fields
        mine = [name for name in (condition.names if condition else ()) if name in places]
        at = {name: columns.index(places[name]) for name in mine}
        scales = {name: 10_000 if kind.removesuffix("?") == "decimal" else 1 for name, kind in fields.items()}
        compiled.append(CompiledTrigger(trigger, condition, at, bool(at), scales))
    starts: dict[str, tuple[CompiledTrigger, ...]] = {}
    ends: dict[str, tuple[CompiledTrigger, ...]] = {}
    for each in compiled:
        starts[each.trigger.on] = (*starts.get(each.trigger.on, ()), each)
        if each.trigger.unless is not None:
            event = each.trigger.unless.event
            ends[event] = (*ends.get(event, ()), each)
    return TriggerPlan(tuple(compiled), starts, ends, columns)
