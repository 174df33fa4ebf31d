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
from features.feature import SHARED, Aggregate, Feature, Of
from features.kernel.layout import MOST_RECENT, STEP_COLUMNS, STEPS_AT, STEPS_END, TYPE_COLUMNS
from features.kleene import Kind
from features.memory import MEMORY_OF_EVERYBODY
from features.plan_triggers import Given, TriggerPlan, events_of, plan_triggers
from features.settle import Settling
from features.trigger import fired_names

LAYOUT = 4
"""Of the state's bytes; a change makes older blobs unreadable, as the digest covers it."""


class Program(NamedTuple):
    """What is taken of one type of event: words for the compiled fold, in this order.

    `conditions` first (1 or 0), then the numbers of the fields `values`, the buckets that those of the fields
    `buckets` are in, then the hashes of the fields `keys` and `hashed`. `number` is the row of the type in
    the plan's tables; `given` is what triggers are given of it, None when it concerns none.
    """

    number: int
    conditions: tuple[Expression, ...]
    values: tuple[str, ...]
    keys: tuple[str, ...]
    hashed: tuple[str, ...]
    given: Given | None
    buckets: tuple[str, ...] = ()

    @property
    def numbers(self) -> int:
        """How many of the words are numbers, or buckets of them."""
        return len(self.values) + len(self.buckets)

    @property
    def width(self) -> int:
        """Words of one event."""
        return len(self.conditions) + self.numbers + len(self.keys) + len(self.hashed)


class RowTables(NamedTuple):
    """One row's columns as numbers: what stands when nothing happened, limits of age (ms), what is derived
    of what.

    A column below zero of a cross row's `derived` is one of the customer's row, from -1 on; `beside` says
    whether there is one. `shared` are the columns whose values come from `Plan.crowd`, in the order of its
    row. `reads_own` and `reads_shared` say of each column whether it, or what it is derived of, is counted of
    the customer, or over everybody.
    """

    defaults: NDArray[np.float64]
    freshness: NDArray[np.int64]
    derived: NDArray[np.int64]
    factors: NDArray[np.float64]
    visible: int
    beside: bool
    shared: NDArray[np.int64]
    reads_own: NDArray[np.bool_]
    reads_shared: NDArray[np.bool_]


