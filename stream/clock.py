"""How far every source has been read, in event time: the one number that ticks carry."""

from collections.abc import Iterable, Mapping
from typing import Final

from stream.bus_source import Place

SLACK_MS: Final = 5_000
"""Live: events of one partition may come this much out of order before they count as late."""

IDLE_SLACK_MS: Final = 1_000
"""Live: a partition that is read to its end is complete up to this long ago."""

STEP_MS: Final = 250
"""Live: ticks are at least this far apart; each costs a record on every partition."""


class SourceClock:
    """The least of the sources' watermarks, each of which only moves on.

    A source's watermark (ms, event time) is the last mark of its publisher. Live (`by_marks` False)
    it is also the newest event's time less `SLACK_MS`, and for a source read to its end the wall time
    of that read less `IDLE_SLACK_MS`, so that an idle source holds nobody up. In a replay only marks
    count: time then stands still until every publisher has said that it is complete.

    >>> clock = SourceClock([("shop", 0), ("loyalty", 0)], by_marks=True)
    >>> clock.mark(("shop", 0), 5_000), clock.tick()
    (True, None)
    >>> clock.mark(("loyalty", 0), 3_000), clock.tick()
    (True, 3000)
    >>> clock.tick()
    """

    def __init__(
        self,
        sources: Iterable[Place],
        *,
        by_marks: bool,
        marks: Mapping[Place, int] | None = None,
        ticked: int = -1,
    ) -> None:
        self.marks: dict[Place, int] = dict.fromkeys(sources, -1)
        for source, mark in (marks or {}).items():
            if source in self.marks:
                self.marks[source] = mark
        self.ticked = ticked
        self._by_marks = by_marks
        self._step = 1 if by_marks else STEP_MS

    def mark(self, source: Place, before: int) -> bool:
        """The publisher says that all before `before` is on this source; False when it said more before."""
        if before < self.marks[source]:
            return False
        self.marks[source] = before
        return True

    def read(self, source: Place, newest: int, caught_up: int | None, now: int) -> None:
        """A source was read: its newest event time (-1: none), and until when it is complete, if it is."""
        if self._by_marks:
            return
        complete = caught_up - IDLE_SLACK_MS if caught_up is not None else -1
        self.mark(source, max(complete, min(newest, now) - SLACK_MS))

    def tick(self) -> int | None:
        """The time of a tick that is due; None when the least watermark has not moved on enough."""
        least = min(self.marks.values(), default=-1)
        if least < self.ticked + self._step or least < 0:
            return None
        self.ticked = least
        return least
