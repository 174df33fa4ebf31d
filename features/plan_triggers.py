"""The triggers of a playbook, compiled: what each type of event is to them, and what their conditions
read."""

import math
import operator
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from features import kleene
from features.attribute import attribute_kinds
from features.bank import Bank
from features.clauses import Atom, Clauses
from features.declare import Playbook, Trigger
from features.declare_fields import event_names
from features.expression import Expression, compile_expression
from features.feature import SHARED, Feature
from features.kernel import trigger_layout as at
from features.kernel.trigger_layout import WatchTables
from features.kleene import Kind, Node
from features.trigger import FIRED_COUNT, FIRED_SINCE, Step
from features.trigger_features import in_order

_ALWAYS, _FOREVER = -(1 << 62), 1 << 62
DAY_MS = 86_400_000
_LONGEST_DAYS = 1_000_000
_NO_SCREEN = (-1, 0)
_CLOCK = ""
"""Stands for a type of event where the clock looks, and there is none."""
EVENT = "event."
Fields = tuple[str, ...]


class CompiledTrigger(NamedTuple):
    """A trigger, its conditions, and what it reports.

    `told` are the names of the values that the compiled code reports, `payload` compiled expressions or None
    for the event's fields and `told`. `clauses` are those of `when` by their numbers, what hits tell of one
    that was not true, `asked` those of `audience`.
    """

    number: int
    trigger: Trigger
    condition: Expression | None
    audience: Expression | None
    told: tuple[str, ...]
    payload: tuple[tuple[str, Expression], ...] | None
    edge: bool
    clauses: Mapping[int, Node]
    asked: Mapping[int, Node]

    @property
    def reads(self) -> frozenset[str]:
        """The names of the features, hidden ones too, that decide whether it fires."""
        conditions = [each for each in (self.condition, self.audience) if each is not None]
        spoken = {name.partition("[")[0] for each in conditions for name in each.names}
        if self.trigger.nth is not None:
            spoken.add(f"{self.trigger.name}_nth_count_ever")
        return frozenset(spoken)


class Given(NamedTuple):
    """What is worked out of the events of one type before they are folded, column by column.

    Each of `gates` is a set of columns of `atoms`, all true where features may be needed; `attributes` are
    read by some atom. `fields` are those of the event that anything here reads.
    """

    atoms: tuple[Atom, ...]
    keys: tuple[Fields, ...]
    gates: tuple[tuple[int, ...], ...]
    fields: frozenset[str]


class TriggerPlan(NamedTuple):
    """All triggers; for each type that concerns any what is worked out of its events; the compiled tables.

    `attributes` are the names that conditions read of batch tables; `watches` say what is remembered of
    events that answer; `clock` is what is worked out of a look, where attributes alone are known.
    """

    triggers: tuple[CompiledTrigger, ...]
    given: Mapping[str, Given]
    tables: WatchTables
    sources: int
    registers: int
    watches: tuple[str, ...]
    clock: Given
    attributes: frozenset[str]

    @property
    def waits(self) -> bool:
        """Whether the clock ever fires any."""
        return any(each.trigger.waits for each in self.triggers)

    def with_steps(self, steps: Sequence[tuple[int, int]]) -> "TriggerPlan":
        """The same, told for each bank the type of its events and the place of what they do to it."""
        return self._replace(tables=self.tables._replace(steps_of=_words(steps)))

    @property
    def most_told(self) -> int:
        """The most values that any reports."""
        return max((len(each.told) for each in self.triggers), default=0)


def events_of(playbook: Playbook) -> set[str]:
    """Every type of event that concerns a trigger; a trigger of every event looks at those that aggregates
    read."""
    named = {event for trigger in playbook.triggers for event in trigger.on}
    steps = [step for trigger in playbook.triggers for step in (trigger.after, trigger.unless)]
    named |= {step.event for step in steps if step is not None}
    if any(not trigger.on for trigger in playbook.triggers):
        named |= {aggregate.event for aggregate in playbook.aggregates if aggregate.of not in SHARED}
    return named


