"""When to act without being asked: what came of the events of one customer in log order, told to the world.

Compiled code decides, at events and as the log's clock goes on (see `features.kernel.firing` and
`features.kernel.clock`); here its decisions become `Fired`. All memory is in the state. It is no part of the
fold's monoid: it follows the order of the log, whatever the batches.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, NamedTuple

from events.envelope import Event
from features.fold import FoldedParts, fold_log, look_parts
from features.given import Attributes
from features.hits import Hit
from features.kernel import trigger_layout as at
from features.kernel.remembering import NEVER
from features.plan import Plan
from features.plan_triggers import EVENT, CompiledTrigger
from features.remembered import Wait, waits_of, with_details, without_details
from features.state import State, memory_of, with_memory

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


class Woken(NamedTuple):
    """What looks came to: what fired, customer by customer; their new recent parts; when (ms) each is to be
    looked at next, None: not at all; and every hit, `event` being the place of the customer."""

    fired: list[Fired]
    recents: list[bytes]
    dues: list[int | None]
    hits: list[Hit]


def wake_all(
    plan: Plan,
    customers: Sequence[str],
    recents: Sequence[bytes],
    settled: Sequence[bytes],
    watermark: int,
    attributes: Attributes | None = None,
    verbose: bool = False,
) -> Woken:
    """The waits that are over: the log has been read up to `watermark` (ms).

    `attributes` are those that conditions read, a value for each customer; `verbose`: hits say, too, why
    nothing fired.
    """
    looked = look_parts(plan, recents, settled, watermark, attributes, verbose)
    hits, fired, after = looked.hits.every(), list[Fired](), looked.recents
    for whose, some in groupby(hits, key=attrgetter("event")):
        mine = list(some)
        details: dict[tuple[int, int], list[Any]] = {}
        if over := {(hit.trigger, hit.mark) for hit in mine if hit.began >= 0}:
            details, memory = without_details(memory_of(recents[whose]), memory_of(after[whose]), over)
            after[whose] = with_memory(after[whose], memory)
        for hit in mine:
            if hit.sort != at.FIRED:
                continue
            each = plan.triggers.triggers[hit.trigger]
            cause, payload, customer = details.get((hit.trigger, hit.mark), ["", {}, customers[whose]])
            if hit.began < 0:
                known = {name: values[whose] for name, values in (attributes or {}).items()}
                cause, payload = TIME, _payload_of_time(each, hit, known)
            began = hit.time if hit.began < 0 else hit.began
            fired.append(_fired(each, customer, hit.time, began, hit.mark, cause, payload))
    return Woken(fired, after, [None if due == NEVER else due for due in looked.dues.tolist()], hits)


def wake(
    plan: Plan,
    state: State,
    watermark: int,
    attributes: Mapping[str, Any] | None = None,
    customer: str = "",
    tell: Callable[[Wait, int], None] | None = None,
) -> list[Fired]:
    """`wake_all` of one customer, in place.

    `tell` is told of each wait what it came to: `FIRED`, or why not, as a fold's hits say it.
    """
    known = {name: [value] for name, value in (attributes or {}).items()}
    woken = wake_all(plan, [customer], [state.recent], [state.settled], watermark, known, tell is not None)
    state.become(woken.recents[0], state.settled)
    if tell is None:
        return woken.fired
    for hit in woken.hits:
        tell(Wait(hit.time, hit.trigger, hit.began, hit.mark, 0), hit.sort)
    return woken.fired


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


def _payload_of_time(each: CompiledTrigger, hit: Hit, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What a firing that time alone brought about carries: no event is at hand."""
    read = _read(each, hit)
    if each.payload is None:
        return {name: value for name, value in read.items() if "[" not in name}
    env = {**attributes, **read}
    return {name: _known(expression.one(env)) for name, expression in each.payload}


def _payload(
    plan: Plan, each: CompiledTrigger, event: Event, hit: Hit, attributes: Attributes
) -> dict[str, Any]:
    read = _read(each, hit)
    if each.payload is None:
        return _fields(plan, event) | read
    env: dict[str, Any] = {EVENT + name: value for name, value in event.fields.items()} | read
    env |= {name: values[hit.event] for name, values in attributes.items()}
    return {name: _known(expression.one(env)) for name, expression in each.payload}


def _read(each: CompiledTrigger, hit: Hit) -> dict[str, Any]:
    return {name: _known(value) for name, value in zip(each.told, hit.told[: len(each.told)], strict=True)}


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
