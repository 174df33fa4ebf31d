"""One trigger over one customer's log, event by event, by the very engine: when it fired, and why not."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

from events.bus import Record
from events.codec import decode
from events.envelope import Event, Tick
from features.attribute_past import AttributePast
from features.attributes_asked import look_up_in
from features.declare import Playbook
from features.declare_fields import event_names
from features.expression import compile_expression
from features.fold import FATES, Fate, empty, fold_log
from features.hits import Hit
from features.kernel import trigger_layout as at
from features.kleene import Node
from features.plan import Plan, compile_plan
from features.plan_triggers import EVENT, CompiledTrigger
from features.remembered import Wait, unpack
from features.row import whole_row
from features.state import State
from features.triggers import Fired, next_wake, told, wake

Verdict = Literal[
    "fired",
    "wait began",
    "wait ended",
    "superseded",
    "given up",
    "not true",
    "true before",
    "outside its dates",
    "nothing before it",
    "answered already",
    "not in the audience",
    "cooldown",
    "first half",
    "repeat",
    "too late",
    "still waiting",
]

_VERDICTS: Final[Mapping[int, Verdict]] = {
    at.FIRED: "fired",
    at.STARTED: "wait began",
    at.ENDED: "wait ended",
    at.SUPERSEDED: "superseded",
    at.GIVEN_UP: "given up",
    at.UNTRUE: "not true",
    at.STILL: "true before",
    at.OUTSIDE: "outside its dates",
    at.ALONE: "nothing before it",
    at.ANSWERED: "answered already",
    at.OTHERS: "not in the audience",
    at.COOLING: "cooldown",
}


class Moment(NamedTuple):
    """One thing that happened to the trigger, at an event or (`event` is None) as the log's clock went on.

    `time` and `until` are ms: `until` is when a wait or a cooldown ends. `clause` is the part of the
    condition that was not true, `values` what was read, None where it was unknown, `nth` which of the events
    of an n-th one it is.
    """

    time: int
    event: Event | None
    verdict: Verdict
    clause: str | None = None
    values: Mapping[str, Any] = {}
    until: int | None = None
    fired: Fired | None = None
    nth: int | None = None


def history(
    playbook: Playbook,
    name: str,
    customer: str,
    log: Iterable[Record],
    past: AttributePast,
    tell: Callable[[int], None] = lambda read: None,
) -> Iterator[Moment]:
    """What happens to the trigger `name` over the customer's events and every tick, in the order of the log.

    `tell` hears how many events were folded.
    """
    plan, bare = told_of(playbook, name)
    return _Telling(plan, bare, playbook, customer, past).over(log, tell)


def told_of(playbook: Playbook, name: str) -> tuple[Plan, CompiledTrigger]:
    """The playbook compiled so that the trigger reports everything that it reads; and the trigger as it is.

    A payload changes nothing of when a trigger fires, nor of its instance.
    """
    number = next(n for n, each in enumerate(playbook.triggers) if each.name == name)
    trigger = playbook.triggers[number]
    bare = compile_plan(playbook).triggers.triggers[number]
    expressions = [bare.condition, bare.audience, *(one for _, one in bare.payload or ())]
    names = sorted({name for one in expressions if one is not None for name in one.names})
    spoken = trigger._replace(payload=tuple((name, name) for name in names))
    triggers = (*playbook.triggers[:number], spoken, *playbook.triggers[number + 1 :])
    return compile_plan(playbook._replace(triggers=triggers)), bare


class _Telling:
    def __init__(
        self, plan: Plan, bare: CompiledTrigger, playbook: Playbook, customer: str, past: AttributePast
    ) -> None:
        self._plan, self._bare, self._customer = plan, bare, customer
        self._look_up = look_up_in(past, plan)
        self._each = plan.triggers.triggers[bare.number]
        self._trigger = bare.trigger
        self._row = {feature.name: n for n, feature in enumerate(plan.customer_features)}
        self._state = empty(plan)
        self._counted: Counter[Any] = Counter()
        self._began: dict[int, dict[str, Any]] = {}
        self._last = 0
        step = bare.trigger.after
        self._gate = None
        if step is not None and step.when is not None:
            names = event_names(playbook.contracts, step.event, EVENT)
            self._gate = compile_expression(step.when, names)

    def over(self, log: Iterable[Record], tell: Callable[[int], None]) -> Iterator[Moment]:
        folded, position, partition = 0, -1, 0
        for record in log:
            item = decode(record.value)
            position, partition = record.position, record.partition
            if isinstance(item, Tick):
                yield from self._tick(item.time)
            elif item.customer == self._customer:
                yield from self._event(item, partition, position)
                folded += 1
                tell(folded)
        for wait in sorted(unpack(self._state.memory).waits):
            if wait.trigger == self._each.number:
                yield Moment(wait.end, None, "still waiting", until=wait.end + self._trigger.patience_ms)

    def _event(self, event: Event, partition: int, position: int) -> Iterator[Moment]:
        known = self._known(event.time)
        attributes = {name: [value] for name, value in known.items()}
        waiting = {(wait.trigger, wait.mark): wait for wait in unpack(self._state.memory).waits}
        folded = fold_log(self._plan, self._state, [event], partition, [position], attributes, verbose=True)
        fate = FATES.get(int(folded.fates[0]), Fate.IRRELEVANT)
        if fate in (Fate.REPEAT, Fate.LATE) and event.type in self._types():
            yield Moment(event.time, event, "repeat" if fate is Fate.REPEAT else "too late")
        hits = folded.hits.every()
        fired, memory = told(self._plan, self._state.memory, hits, lambda place: event, attributes)
        if memory is not None:
            self._state.remember(memory)
        ours = iter([one for _, one in fired if one.trigger == self._trigger.name])
        for hit in hits:
            if hit.trigger == self._each.number:
                one = next(ours) if hit.sort in (at.FIRED, at.SUPERSEDED) else None
                yield self._moment(event, hit, one, known, waiting)
        step = self._trigger.after
        if step is not None and event.type == step.event and fate is Fate.FOLDED and self._first(event):
            yield Moment(event.time, event, "first half", until=event.time + step.within_ms)

    def _moment(
        self,
        event: Event,
        hit: Hit,
        fired: Fired | None,
        known: Mapping[str, Any],
        waiting: Mapping[tuple[int, int], Wait],
    ) -> Moment:
        trigger, verdict = self._trigger, _VERDICTS[hit.sort]
        values = self._read(event, known)
        values |= {name: _known(value) for name, value in zip(self._each.told, hit.told, strict=False)}
        clause, until, nth = None, None, None
        if hit.sort in (at.UNTRUE, at.OTHERS):
            clause = self._clause(hit)
        if trigger.nth is not None and hit.sort in _JUDGED and not (hit.sort == at.UNTRUE and clause):
            key = event.fields.get(trigger.each) if trigger.each is not None else None
            self._counted[key] += 1
            nth = self._counted[key]
        if hit.sort == at.COOLING:
            until = self._last + trigger.cooldown_ms
        elif hit.sort in (at.STARTED, at.GIVEN_UP):
            until = hit.time
        elif hit.sort == at.ENDED:
            wait = waiting.get((hit.trigger, hit.mark))
            until = None if wait is None else wait.end
        if hit.sort == at.STARTED:
            self._began[hit.mark] = self._sent(event, values)
        if fired is not None and fired.superseded_by is None:
            fired = fired._replace(payload=self._sent(event, values))
            self._last = max(self._last, fired.time)
        if hit.sort in (at.ENDED, at.SUPERSEDED, at.GIVEN_UP):
            values = {}
        values = dict(sorted(values.items()))
        return Moment(event.time, event, verdict, clause, values, until, fired, nth)

    def _tick(self, time: int) -> Iterator[Moment]:
        if not self._plan.triggers.waits:
            return
        due = next_wake(self._plan, self._state)
        if due is None or due > time:
            return
        looked: list[tuple[Wait, int]] = []
        known = self._known(time)
        before = State(self._state.blob)
        fired = wake(
            *(self._plan, self._state, time, known, self._customer),
            lambda wait, sort: looked.append((wait, sort)),
        )
        ours = iter([one for one in fired if one.trigger == self._trigger.name])
        for wait, sort in looked:
            if wait.trigger == self._each.number:
                one = next(ours) if sort == at.FIRED else None
                yield self._looked(before, wait, sort, one, known)

    def _looked(
        self, before: State, wait: Wait, sort: int, fired: Fired | None, known: Mapping[str, Any]
    ) -> Moment:
        """What a wait that is over came to, of the state as it was."""
        armed = wait.began < 0
        nodes = {at.UNTRUE: self._bare.condition, at.OTHERS: self._bare.audience}
        asked = self._bare.condition if armed else nodes.get(sort)
        values, clause, until = {}, None, None
        if asked is not None:
            row = whole_row(self._plan, before, max(wait.end, before.newest + 1)).tolist()
            values = {name: _known(row[self._row[name]]) for name in asked.names if name in self._row}
            values |= {name: value for name, value in known.items() if name in asked.names}
        if sort in (at.UNTRUE, at.OTHERS):
            parts = self._bare.clauses if sort == at.UNTRUE else self._bare.asked
            untrue = next((node for node in parts.values() if node.one(values) is not True), None)
            clause = None if untrue is None else self._text(sort == at.OTHERS, untrue)
        if sort == at.COOLING:
            until = self._last + self._trigger.cooldown_ms
        payload = self._began.pop(wait.mark, {})
        if fired is not None:
            if armed and self._bare.payload is None:
                payload = {name: fired.payload.get(name) for name in self._bare.told if "[" not in name}
            elif armed:
                read = {name: value for name, value in fired.payload.items() if value is not None}
                payload = {key: _known(one.one(read)) for key, one in self._bare.payload or ()}
            fired = fired._replace(payload=payload)
            self._last = max(self._last, fired.time)
        return Moment(wait.end, None, _VERDICTS[sort], clause, dict(sorted(values.items())), until, fired)

    def _first(self, event: Event) -> bool:
        """Whether it may be the first event of the sequence."""
        raw = {EVENT + name: value for name, value in event.fields.items()}
        return self._gate is None or self._gate.one(raw) is True

    def _sent(self, event: Event, values: Mapping[str, Any]) -> dict[str, Any]:
        """What the message would carry."""
        if self._bare.payload is None:
            return self._fields(event) | {name: values.get(name) for name in self._bare.told}
        raw = {EVENT + name: value for name, value in event.fields.items()}
        return {key: _known(one.one({**values, **raw})) for key, one in self._bare.payload}

    def _read(self, event: Event, known: Mapping[str, Any]) -> dict[str, Any]:
        """What conditions read of the event and of batch tables."""
        expressions = (self._each.condition, self._each.audience)
        names = {name for one in expressions if one is not None for name in one.names}
        if self._trigger.each is not None:
            names.add(EVENT + self._trigger.each)
        for step in (self._trigger.after, self._trigger.unless):
            names |= {EVENT + field for field in (step.same if step is not None else ())}
        fields = self._fields(event)
        read = {name: fields.get(name.removeprefix(EVENT)) for name in names if name.startswith(EVENT)}
        return read | {name: value for name, value in known.items() if name in names}

    def _fields(self, event: Event) -> dict[str, Any]:
        kinds = self._plan.playbook.contracts.types[event.type].fields
        fields: dict[str, Any] = {}
        for name, value in event.fields.items():
            decimal = kinds.get(name, "").removesuffix("?") == "decimal"
            fields[name] = value / 10_000 if decimal and isinstance(value, int) else value
        return fields

    def _clause(self, hit: Hit) -> str | None:
        """The text of the clause that was not true; None for the count of an n-th event."""
        asked = hit.sort == at.OTHERS
        node = (self._bare.asked if asked else self._bare.clauses).get(hit.more)
        return None if node is None else self._text(asked, node)

    def _text(self, asked: bool, node: Node) -> str:
        text = (self._trigger.audience if asked else self._trigger.when) or ""
        return " ".join(text[slice(*node.span)].split())

    def _known(self, time: int) -> dict[str, Any]:
        return {name: values[0] for name, values in self._look_up([self._customer], [time]).items()}

    def _types(self) -> set[str]:
        steps = (self._trigger.after, self._trigger.unless)
        return {*self._trigger.on, *(step.event for step in steps if step is not None)}


_JUDGED: Final = (at.FIRED, at.UNTRUE, at.OUTSIDE, at.OTHERS, at.COOLING)


def _known(value: Any) -> Any:
    """None for what is unknown."""
    return None if value is None or value != value else value
