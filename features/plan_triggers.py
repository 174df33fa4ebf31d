"""The triggers of a playbook, compiled: which events concern them, which features their conditions read."""

from collections.abc import Sequence
from typing import NamedTuple

from features.bank import Bank, narrowed
from features.declare import Playbook, Trigger
from features.declare_fields import event_names
from features.expression import Expression, compile_expression
from features.kleene import Kind


class CompiledTrigger(NamedTuple):
    """A trigger and its condition. `edge`: the condition reads features, so only its turning true fires.

    `features` are those it reads, each as the storage to read it from and its default; `scales` says by how
    much each field of its event is scaled, so that a payload shows plain numbers.
    """

    trigger: Trigger
    condition: Expression | None
    features: dict[str, tuple[Bank, float]]
    edge: bool
    scales: dict[str, int]


class TriggerPlan(NamedTuple):
    """All triggers, and for each type of event those it may start and those whose absence it ends."""

    triggers: tuple[CompiledTrigger, ...]
    starts: dict[str, tuple[CompiledTrigger, ...]]
    ends: dict[str, tuple[CompiledTrigger, ...]]

    @property
    def events(self) -> set[str]:
        """Every type of event that concerns a trigger."""
        return set(self.starts) | set(self.ends)


def plan_triggers(playbook: Playbook, banks: Sequence[Bank]) -> TriggerPlan:
    """Compile the triggers against the features of the customer's row, which these banks store."""
    row = {
        feature.name: (narrowed(bank, place), feature.default)
        for bank in banks
        if not bank.keyed
        for place, feature in enumerate(bank.features)
    }
    compiled = []
    for trigger in playbook.triggers:
        fields = playbook.contracts.types[trigger.on].fields
        condition = None
        if trigger.when is not None:
            names: dict[str, Kind] = dict.fromkeys(row, "number")
            names |= event_names(playbook.contracts, trigger.on, "event.")
            condition = compile_expression(trigger.when, names)
        read = {name: row[name] for name in (condition.names if condition else ()) if name in row}
        scales = {name: 10_000 if kind.removesuffix("?") == "decimal" else 1 for name, kind in fields.items()}
        compiled.append(CompiledTrigger(trigger, condition, read, bool(read), scales))
    starts: dict[str, tuple[CompiledTrigger, ...]] = {}
    ends: dict[str, tuple[CompiledTrigger, ...]] = {}
    for each in compiled:
        starts[each.trigger.on] = (*starts.get(each.trigger.on, ()), each)
        if each.trigger.unless is not None:
            event = each.trigger.unless.event
            ends[event] = (*ends.get(event, ()), each)
    return TriggerPlan(tuple(compiled), starts, ends)