class _Sources:
    """Numbers the sources that conditions read, in the order in which they are met."""

    def __init__(
        self, playbook: Playbook, row: Sequence[Feature], crossed: Sequence[Feature], banks: Sequence[Bank]
    ) -> None:
        self._row = {feature.name: (n, feature) for n, feature in enumerate(row)}
        self._crossed = {feature.name: (n, feature) for n, feature in enumerate(crossed)}
        self._bank = {feature.name: bank.number for bank in banks for feature in bank.features}
        self._triggers = {trigger.name: n for n, trigger in enumerate(playbook.triggers)}
        self.numbers: dict[str, int] = {}
        self.rows: list[tuple[int | float, ...]] = []
        self.keys: dict[Fields, int] = {}
        self.screens: dict[tuple[int, ...], int] = {}
        self._feature: dict[int, Feature] = {}

    def __call__(self, name: str) -> int | None:
        """The number of the source; None for a field of the event or an attribute."""
        if name not in self.numbers:
            family, _, key = name.removesuffix("]").partition("[")
            found = self._crossed.get(family) if key else self._row.get(name)
            if found is None:
                return None
            self.rows.append(self._source(found[1], self.key((key.removeprefix(EVENT),)) if key else -1))
            self._feature[len(self.numbers)] = found[1]
            self.numbers[name] = len(self.numbers)
        return self.numbers[name]

    def key(self, fields: Fields) -> int:
        """The number of a key made of these fields of the event; -1 for none."""
        return self.keys.setdefault(fields, len(self.keys)) if fields else -1

    def screen(self, source: int, op: str, constant: float) -> tuple[int, int]:
        """The screen of a source that is compared so, and what it must come to; -1 for none."""
        feature, row = self._feature[source], self.rows[source]
        if row[at.SORT] != at.PLAIN or op not in ("ge", "gt", "eq") or not 0 < constant < _FOREVER:
            return _NO_SCREEN
        bank, key = int(row[at.BANK_A]), int(row[at.KEY_A])
        if feature.function == "since_last" and key < 0 and constant <= _LONGEST_DAYS:
            # A millisecond less, for what days round away.
            return self._screen(at.SO_LONG_AGO, bank, -1, -1), int(constant * DAY_MS) - 1
        if feature.function == "count" and feature.default == 0 and feature.half_life_ms is None:
            back = -1 if feature.window_ms is None else 2 * feature.window_ms
            least = math.floor(constant) + 1 if op == "gt" else math.ceil(constant)
            return self._screen(at.SO_MANY, bank, key, back), least
        return _NO_SCREEN

    def _screen(self, *screen: int) -> int:
        return self.screens.setdefault(screen, len(self.screens))

    def _source(self, feature: Feature, key: int) -> tuple[int | float, ...]:
        if feature.function in (FIRED_COUNT, FIRED_SINCE):
            sort = at.FIRED_COUNT if feature.function == FIRED_COUNT else at.FIRED_SINCE
            return (sort, self._triggers[feature.aggregate], 0, -1, 0, 0, -1, 1.0, feature.default)
        if feature.derived is None:
            return (at.PLAIN, *self._part(feature.name, key), 0, 0, -1, 1.0, feature.default)
        over, under, factor = feature.derived
        parts = (*self._part(over, key), *self._part(under, key))
        return (at.RATIO, *parts, factor, feature.default)

    def _part(self, name: str, key: int) -> tuple[int, int, int]:
        bank = self._bank[name]
        if name in self._row:
            return bank, self._row[name][0], -1
        return bank, self._crossed[name][0], key


def plan_triggers(
    playbook: Playbook,
    row: Sequence[Feature],
    crossed: Sequence[Feature],
    banks: Sequence[Bank],
    numbers: Mapping[str, int],
) -> TriggerPlan:
    """Compile the triggers against the features of both rows; `numbers` are those of the types of events."""
    sources = _Sources(playbook, row, crossed, banks)
    clauses = Clauses(sources)
    return _Compiling(playbook, row, crossed, numbers, sources, clauses).plan()


