"""One customer's log told again: its events, and between them the looks that the log's clock brought.

Nothing happens to a customer between two of its events but that waits end, so the ticks between them matter
only once one has: everything else is folded in as large pieces as in the stream.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import Final

from events.envelope import Event
from features.attribute_past import AttributePast
from features.attributes_asked import look_up_in
from features.fold import empty
from features.given import Attributes
from features.plan import Plan
from features.triggers import act, next_wake, wake

END: Final = 1 << 62
"""Behind every position of a log, and every instant."""


class Ticks:
    """The ticks of one partition: how far (ms) the log had been written at which position."""

    def __init__(self, ticks: Iterable[tuple[int, int]] = ()) -> None:
        self._positions: list[int] = []
        self._times: list[int] = []
        for position, time in ticks:
            self.note(position, time)

    def note(self, position: int, time: int) -> None:
        """The next one; it counts if it goes further than those before it."""
        if not self._times or time > self._times[-1]:
            self._positions.append(position)
            self._times.append(time)

    def first(self, due: int, behind: int, before: int) -> tuple[int, int] | None:
        """The first tick at or past `due` (ms) between two positions: its own and its time; None without."""
        place = max(bisect_left(self._times, due), bisect_right(self._positions, behind))
        if place < len(self._times) and self._positions[place] < before:
            return self._positions[place], self._times[place]
        return None


def soonest(plan: Plan) -> dict[str, int]:
    """For each type of event how long (ms) after it a wait that it starts is over at the earliest."""
    soonest: dict[str, int] = {}
    for trigger in plan.playbook.triggers:
        if not trigger.waits:
            continue
        length = trigger.unless.within_ms if trigger.unless is not None else trigger.wake_ms or 0
        for event in trigger.on or plan.programs:
            soonest[event] = min(soonest.get(event, END), length + trigger.patience_ms)
    return soonest


class Retelling:
    """The state of one customer as the log goes by; conditions are told of attributes what `past` says.

    Without `past` no batch table was ever loaded.
    """

    def __init__(
        self, plan: Plan, customer: str, partition: int, ticks: Ticks, past: AttributePast | None = None
    ) -> None:
        self._plan, self._customer, self._partition, self._ticks = plan, customer, partition, ticks
        self._look_up = look_up_in(past or AttributePast.none(plan), plan)
        self._soonest = soonest(plan)
        self._read = -1
        self._due: int | None = None
        self.state = empty(plan)

    def read(self, events: Sequence[tuple[int, Event]]) -> None:
        """Fold on: events with their positions, in log order, and every tick before one of them."""
        piece: list[tuple[int, Event]] = []
        due: float = inf
        for position, event in events:
            behind = piece[-1][0] if piece else self._read
            soon = min(due, inf if self._due is None else self._due)
            if soon < inf and self._ticks.first(int(soon), behind, position) is not None:
                self._fold(piece)
                piece, due = [], inf
                for _ in self.looks(position):
                    pass
            piece.append((position, event))
            due = min(due, event.time + self._soonest.get(event.type, inf))
        self._fold(piece)

    def looks(self, before: int = END, until: int = END) -> Iterator[int]:
        """Look at waits that ticks end behind what was read, those before a position and not past `until`.

        Answers the position of each such tick, when the state is that after the look.
        """
        while self._due is not None:
            tick = self._ticks.first(self._due, self._read, before)
            if tick is None or tick[1] > until:
                return
            position, time = tick
            known = {name: values[0] for name, values in self._known([time]).items()}
            wake(self._plan, self.state, time, known, self._customer)
            self._due = next_wake(self._plan, self.state)
            yield position

    def _fold(self, piece: Sequence[tuple[int, Event]]) -> None:
        if not piece:
            return
        positions, events = [position for position, _ in piece], [event for _, event in piece]
        known = self._known([event.time for event in events])
        act(self._plan, self.state, events, self._partition, positions, known)
        self._read = positions[-1]
        if self._soonest:
            self._due = next_wake(self._plan, self.state)

    def _known(self, instants: Sequence[int]) -> Attributes:
        return self._look_up([self._customer] * len(instants), instants)
