"""The plan: what a playbook declares, compiled once into programs that the fold and the row run."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from features.declare import Playbook, event_names
from features.expression import Expression, compile_expression
from features.feature import DECAYED, Aggregate, Feature, expand
from features.kleene import Env, Kind
from features.plan_triggers import TriggerPlan, plan_triggers

COUNT, SUM, COUNT_SUM, EXTREMES = 1, 2, 3, 4
"""Shapes of a tile: a count; a sum; [count, sum]; [count, sum, min, max]: no more than is needed."""

FINENESS = 100
"""A tile is at most this part of its window."""

LAYOUT = 1
"""Of the state's bytes; a change makes older blobs unreadable, as the digest covers it."""


class Span(NamedTuple):
    """What one window, half-life or `ever` yields: (place among the bank's features, function) pairs.

    `kind` is window, half_life or ever; `number` says which window or half-life, `length` its ms.
    """

    kind: str
    number: int
    length: int
    outputs: tuple[tuple[int, str], ...]


class Bank(NamedTuple):
    """The storage of one aggregate: for each key a cell, a list whose slots are laid out here (-1: none).

    `shape` of its tiles; `widths` are the tiles' widths as powers of two, one a window. Slots: `tiles`
    {place: tile}, `ever` (a tile of all time), `first` and `last` (ms), `newest` ([ms, id hash, value] of
    the last value), `halves` (first of the slots {interval: weighted tile}, one a half-life).
    """

    number: int
    aggregate: Aggregate
    scale: int
    shape: int
    widths: tuple[int, ...]
    tiles: int
    ever: int
    first: int
    last: int
    newest: int
    halves: int
    features: tuple[Feature, ...]
    spans: tuple[Span, ...]
    moments: tuple[tuple[int, str], ...]
    row_at: int

    @property
    def keyed(self) -> bool:
        """Whether it is a family, a cell for each key."""
        return self.aggregate.by is not None


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
    ('spend_count_7d', 'offer')
    """
    banks = []
    starts = {False: 0, True: 0}
    for number, aggregate in enumerate(playbook.aggregates):
        bank = _bank(playbook, number, aggregate, starts[aggregate.by is not None])
        starts[bank.keyed] += len(bank.features)
        banks.append(bank)
    plain = tuple(feature for bank in banks if not bank.keyed for feature in bank.features)
    crossed = tuple(feature for bank in banks if bank.keyed for feature in bank.features)
    triggers = plan_triggers(playbook, [feature.name for feature in plain])
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


def _bank(playbook: Playbook, number: int, aggregate: Aggregate, row_at: int) -> Bank:
    functions = set(aggregate.functions)
    if functions & {"min", "max"}:
        shape = EXTREMES
    elif "mean" in functions or {"count", "sum"} <= functions:
        shape = COUNT_SUM
    else:
        shape = SUM if "sum" in functions else COUNT
    spanning = bool(functions & {"count", "sum", "mean", "min", "max"})
    slots = iter(range(100))
    tiles = next(slots) if spanning and aggregate.windows else -1
    ever = next(slots) if spanning and aggregate.ever else -1
    first = next(slots) if "since_first" in functions else -1
    last = next(slots) if "since_last" in functions else -1
    newest = next(slots) if "last" in functions else -1
    halves = next(slots) if functions & set(DECAYED) and aggregate.half_lives else -1
    features = tuple(expand(aggregate))
    spans: dict[tuple[str, int, int], list[tuple[int, str]]] = {}
    moments = []
    for place, feature in enumerate(features):
        if feature.window_ms is not None:
            kind = ("window", aggregate.windows.index(feature.window_ms), feature.window_ms)
        elif feature.half_life_ms is not None:
            kind = ("half_life", aggregate.half_lives.index(feature.half_life_ms), feature.half_life_ms)
        elif feature.function in ("last", "since_last", "since_first"):
            moments.append((place, feature.function))
            continue
        else:
            kind = ("ever", 0, 0)
        spans.setdefault(kind, []).append((place, feature.function))
    fields = playbook.contracts.types[aggregate.event].fields
    decimal = aggregate.value is not None and fields[aggregate.value].removesuffix("?") == "decimal"
    return Bank(
        number,
        aggregate,
        10_000 if decimal else 1,
        shape,
        tuple((window // FINENESS).bit_length() - 1 for window in aggregate.windows),
        tiles,
        ever,
        first,
        last,
        newest,
        halves,
        features,
        tuple(Span(*kind, tuple(outputs)) for kind, outputs in spans.items()),
        tuple(moments),
        row_at,
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
                _halves(bank),
            )
        )
    return Program(tuple(each.one for each in conditions.values()), tuple(steps))


def _halves(bank: Bank) -> tuple[tuple[int, int, int], ...]:
    """(slot, half-life, shape) of each half-life; decayed tiles keep no extremes."""
    shape = COUNT_SUM if bank.shape == EXTREMES else bank.shape
    lengths = bank.aggregate.half_lives if bank.halves >= 0 else ()
    return tuple((slot, length, shape) for slot, length in enumerate(lengths, start=bank.halves))


def _digest(playbook: Playbook) -> str:
    """Covers what changes a state or a row, not the words that explain it."""
    aggregates = [aggregate._replace(unit="", meaning="") for aggregate in playbook.aggregates]
    fields = {name: event.fields for name, event in sorted(playbook.contracts.types.items())}
    triggers = [trigger._replace(meaning="") for trigger in playbook.triggers]
    content = msgspec.json.encode([LAYOUT, FINENESS, playbook.lateness_ms, aggregates, fields, triggers])
    return hashlib.blake2b(content, digest_size=8).hexdigest()
