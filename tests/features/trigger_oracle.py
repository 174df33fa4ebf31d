"""What triggers are by their specification: one customer's log, read plainly and slowly.

Features come from the raw events (`tests.features.oracle`), conditions from Python's own parser
(`tests.features.trigger_condition`); everything is remembered whole, but for the bounds that are declared.
"""

import math
from collections import Counter
from typing import Any, NamedTuple

from events.envelope import Event
from features.declare import Trigger, features_of
from features.plan import Plan
from features.trigger import Step
from tests.features.oracle import Past
from tests.features.trigger_condition import names_of, value_of
from tests.features.workshop import DAY

PENDING, REMEMBERED = 16, 16
"""Instants a customer waits for, and events a trigger remembers of each kind."""


class Undecided(Exception):
    """The specification leaves open what happens here, or a feature is near the edge of its tolerance."""


class Told(NamedTuple):
    """A firing; or, with the late event's id, that it is superseded. `payload` None: it is not compared."""

    trigger: str
    time: int
    cause: str
    superseded_by: str | None
    payload: dict[str, Any] | None


class Pending(NamedTuple):
    """An instant that is waited for: the end of a wait, or a look that time alone asks for."""

    due: int
    number: int
    order: int
    time: int
    began: int
    cause: str
    key: tuple[Any, ...]
    event: Event | None


class Last(NamedTuple):
    """The firing of the latest event time, and what could still end what it fired for."""

    told: Told
    began: int
    key: tuple[Any, ...]
    open: bool


class Watch:
    """What one trigger remembers of the customer."""

    def __init__(self, trigger: Trigger) -> None:
        self.trigger = trigger
        self.true = False
        self.counts: Counter[Any] = Counter()
        self.fired = 0
        self.last: Last | None = None
        self.before: list[tuple[int, tuple[Any, ...]]] = []
        self.ends: list[tuple[int, tuple[Any, ...]]] = []

    @property
    def edge(self) -> bool:
        """Whether only turning true fires: `when` reads a plain feature."""
        plain = [name for name in names_of(self.trigger.when) if "[" not in name and "event." not in name]
        return bool(plain) and not self.trigger.repeats


