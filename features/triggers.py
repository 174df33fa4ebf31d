"""When to act without being asked: a pure machine over the events of one customer in log order.

Three kinds. *Something happened*: each event `on`, if `when` (of the event alone) is true. *Something
became true*: `when` reads features, and fires as it turns from false to true, looked at after each event
`on`. *Something did not happen*: `on` starts a wait; an event `unless` within the time ends it; `wake`
fires it once the log has been read past its end and `patience` more. All memory is in the state; it is no
part of the fold's monoid: it follows the order of the log, whatever the batches.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from events.envelope import Event
from features.fold import fold_log
from features.kernel.folding import FOLDED
from features.plan import Plan
from features.plan_triggers import CompiledTrigger
from features.row import whole_row
from features.state import State

# A trigger's memory is a list: whether the condition was true, when it last fired (ms), what it waits for
# ([due, end, cause, time, key, payload, customer] in order), and events that end one ([time, key] in order).
_TRUE, _FIRED, _WAITS, _SEEN = range(4)

MAX_WAITS = 64
"""Waits of one trigger for one customer; past these the oldest is given up, so that a state stays small."""


class Fired(NamedTuple):
    """A trigger fired: `instance` is the same however often the log is read; `time` (ms) is event time.

    `cause` is the id of the event behind it; `payload` its fields, and the features the condition read.
    """

    trigger: str
    instance: str
    customer: str
    time: int
    cause: str
    payload: dict[str, Any]


def advance(
    plan: Plan,
    state: State,
    event: Event,
    newest: int | None = None,
    values: Sequence[float] | None = None,
) -> list[Fired]:
    """What the event fires; call it once for each event that `fold` answered FOLDED, in log order.

    `newest` (ms) is the state's newest time, and `values` are the features of `plan.triggers.columns`, just
    after the event; both are read off the state when not given, which then must not hold later events.
    """
    fired = []
    newest = state.newest if newest is None else newest
    for each in plan.triggers.ends.get(event.type, ()):
        _end(plan, state, each, event, newest)
    for each in plan.triggers.starts.get(event.type, ()):
        if each.features and values is None:
            # Just after the newest event, which therefore counts.
            values = whole_row(plan, state, newest + 1)[list(plan.triggers.columns)].tolist()
        env = _Env(each, values or (), event)
        truth = each.condition is None or each.condition.test(env)
        if not truth and each.trigger.name not in state.memory:
            continue  # what says nothing is not kept, so that such events need not be looked at
        memory = _memory(state, each)
        was, memory[_TRUE] = memory[_TRUE], truth and each.edge
        if not truth or (each.edge and was):
            continue
        payload = _payload(each, event) | env.features()
        if each.trigger.unless is not None:
            _wait(each, memory, event, payload)
        else:
            fired += _fire(each, memory, event.customer, event.id, event.time, event.time, payload)
    return fired


def act(
    plan: Plan, state: State, events: Sequence[Event], partition: int, positions: Sequence[int]
) -> list[Fired]:
    """Fold a piece of one customer's log into the state, in place, and answer what it fires."""
    newest = state.newest
    folded = fold_log(plan, state, events, partition, positions)
    fired: list[Fired] = []
    for event, fate, row in zip(events, folded.fates.tolist(), folded.probe_rows.tolist(), strict=True):
        if fate == FOLDED:
            newest = max(newest, event.time)
            fired += advance(plan, state, event, newest, folded.probes[row].tolist() if row >= 0 else ())
    return fired


def wake(plan: Plan, state: State, watermark: int) -> list[Fired]:
    """The waits that have ended unanswered: the log has been read up to `watermark` (ms)."""
    due = []
    for number, each in enumerate(plan.triggers.triggers):
        memory = state.memory.get(each.trigger.name)
        if memory is None or each.trigger.unless is None:
            continue
        ready = [wait for wait in memory[_WAITS] if wait[0] <= watermark]
        if ready:
            memory[_WAITS] = [wait for wait in memory[_WAITS] if wait[0] > watermark]
            due += [(wait[1], number, wait) for wait in ready]
    fired = []
    for end, number, (_, _, cause, time, _, payload, customer) in sorted(
        due, key=lambda each: (*each[:2], each[2][2])
    ):
        each = plan.triggers.triggers[number]
        fired += _fire(each, state.memory[each.trigger.name], customer, cause, time, end, payload)
    return fired