class Plan(NamedTuple):
    """A playbook, compiled. `digest` (16 hex) changes with anything that changes a state or a row.

    `customer_features` are in the order of the row, `cross_features` in the order of a cross row, each with
    the offer's attribute that picks its key in `match`, whose number in `tables.matches` is in `match_of`, -1
    where it is counted over everybody. Lengths of time are ms. `crowd` is the plan of what is counted over
    everybody, a plan like any other whose one "customer" is everybody in a partition of the log; its digest
    covers nothing of customers. None when nothing is. `fired` are the columns of what triggers did, how
    often and how long ago, two a trigger.
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
    limits: NDArray[np.int64]
    row_tables: RowTables
    cross_tables: RowTables
    match_of: NDArray[np.int64]
    fired: NDArray[np.int64]
    crowd: "Plan | None" = None

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
    own = tuple(each for each in playbook.aggregates if each.of not in SHARED)
    plan = _compile(playbook, own, row, crossed, _digest(playbook), SHARED)
    if len(own) == len(playbook.aggregates):
        return plan
    return plan._replace(crowd=_crowd(playbook, row, crossed))


def _crowd(playbook: Playbook, row: Sequence[Feature], crossed: Sequence[Feature]) -> Plan:
    """The plan of what is counted over everybody: its rows hold what is stored, and derive nothing."""
    shared = tuple(each for each in playbook.aggregates if each.of in SHARED)
    alone = playbook._replace(
        aggregates=shared, ratios=(), triggers=(), attributes=(), memory_bytes=MEMORY_OF_EVERYBODY
    )
    kept, picked = (
        [each._replace(hidden=False) for each in features if each.of in SHARED and each.derived is None]
        for features in (row, crossed)
    )
    return _compile(alone, shared, kept, picked, _digest(alone), ())


def _compile(
    playbook: Playbook,
    aggregates: tuple[Aggregate, ...],
    row: Sequence[Feature],
    crossed: Sequence[Feature],
    digest: str,
    beside: tuple[Of, ...],
) -> Plan:
    """Compile a part of the playbook; `beside` says whose events are not counted here but in `Plan.crowd`."""
    columns = {feature.name: n for features in (row, crossed) for n, feature in enumerate(features)}
    banks = banks_of(playbook._replace(aggregates=aggregates), columns)
    relevant = sorted({bank.aggregate.event for bank in banks} | events_of(playbook))
    triggers = plan_triggers(playbook, row, crossed, banks, {event: n for n, event in enumerate(relevant)})
    steps: list[tuple[int, int, int, int]] = []
    types: list[tuple[int, ...]] = []
    programs: dict[str, Program] = {}
    for event in relevant:
        before = len(steps)
        programs[event] = _program(playbook, event, banks, len(programs), steps, triggers.given.get(event))
        program = programs[event]
        types.append((before, len(steps), len(program.conditions), program.numbers, program.width))
    word = int.from_bytes(bytes.fromhex(digest), "little", signed=True)
    widest = max((program.width for program in programs.values()), default=0)
    # Ids of events are remembered of a customer: everybody's of a day would be too many.
    limits = [
        *(playbook.lateness_ms, playbook.memory_bytes, word, int(bool(beside))),
        *(MOST_RECENT, widest),
    ]
    row_columns = {feature.name: n for n, feature in enumerate(row)}
    tables = tables_of(banks)
    places = {step[0]: STEP_COLUMNS * place for place, step in enumerate(steps)}
    triggers = triggers.with_steps(
        [(programs[bank.aggregate.event].number, places[bank.number]) for bank in banks]
    )
    match_of = [
        tables.matches.index(feature.match) if feature.match in tables.matches else -1 for feature in crossed
    ]
    row_tables = _row_tables(row, beside, row_columns, {}, None)
    cross_columns = {feature.name: n for n, feature in enumerate(crossed)}
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
        np.array(limits, dtype=np.int64),
        row_tables,
        _row_tables(crossed, beside, cross_columns, row_columns, row_tables),
        np.array(match_of, dtype=np.int64),
        np.array([row_columns[n] for t in playbook.triggers for n in fired_names(t.name)], dtype=np.int64),
    )


def _program(
    playbook: Playbook,
    event: str,
    banks: Sequence[Bank],
    number: int,
    steps: list[tuple[int, int, int, int]],
    given: Given | None,
) -> Program:
    names: dict[str, Kind] = event_names(playbook.contracts, event)
    mine = [bank.aggregate for bank in banks if bank.aggregate.event == event]
    conditions = list(dict.fromkeys(a.where for a in mine if a.where is not None))
    distinct = [a for a in mine if "distinct" in a.functions]
    values = sorted({a.value for a in mine if a.value and a not in distinct and not a.histogram})
    buckets = sorted({a.value for a in mine if a.value and a.histogram})
    keys = sorted({a.by for a in mine if a.by is not None})
    hashed = sorted({a.value for a in distinct if a.value is not None})
    words: list[tuple[str, str | None]] = [("where", text) for text in conditions]
    words += [("value", field) for field in values] + [("bucket", field) for field in buckets]
    words += [("key", field) for field in keys] + [("hash", field) for field in hashed]
    for bank in banks:
        aggregate = bank.aggregate
        if aggregate.event != event:
            continue
        value: tuple[str, str | None] = ("hash" if aggregate in distinct else "value", aggregate.value)
        key: tuple[str, str | None] = ("key", aggregate.by)
        if aggregate.histogram:
            value, key = ("value", None), ("bucket", aggregate.value)
        steps.append(
            (
                bank.number,
                -1 if aggregate.where is None else words.index(("where", aggregate.where)),
                -1 if value[1] is None else words.index(value),
                -1 if key[1] is None else words.index(key),
            )
        )
    compiled = tuple(compile_expression(text, names) for text in conditions)
    return Program(number, compiled, tuple(values), tuple(keys), tuple(hashed), given, tuple(buckets))


def _row_tables(
    features: Sequence[Feature],
    elsewhere: tuple[Of, ...],
    columns: Mapping[str, int],
    beside: Mapping[str, int],
    row: RowTables | None,
) -> RowTables:
    derived, factors = [], []
    shared = np.array([each.of in elsewhere and each.derived is None for each in features], dtype=np.bool_)
    reads_shared = shared.copy()
    reads_own = np.array([each.derived is None for each in features], dtype=np.bool_) & ~shared
    for column, feature in enumerate(features):
        if feature.derived is not None:
            over, under = (
                columns[name] if name in columns else -1 - beside[name] for name in feature.derived[:2]
            )
            derived.append((over, under, column))
            factors.append(feature.derived.factor)
            for part in (over, under):
                tables = (reads_own, reads_shared)
                if part < 0:
                    assert row is not None
                    tables, part = (row.reads_own, row.reads_shared), -1 - part
                reads_own[column] |= tables[0][part]
                reads_shared[column] |= tables[1][part]
    return RowTables(
        np.array([feature.default for feature in features], dtype=np.float64),
        np.array([feature.freshness_ms for feature in features], dtype=np.int64),
        np.array(derived, dtype=np.int64).ravel(),
        np.array(factors, dtype=np.float64),
        sum(not feature.hidden for feature in features),
        any(column < 0 for each in derived for column in each),
        np.flatnonzero(shared),
        reads_own,
        reads_shared,
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
