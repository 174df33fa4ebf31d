"""Threads that read the bus ahead, so that the engine never waits for an idle partition.

Ten quiet partitions asked one after the other would cost either milliseconds of delay or a core of
polling. Each has a thread here that waits for its next records in one blocking read; the engine's
thread takes what has arrived, and naps until something has.
"""

import logging
import threading
import time
from typing import Final, NamedTuple

from events.bus import BusUnavailable, Reader, Record
from stream.wall import wall_ms

DEPTH: Final = 2
"""Polls that wait in one tap; more would only make a crash re-read more."""

WAIT_MS: Final = 250
"""The longest one read waits: also how often an idle partition reports that it is caught up."""

NAP_S: Final = 0.02
"""The engine looks up this often though nothing has come: to close epochs, and to be stopped."""

RETRY_S: Final = 0.25
TELL_EVERY_S: Final = 5.0

log = logging.getLogger("kairos.stream")


class Poll(NamedTuple):
    """What one read of a partition gave, in order; possibly nothing.

    `caught_up` is the wall time (ms) up to which everything published has been read; None when more
    records may be waiting behind these.
    """

    topic: str
    partition: int
    records: list[Record]
    caught_up: int | None


class TapRoom:
    """The taps of one engine thread, and the bell that any of them rings.

    Reading ahead holds at most `DEPTH` polls a partition. Errors of a reader other than an
    unavailable bus (which is waited for) surface from `take`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.arrived = threading.Condition(self._lock)
        self.room = threading.Condition(self._lock)
        self.waiting = 0
        self._taps = 0
        self.closed = False
        self._restless = 0

    def open(self, reader: Reader, topic: str, partition: int, limit: int) -> "Tap":
        """Start reading one partition."""
        self._taps += 1
        return Tap(self, reader, topic, partition, limit)

    def nap(self) -> None:
        """Wait until any tap has something, some milliseconds at most.

        Not right after something was given: the engine hands items on only when every partition has
        been asked, so a nap of the next partition would delay them.
        """
        if self._restless:
            self._restless -= 1
            return
        with self._lock:
            if not self.waiting:
                self.arrived.wait(NAP_S)

    def shut(self) -> None:
        """Let every tap's thread end, all at the same time; each is still to be closed."""
        with self._lock:
            self.closed = True
            self.room.notify_all()

    def stir(self) -> None:
        """Forget about napping until each partition has been asked again."""
        self._restless = self._taps


class Tap:
    """One partition, read ahead by its own thread."""

    def __init__(self, room: TapRoom, reader: Reader, topic: str, partition: int, limit: int) -> None:
        self._room = room
        self._reader = reader
        self._topic = topic
        self._partition = partition
        self._limit = limit
        self._polls: list[Poll] = []
        self._fault: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=f"tap {topic}/{partition}", daemon=True)
        self._thread.start()

    def take(self) -> list[Poll]:
        """The polls that have arrived; raises what the reader raised."""
        with self._room._lock:
            if not self._polls and self._fault is not None:
                raise self._fault
            polls, self._polls = self._polls, []
            self._room.waiting -= len(polls)
            self._room.room.notify_all()
        return polls

    def close(self) -> None:
        """Stop reading, here and in the whole room; what was read ahead is not counted as read."""
        self._room.shut()
        self._thread.join(WAIT_MS / 1_000 + 2)
        self._reader.close()

    def _run(self) -> None:
        told = 0.0
        try:
            while not self._room.closed:
                started = wall_ms()
                try:
                    records = self._reader.read(self._limit, WAIT_MS)
                except BusUnavailable as error:
                    if self._room.closed:
                        return
                    if time.monotonic() - told >= TELL_EVERY_S:
                        told = time.monotonic()
                        log.warning("%s/%d waits for the bus: %s", self._topic, self._partition, error)
                    time.sleep(RETRY_S)
                    continue
                caught_up = started if len(records) < self._limit else None
                self._put(Poll(self._topic, self._partition, records, caught_up))
        except Exception as error:  # whatever it is, the engine's thread must hear of it
            with self._room._lock:
                self._fault = error
                self._room.arrived.notify_all()

    def _put(self, poll: Poll) -> None:
        room = self._room
        with room._lock:
            while len(self._polls) >= DEPTH and not room.closed:
                room.room.wait()
            self._polls.append(poll)
            room.waiting += 1
            room.arrived.notify_all()
