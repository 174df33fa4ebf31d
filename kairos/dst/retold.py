"""The log told plainly as it grows, event by event and tick by tick: what must come of it."""

from collections.abc import Iterator
from typing import NamedTuple

from events.envelope import Event, Tick
from features.fold import empty, encode
from features.plan import Plan
from features.state import State
from features.triggers import act, next_wake, wake


class Page(NamedTuple):
    """A customer's state after an event or a tick behind it: the event's position, the state's bytes."""

    position: int
    state: bytes


class Story:
    """What one customer's log has come to: every state so far, what was fired, the next wake-up (ms)."""

    def __init__(self, plan: Plan, customer: str) -> None:
        self._plan, self._customer = plan, customer
        self._state: State = empty(plan)
        self.fired: list[str] = []
        self.due: int | None = None
        self.pages: list[Page] = []
        self.numbers: dict[bytes, int] = {}
        """The last page of each state."""

    def hear(self, event: Event, partition: int, position: int) -> None:
        """An event of the customer."""
        for one in act(self._plan, self._state, [event], partition, [position]):
            self.fired.append(one.instance if one.superseded_by is None else f"{one.instance}.superseded")
        self._turn_page(position)

    def tick(self, time: int) -> None:
        """The log's clock has come to `time` (ms)."""
        if self.due is not None and self.due <= time:
            woken = wake(self._plan, self._state, time, {}, self._customer)
            self.fired.extend(one.instance for one in woken)
            self._turn_page(self.pages[-1].position)

    def known(self, position: int) -> Iterator[bytes]:
        """The states that the events up to a position may have come to, ticks being what they are."""
        last = None
        for page in reversed(self.pages):
            if page.position > position:
                continue
            if last is not None and page.position < last:
                return
            last = page.position
            yield page.state

    def _turn_page(self, position: int) -> None:
        self.due = next_wake(self._plan, self._state)
        state = encode(self._plan, self._state)
        self.numbers[state] = len(self.pages)
        self.pages.append(Page(position, state))


class Retold:
    """The stories of everybody on one partition, by that log alone."""

    def __init__(self, plan: Plan, partition: int) -> None:
        self._plan, self._partition, self._time = plan, partition, -1
        self.stories: dict[str, Story] = {}

    def hear(self, item: Event | Tick, position: int) -> None:
        """The log's next item; a tick that goes no further says nothing."""
        if isinstance(item, Event):
            if item.type in self._plan.programs:
                if item.customer not in self.stories:
                    self.stories[item.customer] = Story(self._plan, item.customer)
                self.stories[item.customer].hear(item, self._partition, position)
        elif item.time > self._time:
            self._time = item.time
            for story in self.stories.values():
                story.tick(item.time)
