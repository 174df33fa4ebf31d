"""The plan: what a playbook declares, compiled once into the tables that the fold and the row run on."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.attribute import row_shape
from features.bank import FINENESS, Bank, BankTables, banks_of, tables_of
from features.declare import Playbook, features_of
from features.declare_fields import event_names
from features.expression import Expression, compile_expression
from features.feature import Feature
from features.kernel.layout import MOST_RECENT, STEPS_AT, STEPS_END, TYPE_COLUMNS
from features.kleene import Kind
from features.plan_triggers import TriggerPlan, plan_triggers
from features.settle import Settling

LAYOUT = 3
"""Of the state's bytes; a change makes older blobs unreadable, as the digest covers it."""


class Program(NamedTuple):
    """What is taken of one type of event: words for the compiled fold, in this order.

    `conditions` first (1 or 0), then the numbers of the fields `values`, then the hashes of the fields
    `keys`. `number` is the row of the type in the plan's tables; `probes`: a trigger reads features after it.
    """

    number: int
    conditions: tuple[Expression, ...]
    values: tuple[str, ...]
    keys: tuple[str, ...]
    hashed: tuple[str, ...]
    probes: bool

    @property
    def width(self) -> int:
        """Words of one event."""
        return len(self.conditions) + len(self.values) + len(self.keys) + len(self.hashed)


class RowTables(NamedTuple):
    """One row's columns as numbers: what stands when nothing happened, limits of age (ms), what is derived
    of what.

    A column below zero of a cross row's `derived` is one of the customer's row, from -1 on; `beside` says
    whether there is one.
    """

    defaults: NDArray[np.float64]
    freshness: NDArray[np.int64]
    derived: NDArray[np.int64]
    factors: NDArray[np.float64]
    visible: int
    beside: bool


