"""The log told plainly: each customer's events one by one, and every tick; what must have come of them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from events.bus import Record
from events.envelope import Event, Tick
from features.fold import empty, encode
from features.plan import Plan
from features.triggers import act, next_wake, wake


class Story(NamedTuple):
    """What one customer's log comes to: the state's bytes, what it fired (ids of messages), the next wake-up (ms)."""

    state: bytes
    fired: Sequence[str]
    wake: int | None


def retell(plan: Plan, log: Sequence[tuple[Record, Event | Tick]], partition: int) -> Mapping[str, Story]:
    """The story of every customer of one partition's log, by that log alone."""
    mine = {item.customer for _, item in log if isinstance(item, Event) and item.type in plan.programs}
    return {customer: _story(plan, customer, log, partition) for customer in sorted(mine)}


def _story(plan: Plan, customer: str, log: Sequence[tuple[Record, Event | Tick]], partition: int) -> Story:
    state, fired, due, newest = empty(plan), list[str](), None, -1
    for record, item in log:
        if isinstance(item, Tick):
            if item.time > newest:
                newest = item.time
                if due is not None and due <= newest:
                    fired += [one.instance for one in wake(plan, state, newest, {}, customer)]
                    due = next_wake(plan, state)
        elif item.customer == customer and item.type in plan.programs:
            for one in act(plan, state, [item], partition, [record.position]):
                fired.append(one.instance if one.superseded_by is None else f"{one.instance}.superseded")
            due = next_wake(plan, state)
    return Story(encode(plan, state), fired, due)
