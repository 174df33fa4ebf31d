"""A domain that never rests, as a process of its own: so many events a second, each as it happens.

`python -m kairos.bench.publisher FILE CUSTOMERS` takes `KAIROS_*` for settings and publishes until it is told
to end, at the rate that FILE holds now: events a second, as text.
"""

import signal
import sys
import threading
import time
from pathlib import Path
from typing import Final

from events.bus import connect
from features.declare import load as load_playbook
from kairos.bench.rig import messages_of
from kairos.bench.traffic import traffic_of
from kairos.settings import Settings, load

PULSE_S: Final = 0.02


def run(settings: Settings, file: Path, customers: int, stop: threading.Event) -> None:
    """Publish until `stop`."""
    playbook = load_playbook(settings.playbook)
    traffic = traffic_of(playbook, customers, seed=3)
    bus = connect(settings.bus)
    rate, began, done = 0, time.monotonic(), 0
    while not stop.is_set():
        wanted = int(file.read_text() or rate)
        if wanted != rate:
            rate, began, done = wanted, time.monotonic(), 0
        due = int((time.monotonic() - began) * rate) - done
        if due > 0:
            for chunk in traffic.events(due, int(time.time() * 1000), 0.0):
                bus.publish(messages_of(chunk, settings.partitions))
            done += due
        stop.wait(PULSE_S)
    bus.close()


def main(file: Path, customers: int) -> None:
    """Publish until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    run(load(), file, customers, stop)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
