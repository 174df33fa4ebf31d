"""When to act without being asked: what came of the events of one customer in log order, told to the world.

Compiled code decides at events (see `features.kernel.firing`); here its decisions become `Fired`, and waits
that the log's clock ends are looked at. All memory is in the state. It is no part of the fold's monoid: it
follows the order of the log, whatever the batches.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from events.envelope import Event
from features.fold import FoldedParts, fold_log
from features.given import Attributes
from features.hits import Hit
from features.kernel import trigger_layout as at
from features.kernel.remembering import NEVER
from features.plan import Plan
from features.plan_triggers import EVENT, CompiledTrigger
from features.remembered import Entry, Remembered, Wait, pack, unpack, waits_of, with_details
from features.row import whole_row
from features.state import State

TIME: Final = "time"
"""The cause of a firing that no event but time alone brought about."""


class Fired(NamedTuple):
    """A trigger fired: `instance` is the same however often the log is read; `time` (ms) is event time.

    `cause` is the id of the event behind it; `payload` what it carries. With `superseded_by`, the id of a
    late event, it says instead that the firing of this instance would not have been, had that been read in
    time; that event is then its cause, too.
    """

    trigger: str
    instance: str
    customer: str
    time: int
    cause: str
    payload: dict[str, Any]
    superseded_by: str | None = None


def act(
    plan: Plan,
    state: State,
    events: Sequence[Event],
    partition: int,
    positions: Sequence[int],
    attributes: Attributes | None = None,
) -> list[Fired]:
    """Fold a piece of one customer's log into the state, in place, and answer what it fires.

    `attributes` are those that conditions read, a value for each event.
    """
    folded = fold_log(plan, state, events, partition, positions, attributes)
    hits = folded.hits.every()
    fired, memory = told(plan, state.memory, hits, events.__getitem__, attributes or {})
    if memory is not None:
        state.remember(memory)
    return [one for _, one in fired]


def told(
    plan: Plan,
    memory: bytes,
    hits: Sequence[Hit],
    event_of: Callable[[int], Event],
    attributes: Attributes,
) -> tuple[list[tuple[int, Fired]], bytes | None]:
    """What the hits of one customer fire, each with the place of its event, and what triggers remember then;
    None for what they did.

    `event_of` answers the event of a hit, `attributes` are those of every event of the batch.
    """
    fired: list[tuple[int, Fired]] = []
    details: dict[tuple[int, int], list[Any]] = {}
    changed = False
    for hit in hits:
        each = plan.triggers.triggers[hit.trigger]
        if hit.sort == at.FIRED:
            event = event_of(hit.event)
            payload = _payload(plan, each, event, hit, attributes)
            one = _fired(each, event.customer, hit.time, hit.began, hit.mark, event.id, payload)
            fired.append((hit.event, one))
        elif hit.sort == at.SUPERSEDED:
            event = event_of(hit.event)
            one = _fired(each, event.customer, hit.time, hit.began, hit.mark, event.id, {})
            fired.append((hit.event, one._replace(superseded_by=event.id)))
        elif hit.sort == at.STARTED:
            event = event_of(hit.event)
            payload = _payload(plan, each, event, hit, attributes)
            # Beside the waits that compiled code has noted; what is over by now is left out as it is packed.
            details[hit.trigger, hit.mark] = [event.id, payload, event.customer]
            changed = True
        elif hit.sort in (at.ENDED, at.GIVEN_UP):
            changed = changed or hit.began >= 0  # a look that was armed has none
    return fired, with_details(memory, details) if changed else None


def wake(
    plan: Plan,
    state: State,
    watermark: int,
    attributes: Mapping[str, Any] | None = None,
    customer: str = "",
    tell: Callable[[Wait, int], None] | None = None,
) -> list[Fired]:
    """The waits that are over: the log has been read up to `watermark` (ms).

    `tell` is told of each what it came to: `FIRED`, or why not, as a fold's hits say it.
    """
    found = unpack(state.memory)
    fired: list[Fired] = []
    for wait in tuple(found.waits):
        each = plan.triggers.triggers[wait.trigger]
        if wait.end + each.trigger.patience_ms > watermark:
            continue
        found.waits.remove(wait)
        one = _look(plan, state, each, wait, found, attributes or {}, customer)
        if isinstance(one, Fired):
            fired.append(one)
        if tell is not None:
            tell(wait, at.FIRED if isinstance(one, Fired) else one)
    packed = pack(found)
    if packed != state.memory:
        state.remember(packed)
    return fired


def overflowed(hits: Sequence[Hit]) -> int:
    """How many waits were given up, past the bound on those of a customer."""
    return sum(hit.sort == at.GIVEN_UP for hit in hits)


def next_wake(plan: Plan, state: State) -> int | None:
    """The earliest watermark (ms) at which `wake` has something to look at; None when nothing waits."""
    triggers = plan.triggers.triggers
    waits = waits_of(state.memory)
    return min((wait.end + triggers[wait.trigger].trigger.patience_ms for wait in waits), default=None)


def due_of(folded: FoldedParts, whose: int, before: int | None) -> int | None:
    """The same as a fold answered it; `before` where nothing has changed."""
    due = int(folded.dues[whose])
    return before if due < 0 else None if due == NEVER else due


def _look(
    plan: Plan,
    state: State,
    each: CompiledTrigger,
    wait: Wait,
    found: Remembered,
    attributes: Mapping[str, Any],
    customer: str,
) -> Fired | int:
    """What a wait that is over comes to, in place; why it does not fire as a number of hits."""
    trigger = each.trigger
    entry = found.entries.setdefault(each.number, Entry())
    env = _Env(plan, state, max(wait.end, state.newest + 1), attributes)
    payload: dict[str, Any] = {}
    cause = TIME
    if wait.began < 0:
        assert each.condition is not None
        before, truth = entry.flags & at.TRUE_BEFORE, each.condition.test(env)
        entry.flags = entry.flags | at.TRUE_BEFORE if truth else entry.flags & ~at.TRUE_BEFORE
        if before and not truth:
            entry.flags |= at.CLOSED
        if not truth or before:
            return at.STILL if truth else at.UNTRUE
        payload = _evaluated(each, env)
    else:
        told = found.details.pop((each.number, wait.mark), ["", {}, customer])
        cause, payload, customer = told
    if trigger.since_ms is not None and wait.end < trigger.since_ms:
        return at.OUTSIDE
    if trigger.until_ms is not None and wait.end >= trigger.until_ms:
        return at.OUTSIDE
    if each.audience is not None and not each.audience.test(env):
        return at.OTHERS
    if entry.fired and trigger.cooldown_ms and wait.end < entry.last + trigger.cooldown_ms:
        return at.COOLING
    if not entry.fired or wait.end >= entry.last:
        entry.last, entry.mark, entry.key = wait.end, wait.mark, wait.key
        entry.flags &= ~at.CLOSED
    entry.flags |= at.HAS_FIRED
    entry.times += 1
    began = wait.end if wait.began < 0 else wait.began
    return _fired(each, customer, wait.end, began, wait.mark, cause, payload)


class _Env:
    """Names of a condition at an instant without an event: features and attributes."""

    def __init__(self, plan: Plan, state: State, instant: int, attributes: Mapping[str, Any]) -> None:
        self._plan, self._state, self._instant, self._attributes = plan, state, instant, attributes
        self._row: dict[str, float] | None = None

    def get(self, name: str, /) -> Any:
        if name.startswith(EVENT) or "[" in name:
            return None
        if name in self._plan.triggers.attributes:
            return self._attributes.get(name)
        if self._row is None:
            values = whole_row(self._plan, self._state, self._instant)
            names = [feature.name for feature in self._plan.customer_features]
            self._row = dict(zip(names, values.tolist(), strict=False))
        return self._row[name]


def _evaluated(each: CompiledTrigger, env: Any) -> dict[str, Any]:
    if each.payload is None:
        return {name: _known(env.get(name)) for name in each.told if "[" not in name}
    return {name: _known(expression.one(env)) for name, expression in each.payload}


def _payload(
    plan: Plan, each: CompiledTrigger, event: Event, hit: Hit, attributes: Attributes
) -> dict[str, Any]:
    read = {name: _known(value) for name, value in zip(each.told, hit.told[: len(each.told)], strict=True)}
    if each.payload is None:
        return _fields(plan, event) | read
    env: dict[str, Any] = {EVENT + name: value for name, value in event.fields.items()} | read
    env |= {name: values[hit.event] for name, values in attributes.items()}
    return {name: _known(expression.one(env)) for name, expression in each.payload}


def _known(value: Any) -> Any:
    return None if value is None or value != value else value


def _fields(plan: Plan, event: Event) -> dict[str, Any]:
    """The event's fields as people write them: decimals are kept as whole ten-thousandths."""
    kinds = plan.playbook.contracts.types[event.type].fields
    fields: dict[str, Any] = {}
    for name, value in event.fields.items():
        decimal = kinds.get(name, "").removesuffix("?") == "decimal"
        fields[name] = value / 10_000 if decimal and isinstance(value, int) else value
    return fields


def _fired(
    each: CompiledTrigger,
    customer: str,
    time: int,
    began: int,
    mark: int,
    cause: str,
    payload: dict[str, Any],
) -> Fired:
    seed = f"{each.trigger.name}\0{customer}\0{mark}\0{began}".encode()
    instance = hashlib.blake2b(seed, digest_size=12).hexdigest()
    return Fired(each.trigger.name, instance, customer, time, cause, payload)