class Plan(NamedTuple):
    """A playbook, compiled. `digest` (16 hex) changes with anything that changes a state or a row.

    `customer_features` are in the order of the row, `cross_features` in the order of a cross row, each with
    the offer's attribute that picks its key in `match`, whose number in `tables.matches` is in `match_of`.
    Lengths of time are ms.
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
    tables: BankTables
    steps: NDArray[np.int64]
    types: NDArray[np.int64]
    probed: NDArray[np.int64]
    limits: NDArray[np.int64]
    row_tables: RowTables
    cross_tables: RowTables
    match_of: NDArray[np.int64]

    @property
    def settling(self) -> Settling:
        """The tables by which states of this plan are settled."""
        return Settling(self.tables.banks, self.tables.spans, self.steps, self.types, self.limits)

    @property
    def most_steps(self) -> int:
        """The most aggregates that one event touches."""
        types = self.types.reshape(-1, TYPE_COLUMNS)
        return int((types[:, STEPS_END] - types[:, STEPS_AT]).max()) if len(types) else 0


def compile_plan(playbook: Playbook) -> Plan:
    """Compile a loaded playbook.

    >>> from pathlib import Path
    >>> from features.declare import load
    >>> plan = compile_plan(load(Path("playbooks/grocery")))
    >>> plan.customer_features[0].name, plan.cross_features[0].match
    ('spend_count_7d', 'campaign')
    """
    row, crossed = features_of(playbook)
    columns = {feature.name: n for features in (row, crossed) for n, feature in enumerate(features)}
    banks = banks_of(playbook, columns)
    triggers = plan_triggers(playbook, row)
    relevant = sorted({bank.aggregate.event for bank in banks} | triggers.events)
    steps: list[tuple[int, int, int, int]] = []
    types: list[tuple[int, ...]] = []
    probed: list[int] = []
    programs: dict[str, Program] = {}
    for event in relevant:
        before = len(steps), len(probed)
        probed += _probed(event, banks, row, triggers)
        programs[event] = _program(playbook, event, banks, len(programs), steps, len(probed) > before[1])
        program = programs[event]
        types.append(
            (
                *(before[0], len(steps), before[1], len(probed)),
                *(len(program.conditions), len(program.values), program.width),
            )
        )
    digest = _digest(playbook)
    word = int.from_bytes(bytes.fromhex(digest), "little", signed=True)
    widest = max((program.width for program in programs.values()), default=0)
    limits = [
        *(playbook.lateness_ms, playbook.memory_bytes, word, 1),
        *(len(probed), len(triggers.columns), MOST_RECENT, widest),
    ]
    row_columns = {feature.name: n for n, feature in enumerate(row)}
    tables = tables_of(banks, frozenset(probed))
    match_of = [tables.matches.index(str(feature.match)) for feature in crossed]
    return Plan(
        playbook.name,
        digest,
        playbook.lateness_ms,
        tuple(feature for feature in row if not feature.hidden),
        tuple(feature for feature in crossed if not feature.hidden),
        banks,
        programs,
        triggers,
        playbook,
        tables,
        np.array(steps, dtype=np.int64).ravel(),
        np.array(types, dtype=np.int64).ravel(),
        np.array([*probed, *triggers.columns], dtype=np.int64),
        np.array(limits, dtype=np.int64),
        _row_tables(row, row_columns, {}),
        _row_tables(crossed, {feature.name: n for n, feature in enumerate(crossed)}, row_columns),
        np.array(match_of, dtype=np.int64),
    )


def _probed(
    event: str, banks: Sequence[Bank], row: Sequence[Feature], triggers: TriggerPlan
) -> Sequence[int]:
    """The banks whose values triggers that start with this event read."""
    if not any(trigger.features for trigger in triggers.starts.get(event, ())):
        return ()
    wanted = set()
    for column in triggers.columns:
        wanted |= {row[column].name, *(row[column].derived or ())[:2]}
    return [bank.number for bank in banks if wanted & {feature.name for feature in bank.features}]


def _program(
    playbook: Playbook,
    event: str,
    banks: Sequence[Bank],
    number: int,
    steps: list[tuple[int, int, int, int]],
    probes: bool,
) -> Program:
    names: dict[str, Kind] = event_names(playbook.contracts, event)
    mine = [bank.aggregate for bank in banks if bank.aggregate.event == event]
    conditions = list(dict.fromkeys(a.where for a in mine if a.where is not None))
    distinct = [a for a in mine if "distinct" in a.functions]
    values = sorted({a.value for a in mine if a.value is not None and a not in distinct})
    keys = sorted({a.by for a in mine if a.by is not None})
    hashed = sorted({a.value for a in distinct if a.value is not None})
    words: list[tuple[str, str | None]] = [("where", text) for text in conditions]
    words += [("value", field) for field in values] + [("key", field) for field in keys]
    words += [("hash", field) for field in hashed]
    for bank in banks:
        aggregate = bank.aggregate
        if aggregate.event != event:
            continue
        value = "hash" if aggregate in distinct else "value"
        steps.append(
            (
                bank.number,
                -1 if aggregate.where is None else words.index(("where", aggregate.where)),
                -1 if aggregate.value is None else words.index((value, aggregate.value)),
                -1 if aggregate.by is None else words.index(("key", aggregate.by)),
            )
        )
    compiled = tuple(compile_expression(text, names) for text in conditions)
    return Program(number, compiled, tuple(values), tuple(keys), tuple(hashed), probes)


def _row_tables(
    features: Sequence[Feature], columns: Mapping[str, int], beside: Mapping[str, int]
) -> RowTables:
    derived, factors = [], []
    for column, feature in enumerate(features):
        if feature.derived is not None:
            over, under = (
                columns[name] if name in columns else -1 - beside[name] for name in feature.derived[:2]
            )
            derived.append((over, under, column))
            factors.append(feature.derived.factor)
    return RowTables(
        np.array([feature.default for feature in features], dtype=np.float64),
        np.array([feature.freshness_ms for feature in features], dtype=np.int64),
        np.array(derived, dtype=np.int64).ravel(),
        np.array(factors, dtype=np.float64),
        sum(not feature.hidden for feature in features),
        any(column < 0 for each in derived for column in each),
    )


def _digest(playbook: Playbook) -> str:
    """Covers what changes a state or a row, not the words that explain it."""
    aggregates = [aggregate._replace(unit="", meaning="") for aggregate in playbook.aggregates]
    ratios = [ratio._replace(unit="", meaning="") for ratio in playbook.ratios]
    fields = {name: event.fields for name, event in sorted(playbook.contracts.types.items())}
    triggers = [trigger._replace(meaning="") for trigger in playbook.triggers]
    content = msgspec.json.encode(
        [
            *(LAYOUT, FINENESS, playbook.lateness_ms, playbook.memory_bytes),
            *(aggregates, ratios, fields, triggers, row_shape(playbook)),
        ]
    )
    return hashlib.blake2b(content, digest_size=8).hexdigest()
