"""Rounds of the log's clock: what lies before one tick on every partition, whoever was read faster."""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from events.envelope import Event


class Round(NamedTuple):
    """What lies between two ticks: events by partition in log order, and where each then stands."""

    time: int
    events: list[Event]
    positions: dict[int, int]


class _Piece(NamedTuple):
    events: list[Event]
    time: int
    position: int


class Rounds:
    """Cuts partitions that are read at different speeds into the same rounds, in every run.

    Every tick is on every partition. A round is given once each of them has reached its tick, so what
    is done with it depends on the log alone. Waiting pieces stay in memory: they are as many as one
    partition is ahead of another, which is why only what matters should be told.

    >>> rounds = Rounds(2)
    >>> rounds.tick(0, position=4, time=1_000); list(rounds.complete())
    []
    >>> rounds.tick(1, position=9, time=1_000); list(rounds.complete())
    [Round(time=1000, events=[], positions={0: 4, 1: 9})]
    """

    def __init__(self, partitions: int, after: int = -1, positions: Mapping[int, int] | None = None) -> None:
        self._open: list[list[Event]] = [[] for _ in range(partitions)]
        self._pieces: list[deque[_Piece]] = [deque() for _ in range(partitions)]
        self._newest = [after] * partitions
        self._positions = dict(positions or {})

    def event(self, partition: int, event: Event) -> None:
        """An event was read."""
        self._open[partition].append(event)

    def tick(self, partition: int, position: int, time: int) -> None:
        """A tick was read; one whose time was already reached ends nothing."""
        if time <= self._newest[partition]:
            return
        self._newest[partition] = time
        self._pieces[partition].append(_Piece(self._open[partition], time, position))
        self._open[partition] = []

    def complete(self) -> Iterator[Round]:
        """The rounds that every partition has reached the end of, each once."""
        while all(self._pieces):
            time = min(pieces[0].time for pieces in self._pieces)
            events: list[Event] = []
            for partition, pieces in enumerate(self._pieces):
                if pieces[0].time == time:
                    piece = pieces.popleft()
                    events += piece.events
                    self._positions[partition] = piece.position
            yield Round(time, events, dict(self._positions))
