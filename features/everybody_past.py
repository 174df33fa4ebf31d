"""What everybody had done by chosen moments of the past, from the log alone."""

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise

from events.envelope import Event
from features.everybody import Cut, fold_everybody, late_of, merge_everybody
from features.plan import Plan
from features.row import Everybody, Warming, read_everybody

Placed = tuple[int, int, Event]
"""A record of the log: partition, position, event."""


class EverybodyPast:
    """The events of a log that are counted over everybody, folded up to whatever moment is asked for.

    Moments that are asked for in rising order cost one pass over the log; any other order folds it again.
    """

    def __init__(self, plan: Plan, log: Iterable[Placed], warming: Warming | None = None) -> None:
        self._plan = plan
        self._warming = warming
        concerned = plan.crowd.programs if plan.crowd is not None else {}
        self._log: dict[int, list[tuple[int, Event]]] = defaultdict(list)
        for partition, position, event in log:
            if event.type in concerned:
                self._log[partition].append((position, event))
        self._served = _Pass(plan)
        self._timed = _Pass(plan)
        self._by_time: list[tuple[int, int, int, Event]] | None = None

    def served(self, cut: Cut) -> Everybody | None:
        """What a decision saw that recorded `cut`: the very same numbers. None when nothing is counted."""
        if self._plan.crowd is None:
            return None
        last_of = dict(enumerate(cut.positions))
        if any(done > last_of.get(partition, -1) for partition, done in self._served.done.items()):
            self._served = _Pass(self._plan)
        for partition, last in last_of.items():
            log = self._log[partition]
            begin = self._served.read.get(partition, 0)
            end = begin
            while end < len(log) and log[end][0] <= last:
                end += 1
            self._served.fold(partition, log[begin:end])
            self._served.read[partition] = end
        return self._served.at(cut.at, cut.read)._replace(warming=self._warming)

    def before(self, at: int) -> Everybody | None:
        """What was counted of every event before `at` (ms), as if all of them had been read by then.

        None when nothing is counted. Too late for the stream is too late here.
        """
        if self._plan.crowd is None:
            return None
        if self._by_time is None:
            self._by_time = self._in_time(self._plan.crowd.lateness_ms)
        if self._timed.until > at:
            self._timed = _Pass(self._plan)
        fresh: dict[int, list[tuple[int, Event]]] = defaultdict(list)
        end = self._timed.read.get(0, 0)
        while end < len(self._by_time) and self._by_time[end][0] < at:
            _, partition, _, event = self._by_time[end]
            fresh[partition].append((end, event))
            end += 1
        for partition, events in fresh.items():
            self._timed.fold(partition, events)
        self._timed.read[0], self._timed.until = end, at
        return self._timed.at(at, at)._replace(warming=self._warming)

    def _in_time(self, lateness_ms: int) -> list[tuple[int, int, int, Event]]:
        found = []
        for partition, log in self._log.items():
            assert all(one[0] < other[0] for one, other in pairwise(log)), "a log is in order of positions"
            late = late_of([event.time for _, event in log], -1, lateness_ms).tolist()
            found += [
                (event.time, partition, position, event)
                for (position, event), too_late in zip(log, late, strict=True)
                if not too_late
            ]
        return sorted(found, key=lambda each: each[:3])


class _Pass:
    """States of the partitions, folded on and on."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._blobs: dict[int, bytes] = {}
        self._kept: Everybody | None = None
        self.read: dict[int, int] = {}
        self.done: dict[int, int] = {}
        self.until = -1

    def fold(self, partition: int, events: list[tuple[int, Event]]) -> None:
        """Fold (position, event) pairs behind those before."""
        if not events or self._plan.crowd is None:
            return
        positions, folded = zip(*events, strict=True)
        blob = self._blobs.get(partition)
        self._blobs[partition] = fold_everybody(self._plan.crowd, blob, folded, partition, positions)
        self.done[partition] = positions[-1]
        self._kept = None

    def at(self, at: int, mark: int) -> Everybody:
        """What the states say at `at` (ms), the log having been read up to `mark` (ms), -1 for never."""
        read = None if mark < 0 else mark
        if self._kept is not None and (self._kept.at, self._kept.read) == (at, read):
            return self._kept
        assert self._plan.crowd is not None
        if self._kept is None:
            state = merge_everybody(self._plan.crowd, self._blobs.values())
        else:
            state = self._kept.state
        self._kept = read_everybody(self._plan, state, at, read)
        return self._kept
