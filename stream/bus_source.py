"""The bus as a source of the engine: each partition a cursor, each item a micro-batch."""

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from events.bus import Bus
from events.faults import Refusal
from stream.patience import persist
from stream.snapshots import Snapshots
from stream.taps import Poll, Tap, TapRoom

LIMIT: Final = 2_000
_AT_ONCE: Final = datetime(2000, 1, 1, tzinfo=UTC)

log = logging.getLogger("kairos.stream")

Place = tuple[str, int]
"""A topic and a partition of it."""

Cursor = Callable[[Place, int | None], int | None]
"""From the engine's saved position of a place (None: it has none) to the position to read behind."""


class PositionsDisagree(Refusal):
    """What was saved and what the bus or Redis holds cannot both be true; the message says which to trust."""

    exit_code = 4


def keep(place: Place, saved: int | None) -> int | None:
    """Trust the engine's own saved position."""
    return saved


class BusPartition(StatefulSourcePartition[Poll, int]):
    """One partition of the bus; what is saved is the position of the last record handed on."""

    def __init__(
        self,
        room: TapRoom,
        tap: Tap,
        after: int,
        stop: threading.Event,
        snapshots: Snapshots | None = None,
    ) -> None:
        self._room = room
        self._tap = tap
        self._after = after
        self._stop = stop
        self._snapshots = snapshots

    def next_batch(self) -> Sequence[Poll]:
        """What has arrived; naps until something does, some milliseconds at most."""
        if self._snapshots is not None:
            self._snapshots.end()
        if self._stop.is_set():
            self._room.shut()
            raise StopIteration  # the engine then saves the last epoch: that is a clean stop
        polls = self._tap.take()
        if not polls:
            self._room.nap()
            return polls
        for poll in polls:
            if poll.records:
                self._after = poll.records[-1].position
                self._room.stir()
        return polls

    def next_awake(self) -> datetime | None:
        """At once: `next_batch` itself waits, and is woken by what arrives."""
        return _AT_ONCE

    def snapshot(self) -> int:
        """The position of the last record handed on."""
        if self._snapshots is not None:
            self._snapshots.begin()
        return self._after

    def close(self) -> None:
        """Stop reading ahead."""
        self._tap.close()


class BusSource(FixedPartitionedSource[Poll, int]):
    """Reads `places` until `stop` is set, each from behind its saved position.

    A place without one is read from its oldest kept record. Errors: `PositionsDisagree` when the bus
    has never had the saved position; `PositionLost` while reading when records were trimmed unread.
    """

    def __init__(
        self,
        bus: Bus,
        places: Sequence[Place],
        stop: threading.Event,
        *,
        cursor: Cursor = keep,
        limit: int = LIMIT,
    ) -> None:
        self._bus = bus
        self.places = {f"{topic}/{partition:04d}": (topic, partition) for topic, partition in places}
        self._stop = stop
        self._cursor = cursor
        self._limit = limit
        self._room = TapRoom()
        self._snapshots: Snapshots | None = None

    def measure(self, snapshots: Snapshots | None) -> None:
        """Say what each snapshot costs."""
        self._snapshots = snapshots

    def shut(self) -> None:
        """End every reader, also when the engine did not."""
        self._room.shut()

    def list_parts(self) -> list[str]:
        """Every place, by name."""
        return list(self.places)

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> BusPartition:
        """Open one place where it was left."""
        return persist(lambda: self._open(for_part, resume_state), f"opening {for_part}", self._stop)

    def _open(self, for_part: str, resume_state: int | None) -> BusPartition:
        topic, partition = self.places[for_part]
        after = self.start(for_part, resume_state)
        tap = self._room.open(self._bus.reader(topic, partition, after), topic, partition, self._limit)
        return BusPartition(self._room, tap, after, self._stop, self._snapshots)

    def start(self, for_part: str, resume_state: int | None) -> int:
        """The position behind which a place is read on. Errors: `PositionsDisagree`."""
        topic, partition = place = self.places[for_part]
        after = self._cursor(place, resume_state)
        if after is None:
            after = self._bus.first(topic, partition) - 1
            if after >= 0:
                log.warning("%s: nothing was saved; reading from the oldest kept, %d", for_part, after + 1)
        last = self._bus.last(topic, partition)
        if after > last:
            raise PositionsDisagree(
                f"{for_part}: expected the bus to hold position {after}, which was read before, found "
                f"{last} as its newest: this is another or an older log. Restore the log, or start anew "
                "with an empty KAIROS_RUN_DIR and an empty Redis"
            )
        return after
