"""The log told plainly: each customer's events one by one, and every tick; what must have come of them."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import NamedTuple

from events.bus import Record
from events.envelope import Event, Tick
from features.fold import empty, encode
from features.plan import Plan
from features.triggers import act, next_wake, wake


class Story(NamedTuple):
    """What one customer's log comes to: the state's bytes, ids of what it fired, the next wake-up (ms)."""

    state: bytes
    fired: Sequence[str]
    wake: int | None


def retell(plan: Plan, log: Sequence[tuple[Record, Event | Tick]], partition: int) -> Mapping[str, Story]:
    """The story of every customer of one partition's log, by that log alone."""
    mine: dict[str, list[tuple[Record, Event]]] = {}
    ticks: list[tuple[int, int]] = []
    for record, item in log:
        if isinstance(item, Tick):
            if not ticks or item.time > ticks[-1][1]:
                ticks.append((record.position, item.time))
        elif item.type in plan.programs:
            mine.setdefault(item.customer, []).append((record, item))
    return {who: _story(plan, who, events, ticks, partition) for who, events in sorted(mine.items())}


def _story(
    plan: Plan,
    customer: str,
    events: Sequence[tuple[Record, Event]],
    ticks: Sequence[tuple[int, int]],
    partition: int,
) -> Story:
    """One event after the other; `ticks` are positions and times (ms) of those that go further."""
    state, fired, due, tick = empty(plan), list[str](), None, 0

    def look(before: float) -> None:
        nonlocal due, tick
        while tick < len(ticks) and ticks[tick][0] < before:
            time = ticks[tick][1]
            if due is not None and due <= time:
                fired.extend(one.instance for one in wake(plan, state, time, {}, customer))
                due = next_wake(plan, state)
            tick += 1

    for record, event in events:
        look(record.position)
        for one in act(plan, state, [event], partition, [record.position]):
            fired.append(one.instance if one.superseded_by is None else f"{one.instance}.superseded")
        due = next_wake(plan, state)
    look(inf)
    return Story(encode(plan, state), fired, due)