def next_wake(state: State) -> int | None:
    """The earliest watermark (ms) at which `wake` has something to look at; None when nothing waits."""
    earliest: int | None = None
    for memory in state.memory.values():
        waits = memory[_WAITS]
        if waits and (earliest is None or waits[0][0] < earliest):
            earliest = waits[0][0]
    return earliest


def _memory(state: State, each: CompiledTrigger) -> list[Any]:
    memories = state.memory
    memory = memories.get(each.trigger.name)
    if memory is None:
        memory = memories[each.trigger.name] = [False, -1, [], []]
    return memory


class _Env:
    """Names of a condition: `event.<field>`, and features."""

    __slots__ = ("_event", "_features", "_values")

    def __init__(self, each: CompiledTrigger, values: Sequence[float], event: Event) -> None:
        self._features, self._values, self._event = each.features, values, event

    def get(self, name: str, /) -> Any:
        place = self._features.get(name)
        if place is None:
            return self._event.fields.get(name.removeprefix("event."))
        return self._values[place]

    def features(self) -> dict[str, float]:
        """Every feature of the condition."""
        return {name: self._values[place] for name, place in self._features.items()}


def _payload(each: CompiledTrigger, event: Event) -> dict[str, Any]:
    payload: dict[str, Any] = {}
    for name, value in event.fields.items():
        scale = each.scales.get(name, 1)
        payload[name] = value / scale if scale > 1 and isinstance(value, int) else value
    return payload


def _fire(
    each: CompiledTrigger,
    memory: list[Any],
    customer: str,
    cause: str,
    began: int,
    time: int,
    payload: dict[str, Any],
) -> list[Fired]:
    """Fire, unless the trigger has fired within its cooldown of event time."""
    last, cooldown = memory[_FIRED], each.trigger.cooldown_ms
    if last >= 0 and cooldown and time < last + cooldown:
        return []
    memory[_FIRED] = max(last, time)
    name = each.trigger.name
    seed = f"{name}\0{customer}\0{each.trigger.on}\0{cause}\0{began}".encode()
    return [Fired(name, hashlib.blake2b(seed, digest_size=12).hexdigest(), customer, time, cause, payload)]


def _key(fields: tuple[str, ...], event: Event) -> list[Any]:
    return [event.fields.get(field) for field in fields]


def _wait(each: CompiledTrigger, memory: list[Any], event: Event, payload: dict[str, Any]) -> None:
    unless = each.trigger.unless
    assert unless is not None
    key, end = _key(unless.same, event), event.time + unless.within_ms
    if any(event.time <= time <= end and key == other for time, other in memory[_SEEN]):
        return
    memory[_WAITS].append(
        [end + each.trigger.patience_ms, end, event.id, event.time, key, payload, event.customer]
    )
    memory[_WAITS].sort(key=lambda wait: (wait[0], wait[2]))
    del memory[_WAITS][:-MAX_WAITS]


def _end(plan: Plan, state: State, each: CompiledTrigger, event: Event, newest: int) -> None:
    """An event that must not happen did: end the waits it answers; remember it for starts that come late."""
    unless = each.trigger.unless
    assert unless is not None
    memory, key = _memory(state, each), _key(unless.same, event)
    if memory[_WAITS]:
        memory[_WAITS] = [w for w in memory[_WAITS] if not (w[3] <= event.time <= w[1] and w[4] == key)]
    oldest, seen = newest - plan.lateness_ms, memory[_SEEN]
    if seen and seen[0][0] < oldest:
        seen = memory[_SEEN] = [each for each in seen if each[0] >= oldest]
    if not seen or seen[-1][0] < event.time:  # as most do, they come in order
        if (
            len(seen) > 1
            and seen[-1][1] == key == seen[-2][1]
            and event.time <= seen[-2][0] + unless.within_ms
        ):
            # A late start that the last one ends is ended by this one too, or by the one before.
            seen.pop()
        seen.append([event.time, key])
    elif [event.time, key] not in seen:
        seen.append([event.time, key])
        seen.sort(key=lambda each: (each[0], str(each[1])))
