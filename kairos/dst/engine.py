"""In place of the dataflow engine: polls of whatever sizes handed to a stage, cursors saved at any moment.

As the engine does, it saves a cursor only once `take` has returned for what stands before it, and goes on
from what it saved, which may be less than was done.
"""

import threading
from functools import partial
from random import Random
from typing import Any, Final

from events.bus import Bus, BusUnavailable, Reader
from kairos.dst.life import Life
from stream.engine import Flow
from stream.patience import persist
from stream.taps import Poll

SIZES: Final = (1, 1, 2, 3, 8, 50)
"""How many records a read takes at most."""


class Stop(threading.Event):
    """A stop whose waiting is the life's."""

    def __init__(self, life: Life) -> None:
        super().__init__()
        self._life = life

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for it in simulated time."""
        ends = self._life.monotonic() + (1e9 if timeout is None else timeout)
        while not self.is_set() and (left := ends - self._life.monotonic()) > 0:
            self._life.wait(left)
        return self.is_set()


def run_flow(
    flow: Flow, bus: Bus, life: Life, stop: threading.Event, disk: dict[str, Any], random: Random
) -> None:
    """Run a flow until `stop` is set; `disk` keeps its cursors through crashes."""
    source, stage = flow.source, flow.stage
    readers: dict[str, Reader] = {}
    done: dict[str, int] = {}
    for name, (topic, partition) in source.places.items():
        done[name] = persist(partial(source.start, name, disk.get(name)), f"opening {name}", stop)
        readers[name] = bus.reader(topic, partition, done[name])
    while not stop.is_set():
        polls: list[Poll] = []
        for name, reader in readers.items():
            if random.random() < 0.3:
                continue
            limit = random.choice(SIZES)
            began = life.wall_ms()
            try:
                records = reader.read(limit, 0)
            except BusUnavailable:
                continue
            topic, partition = source.places[name]
            polls.append(Poll(topic, partition, records, began if len(records) < limit else None))
        read = any(poll.records for poll in polls)
        if polls:
            stage.take(polls)
            for poll in polls:
                if poll.records:
                    done[f"{poll.topic}/{poll.partition:04d}"] = poll.records[-1].position
        if random.random() < 0.2:
            disk.update(done)
        if not read:
            life.idle(random.random() * 0.2)
    stage.close()
    disk.update(done)