class Oracle:
    """One customer's triggers; `read` what the log says in its order, `tick` when its clock has gone on."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.playbook = plan.playbook
        self.watches = [Watch(each) for each in self.playbook.triggers]
        self.order = _order([each.trigger for each in self.watches])
        self.types = {each.event for each in self.playbook.aggregates}
        for trigger in self.playbook.triggers:
            others = [each.event for each in (trigger.after, trigger.unless) if each is not None]
            self.types |= {*trigger.on, *others}
        self.features = {each.name: each for some in features_of(self.playbook) for each in some}
        self.log: list[Event] = []
        self.newest = -1
        self.pending: list[Pending] = []
        self.given_up = 0
        self.orders = 0
        self._past: Past | None = None

    def read(self, event: Event) -> list[Told]:
        """What the next event of the log tells; nothing if it is late, a repeat or of no concern."""
        known = any((each.type, each.id) == (event.type, event.id) for each in self.log)
        if event.type not in self.types or known or event.time < self.newest - self.playbook.lateness_ms:
            return []
        self.log.append(event)
        self._past = None
        self.newest = max(self.newest, event.time)
        told = []
        for number in range(len(self.watches)):
            told += self._end(number, event)
        for number in self.order:
            if not self.watches[number].trigger.on or event.type in self.watches[number].trigger.on:
                told += self._start(number, event)
        for watch in self.watches:
            self._remember(watch.trigger.after, watch.before, event)
            self._remember(watch.trigger.unless, watch.ends, event)
        return told

    def tick(self, watermark: int) -> list[Told]:
        """What is due once the log has been read up to here."""
        due = [each for each in self.pending if each.due <= watermark]
        self.pending = [each for each in self.pending if each.due > watermark]
        told = []
        for each in sorted(due, key=lambda each: (each.time, each.number, each.order)):
            watch = self.watches[each.number]
            at = max(each.time, self.newest + 1)
            if watch.trigger.wake_ms is not None:
                was, watch.true = watch.true, self._true(watch.trigger.when, None, at)
                if was and not watch.true and watch.last:
                    watch.last = watch.last._replace(open=False)
                if was or not watch.true:
                    continue
            told += self._fire(each.number, each.event, at, each)
        return told

    def _end(self, number: int, event: Event) -> list[Told]:
        """End the waits for the absence of this event, and what fired because it had not come."""
        watch = self.watches[number]
        unless = watch.trigger.unless
        if unless is None or not self._matches(unless, event):
            return []
        key = _key(unless, event)
        self.pending = [
            each
            for each in self.pending
            if not (each.number == number and each.key == key and each.began <= event.time <= each.time)
        ]
        last = watch.last
        if last and last.open and last.key == key and last.began <= event.time <= last.told.time:
            return self._supersede(watch, event)
        return []

    def _start(self, number: int, event: Event) -> list[Told]:
        watch, at, told = self.watches[number], self.newest + 1, []
        trigger, last = watch.trigger, watch.last
        true = trigger.when is None or self._true(trigger.when, event, at)
        go = true
        key: tuple[Any, ...] = ()
        if watch.edge:
            if watch.true and not true and last and trigger.unless is None:
                if last.open and event.time <= last.told.time:
                    told += self._supersede(watch, event)
                else:
                    watch.last = last._replace(open=False)
            go, watch.true = true and not watch.true, true
        if trigger.nth is not None:
            key = (event.fields[trigger.each],) if trigger.each else ()
            counts = true and key != (None,)
            watch.counts[key] += counts
            if counts and last and last.open and last.key == key and event.time < last.told.time:
                told += self._supersede(watch, event)
            go = counts and watch.counts[key] == trigger.nth
        if trigger.wake_ms is not None:
            self._arm(number, event)
        used = []
        if go and trigger.after is not None:
            mine, within = _key(trigger.after, event), trigger.after.within_ms
            used = [a for a in watch.before if a[0] <= event.time <= a[0] + within and a[1] == mine]
            go = bool(used)
        if not go:
            return told
        if trigger.unless is not None:
            waits = self._wait(number, event)
            fired = []
        else:
            waits = False
            pending = Pending(0, number, 0, event.time, event.time, event.id, key, event)
            fired = self._fire(number, event, at, pending)
        if waits or fired:
            watch.before = [each for each in watch.before if each not in used]
        return told + fired

    def _wait(self, number: int, event: Event) -> bool:
        trigger = self.watches[number].trigger
        assert trigger.unless is not None
        end, key = event.time + trigger.unless.within_ms, _key(trigger.unless, event)
        if any(event.time <= time <= end and key == other for time, other in self.watches[number].ends):
            return False
        self._pend(Pending(end + trigger.patience_ms, number, 0, end, event.time, event.id, key, event))
        return True

    def _arm(self, number: int, event: Event) -> None:
        trigger = self.watches[number].trigger
        assert trigger.wake_ms is not None
        instant = event.time + trigger.wake_ms
        armed = [each for each in self.pending if each.number == number]
        if any(each.time >= instant for each in armed):
            return
        self.pending = [each for each in self.pending if each.number != number]
        due = instant + trigger.patience_ms
        self._pend(Pending(due, number, 0, instant, event.time, "time", (), None))

    def _pend(self, pending: Pending) -> None:
        self.orders += 1
        self.pending.append(pending._replace(order=self.orders))
        if len(self.pending) > PENDING:
            self.pending.remove(max(self.pending, key=lambda each: (each.due, each.number, each.order)))
            self.given_up += 1

    def _fire(self, number: int, event: Event | None, at: int, pending: Pending) -> list[Told]:
        """Fire at `pending.time`, unless its dates, its audience or its cooldown say no."""
        watch, time = self.watches[number], pending.time
        trigger, last = watch.trigger, watch.last
        if trigger.since_ms is not None and time < trigger.since_ms:
            return []
        if trigger.until_ms is not None and time >= trigger.until_ms:
            return []
        if trigger.audience is not None and not self._true(trigger.audience, None, at):
            return []
        if last and trigger.cooldown_ms and time < last.told.time + trigger.cooldown_ms:
            return []
        payload = self._payload(trigger, event, at)
        told = Told(trigger.name, time, pending.cause, None, payload)
        watch.fired += 1
        if last is None or time >= last.told.time:
            watch.last = Last(told, pending.began, pending.key, True)
        return [told]

    def _supersede(self, watch: Watch, event: Event) -> list[Told]:
        assert watch.last is not None
        watch.last = watch.last._replace(open=False)
        return [watch.last.told._replace(superseded_by=event.id, payload=None)]

    def _remember(
        self, step: Step | None, remembered: list[tuple[int, tuple[Any, ...]]], event: Event
    ) -> None:
        if step is None or not self._matches(step, event):
            return
        remembered.append((event.time, _key(step, event)))
        remembered.sort(key=lambda each: each[0])
        if len(remembered) > REMEMBERED:
            # Which of two at one instant goes, and whether the same twice counts twice, is left open.
            if remembered[0][0] == remembered[1][0] or len(set(remembered)) < len(remembered):
                raise Undecided("remembered past the bound at one instant")
            del remembered[0]

    def _matches(self, step: Step, event: Event) -> bool:
        return event.type == step.event and (step.when is None or self._true(step.when, event, 0))

    def _true(self, text: str | None, event: Event | None, at: int) -> bool:
        return text is not None and value_of(text, lambda name: self._read(name, event, at)) is True

    def _read(self, name: str, event: Event | None, at: int) -> Any:
        """The value of a name at `at` (ms), None when unknown."""
        if name.startswith("event."):
            return None if event is None else self._field(name.removeprefix("event."), event)
        for watch in self.watches:
            if name == f"{watch.trigger.name}_fired_count":
                return float(watch.fired)
            if name == f"{watch.trigger.name}_fired_since":
                return None if watch.last is None else (at - watch.last.told.time) / DAY
        family, _, inner = name.partition("[")
        key = None
        if inner:
            key = None if event is None else self._field(inner[:-1].removeprefix("event."), event)
            if key is None:
                return None
        if self._past is None or self._past.at != at:
            self._past = Past(self.plan, self.log, at)
        allowed = self._past.allowed(self.features[family], key)
        values = {None if math.isnan(each) else each for each in allowed}
        if len(values) != 1:
            raise Undecided(f"{name} is one of {values}")
        return values.pop()

    def _field(self, field: str, event: Event) -> Any:
        value = event.fields.get(field)
        kind = self.playbook.contracts.types[event.type].fields.get(field, "")
        return value / 10_000 if kind.startswith("decimal") and value is not None else value

    def _payload(self, trigger: Trigger, event: Event | None, at: int) -> dict[str, Any] | None:
        if trigger.unless is not None:
            return None
        if trigger.payload is not None:
            parts = dict(trigger.payload)
            return {
                name: value_of(text, lambda each: self._read(each, event, at)) for name, text in parts.items()
            }
        fields = {} if event is None else {name: self._field(name, event) for name in event.fields}
        names = [*names_of(trigger.when), *names_of(trigger.audience)]
        return fields | {name: self._read(name, event, at) for name in names if "event." not in name}


def _key(step: Step, event: Event) -> tuple[Any, ...]:
    return tuple(event.fields.get(field) for field in step.same)


def _order(triggers: list[Trigger]) -> list[int]:
    """As they are declared, but for those that read what another fired: these come behind it."""
    order: list[int] = []
    while len(order) < len(triggers):
        left = [number for number in range(len(triggers)) if number not in order]
        order.append(next(each for each in left if _reads(triggers[each], triggers) <= {*order}))
    return order


def _reads(trigger: Trigger, triggers: list[Trigger]) -> set[int]:
    texts = [trigger.when, trigger.audience, *(text for _, text in trigger.payload or ())]
    names = {name for text in texts for name in names_of(text)}
    return {
        number
        for number, each in enumerate(triggers)
        if names & {f"{each.name}_fired_count", f"{each.name}_fired_since"}
    }
