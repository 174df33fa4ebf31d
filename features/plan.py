"""The plan: what a playbook declares, compiled once into programs that the fold and the row run."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from features.bank import FINENESS, Bank, bank_of, decayed
from features.declare import Playbook
from features.declare_fields import event_names
from features.expression import Expression, compile_expression
from features.feature import Feature
from features.kleene import Env, Kind
from features.plan_triggers import TriggerPlan, plan_triggers

LAYOUT = 1
"""Of the state's bytes; a change makes older blobs unreadable, as the digest covers it."""


class Program(NamedTuple):
    """What the fold does with one type of event: conditions to test once, then a step for each bank."""

    conditions: tuple[Callable[[Env], Any], ...]
    steps: tuple[tuple[Any, ...], ...]


class Plan(NamedTuple):
    """A playbook, compiled. `digest` (16 hex) changes with anything that changes a state or a row.

    `customer_features` are in the order of the row, `cross_features` in the order of a cross row, each with
    the offer's attribute that picks its key in `match`. Lengths of time are ms.
    """

    name: str
    digest: str
    lateness_ms: int
    customer_features: tuple[Feature, ...]
    cross_features: tuple[Feature, ...]
    banks: tuple[Bank, ...]
    programs: Mapping[str, Program]
    triggers: TriggerPlan
    playbook: Playbook


def compile_plan(playbook: Playbook) -> Plan:
    """Compile a loaded playbook.

    >>> from pathlib import Path
    >>> from features.declare import load
    >>> plan = compile_plan(load(Path("playbooks/grocery")))
    >>> plan.customer_features[0].name, plan.cross_features[0].match
    ('spend_count_7d', 'campaign')
    """
    banks = []
    starts = {False: 0, True: 0}
    for number, aggregate in enumerate(playbook.aggregates):
        bank = bank_of(playbook, number, aggregate, starts[aggregate.by is not None])
        starts[bank.keyed] += len(bank.features)
        banks.append(bank)
    plain = tuple(feature for bank in banks if not bank.keyed for feature in bank.features)
    crossed = tuple(feature for bank in banks if bank.keyed for feature in bank.features)
    triggers = plan_triggers(playbook, banks)
    relevant = sorted({bank.aggregate.event for bank in banks} | triggers.events)
    return Plan(
        playbook.name,
        _digest(playbook),
        playbook.lateness_ms,
        plain,
        crossed,
        tuple(banks),
        {event: _program(playbook, event, banks) for event in relevant},
        triggers,
        playbook,
    )


def _program(playbook: Playbook, event: str, banks: list[Bank]) -> Program:
    names: dict[str, Kind] = event_names(playbook.contracts, event)
    conditions: dict[str, Expression] = {}
    steps = []
    for bank in banks:
        aggregate = bank.aggregate
        if aggregate.event != event:
            continue
        where = -1
        if aggregate.where is not None:
            conditions.setdefault(aggregate.where, compile_expression(aggregate.where, names))
            where = list(conditions).index(aggregate.where)
        steps.append(
            (
                bank,
                bank.number,
                where,
                aggregate.value,
                aggregate.by,
                bank.shape,
                bank.tiles,
                bank.widths[0] if bank.widths else 0,
                aggregate.windows[0] if aggregate.windows else 0,
                bank.ever,
                bank.first,
                bank.last,
                bank.newest,
                decayed(bank),
            )
        )
    return Program(tuple(each.one for each in conditions.values()), tuple(steps))


def _digest(playbook: Playbook) -> str:
    """Covers what changes a state or a row, not the words that explain it."""
    aggregates = [aggregate._replace(unit="", meaning="") for aggregate in playbook.aggregates]
    fields = {name: event.fields for name, event in sorted(playbook.contracts.types.items())}
    triggers = [trigger._replace(meaning="") for trigger in playbook.triggers]
    content = msgspec.json.encode([LAYOUT, FINENESS, playbook.lateness_ms, aggregates, fields, triggers])
    return hashlib.blake2b(content, digest_size=8).hexdigest()