class _Compiling:
    def __init__(
        self,
        playbook: Playbook,
        row: Sequence[Feature],
        crossed: Sequence[Feature],
        numbers: Mapping[str, int],
        sources: _Sources,
        clauses: Clauses,
    ) -> None:
        self._playbook, self._crossed, self._numbers = playbook, crossed, numbers
        self._sources, self._clauses = sources, clauses
        self._features: dict[str, Kind] = {each.name: "number" for each in row if not each.hidden}
        self._features |= {each.name: "family" for each in crossed}
        self._attributes = attribute_kinds(playbook.attributes)
        self._told: list[int] = []
        self._watches: dict[tuple[str, Fields, int], int] = {}
        self._roles: dict[str, list[tuple[int, ...]]] = {name: [] for name in numbers}
        self._atoms: dict[str, dict[int, int]] = {name: {} for name in (*numbers, _CLOCK)}
        self._keys: dict[str, dict[int, int]] = {name: {} for name in (*numbers, _CLOCK)}
        self._gates: dict[str, set[tuple[int, ...]]] = {name: set() for name in (*numbers, _CLOCK)}
        self._start_keys: list[tuple[int, int, int]] = []

    def plan(self) -> TriggerPlan:
        triggers = self._playbook.triggers
        rows: list[tuple[int, ...]] = []
        compiled = []
        for number, trigger in enumerate(triggers):
            each, row = self._trigger(number, trigger)
            compiled.append(each)
            rows.append(row)
        order = {number: place for place, number in enumerate(in_order(triggers))}
        # Events that answer are kept under numbers behind those of the triggers.
        count = len(triggers)
        roles: list[tuple[int, ...]] = []
        roles_at = [0]
        for name in sorted(self._numbers, key=self._numbers.__getitem__):
            mine = sorted(self._roles[name], key=lambda r: (r[0], order[r[1]] if r[0] == at.STARTS else r[1]))
            for r in dict.fromkeys(mine):
                role = (r[0], r[1] + count, *r[2:]) if r[0] == at.ANSWERS else r
                roles.append(role if len(role) == at.ROLE_COLUMNS else (*role, *_NO_SCREEN))
            roles_at.append(len(roles))
        given = {name: self._given(name) for name in self._numbers if self._roles[name]}
        read = {name for each in given.values() for atom in each.atoms for name in atom.names}
        # What a message carries, and what is asked as a wait ends, is looked up too.
        read.update(
            name for each in compiled for _, expression in each.payload or () for name in expression.names
        )
        return TriggerPlan(
            tuple(compiled),
            given,
            self._tables(rows, roles_at, roles),
            len(self._sources.rows),
            self._clauses.registers,
            tuple(map(self._watch, self._watches)),
            self._given(_CLOCK),
            frozenset(read & self._attributes.keys()),
        )

    def _trigger(self, number: int, trigger: Trigger) -> tuple[CompiledTrigger, tuple[int, ...]]:
        on = trigger.on or tuple(self._numbers)
        kinds = self._kinds(trigger.on)
        condition = None if trigger.when is None else compile_expression(trigger.when, kinds)
        audience = None if trigger.audience is None else compile_expression(trigger.audience, kinds)
        nodes: list[Node] = [] if condition is None else [condition.tree]
        if trigger.nth is not None:
            counted = f"{trigger.name}_nth_count_ever"
            name = counted if trigger.each is None else f"{counted}[{EVENT}{trigger.each}]"
            nth = kleene.constant("number", trigger.nth)
            nodes.append(kleene.comparison(operator.eq, kleene.name(name, "number"), nth))
        judged = self._clauses.condition(iter(nodes), kinds) if nodes else -1
        asked = -1 if audience is None else self._clauses.condition(iter((audience.tree,)), kinds)
        spoken = condition.names if condition is not None else ()
        edge = (
            not trigger.repeats
            and trigger.nth is None
            and any("[" not in name and self._sources(name) is not None for name in spoken)
        )
        spoken += () if audience is None else audience.names
        payload = None
        if trigger.payload is not None:
            payload = tuple((key, compile_expression(text, kinds)) for key, text in trigger.payload)
            spoken = tuple(name for _, each in payload for name in each.names)
        told = tuple(dict.fromkeys(name for name in spoken if self._sources(name) is not None))
        told_at = len(self._told)
        self._told += [self._sources.numbers[name] for name in told]
        after = -1 if trigger.after is None else self._sources.key(trigger.after.same)
        unless = -1 if trigger.unless is None else self._sources.key(trigger.unless.same)
        each = -1 if trigger.each is None else self._sources.key((trigger.each,))
        self._start_keys.append((after, unless, each))
        starts = (at.STARTS, number, *self._rests(-1 if trigger.wake_ms is not None else judged))
        for event in on:
            self._roles[event].append(starts)
            reads = bool(told) or any(c >= 0 and self._clauses.sources(c) for c in (judged, asked))
            self._needs(event, [c for c in (judged, asked) if c >= 0])
            for key in (after, unless, each):
                self._key(event, key)
            for c in (judged, asked):
                for source in self._clauses.sources(c) if c >= 0 else ():
                    self._source_keys(event, source)
            for name in told:
                self._source_keys(event, self._sources.numbers[name])
            if reads:
                decides = self._clauses.gates(judged) if judged >= 0 else ()
                self._gates[event].add(tuple(self._atoms[event][atom] for atom in decides))
        if trigger.waits:
            self._needs(_CLOCK, [c for c in (judged if trigger.wake_ms is not None else -1, asked) if c >= 0])
        watch = -1
        if trigger.unless is not None:
            gate, key = self._step(trigger.unless)
            self._roles[trigger.unless.event].append((at.ENDS, number, gate, key))
            seen = (trigger.unless.event, trigger.unless.same, gate)
            watch = self._watches.setdefault(seen, len(self._watches))
            self._roles[trigger.unless.event].append((at.ANSWERS, watch, gate, key))
            watch += len(self._playbook.triggers)
        if trigger.after is not None:
            self._roles[trigger.after.event].append((at.BEGINS, number, *self._step(trigger.after)))
        if trigger.nth is not None:
            gate = -1 if condition is None else self._clauses.atom(condition.tree, kinds)
            self._atom(trigger.on[0], gate)
            self._roles[trigger.on[0]].append((at.COUNTS, number, gate, each))
        limits = (
            _ALWAYS if trigger.since_ms is None else trigger.since_ms,
            _FOREVER if trigger.until_ms is None else trigger.until_ms,
        )
        row = (
            *(judged, asked, int(edge)),
            -1 if trigger.after is None else trigger.after.within_ms,
            -1 if trigger.unless is None else trigger.unless.within_ms,
            watch,
            -1 if trigger.wake_ms is None else trigger.wake_ms,
            *(trigger.patience_ms, trigger.cooldown_ms, *limits, told_at, len(self._told)),
        )
        parts, others = (
            {} if each is None else self._clauses.parts(each.tree, kinds) for each in (condition, audience)
        )
        return CompiledTrigger(number, trigger, condition, audience, told, payload, edge, parts, others), row

    def _screen_of(self, clause: int) -> tuple[int, int]:
        asked = self._clauses.asked[clause]
        return _NO_SCREEN if asked is None else self._sources.screen(*asked)

    def _rests(self, condition: int) -> tuple[int, int, int, int]:
        """(gate, key, screen, needed) of what may fire: without which it plainly does nothing at an event."""
        if condition < 0:
            return -1, -1, *_NO_SCREEN
        gates = self._clauses.gates(condition)
        screens = [self._screen_of(clause) for clause in self._clauses.conditions[condition]]
        screen = next((each for each in screens if each[0] >= 0), _NO_SCREEN)
        return gates[0] if gates else -1, -1, *screen

    def _watch(self, watch: tuple[str, Fields, int]) -> str:
        event, same, gate = watch
        when = "" if gate < 0 else repr(self._clauses.atoms[gate].node.same_as)
        return f"{event}({', '.join(same)}) {when}"

    def _kinds(self, on: Sequence[str]) -> dict[str, Kind]:
        each = [event_names(self._playbook.contracts, event, EVENT) for event in on]
        common = {
            name: kind
            for name, kind in (each[0] if each else {}).items()
            if all(o.get(name) == kind for o in each)
        }
        return {**self._features, **self._attributes, **common}

    def _step(self, step: Step) -> tuple[int, int]:
        """(gate, key) of another event that matters."""
        gate = -1
        if step.when is not None:
            kinds = event_names(self._playbook.contracts, step.event, EVENT)
            gate = self._clauses.atom(compile_expression(step.when, kinds).tree, kinds)
        self._atom(step.event, gate)
        key = self._sources.key(step.same)
        self._key(step.event, key)
        return gate, key

    def _needs(self, event: str, conditions: Sequence[int]) -> None:
        """The event's atoms that the conditions read."""
        for condition in conditions:
            for clause in self._clauses.conditions[condition]:
                atom, begin, end, _ = self._clauses.clauses[clause]
                self._atom(event, atom)
                for op, _, left, _, _ in self._clauses.code[begin:end]:
                    if op == at.GIVEN:
                        self._atom(event, left)

    def _source_keys(self, event: str, source: int) -> None:
        row = self._sources.rows[source]
        self._key(event, int(row[at.KEY_A]))
        self._key(event, int(row[at.KEY_B]))

    def _atom(self, event: str, atom: int) -> None:
        if atom >= 0:
            self._atoms[event].setdefault(atom, len(self._atoms[event]))

    def _key(self, event: str, key: int) -> None:
        if key >= 0:
            self._keys[event].setdefault(key, len(self._keys[event]))

    def _given(self, event: str) -> Given:
        atoms = tuple(self._clauses.atoms[atom] for atom in self._atoms[event])
        names = list(self._sources.keys)
        keys = tuple(names[key] for key in self._keys[event])
        fields = {n.removeprefix(EVENT) for atom in atoms for n in atom.names if n.startswith(EVENT)}
        fields |= {field for key in keys for field in key}
        sets = sorted(map(frozenset, self._gates[event]), key=len)
        least = [g for n, g in enumerate(sets) if not any(other <= g for other in sets[:n])]
        return Given(atoms, keys, tuple(sorted(tuple(sorted(g)) for g in least)), frozenset(fields))

    def _tables(
        self, rows: Sequence[tuple[int, ...]], roles_at: Sequence[int], roles: Sequence[tuple[int, ...]]
    ) -> WatchTables:
        clauses, sources = self._clauses, self._sources
        conditions = clauses.conditions
        numbered = [
            (*row[: at.FACTOR], clauses.constant(row[at.FACTOR]), clauses.constant(row[at.DEFAULT]))
            for row in sources.rows
        ]
        screened = [(*row, *self._screen_of(number)) for number, row in enumerate(clauses.clauses)]
        numbers = {**self._numbers, _CLOCK: len(self._numbers)}
        atoms_of = np.full((len(numbers), len(clauses.atoms)), -1, dtype=np.int64)
        keys_of = np.full((len(numbers), len(sources.keys)), -1, dtype=np.int64)
        for name, number in numbers.items():
            atoms_of[number, list(self._atoms[name])] = list(self._atoms[name].values())
            keys_of[number, list(self._keys[name])] = list(self._keys[name].values())
        sizes = [len(clauses.atoms), len(sources.keys), self._playbook.wakes, 0, numbers[_CLOCK]]
        clauses_at = np.cumsum([0, *map(len, conditions)])
        return WatchTables(
            _words(rows),
            _words(roles_at),
            _words(roles),
            _words(clauses_at),
            _words([clause for each in conditions for clause in each]),
            _words(screened),
            _words(list(sources.screens)),
            _words(clauses.code),
            np.array([*clauses.constants, 0.0], dtype=np.float64),
            _words(numbered),
            _words(self._told),
            atoms_of.ravel(),
            keys_of.ravel(),
            _words(self._start_keys),
            np.array([*(feature.default for feature in self._crossed), 0.0], dtype=np.float64),
            _words(()),
            _words(sizes),
        )


def _words(numbers: object) -> np.ndarray:
    return np.array(numbers, dtype=np.int64).ravel()
