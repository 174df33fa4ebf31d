"""A domain that never rests, as a process of its own: so many events a second, each as it happens.

`python -m kairos.bench.publisher RATE CUSTOMERS FILE` takes `KAIROS_*` for settings, publishes until it is
told to end, and then writes how many it was and how late it ran, as JSON.
"""

import signal
import sys
import threading
import time
from pathlib import Path
from typing import Final

import orjson

from events.bus import connect
from features.declare import load as load_playbook
from kairos.bench.rig import messages_of
from kairos.bench.traffic import traffic_of
from kairos.settings import Settings, load

PULSE_S: Final = 0.02


def run(settings: Settings, rate: int, customers: int, stop: threading.Event) -> tuple[int, float]:
    """Publish until `stop`; (events, seconds)."""
    playbook = load_playbook(settings.playbook)
    traffic = traffic_of(playbook, customers, seed=3)
    bus = connect(settings.bus)
    began = time.monotonic()
    done = 0
    while not stop.is_set():
        due = int((time.monotonic() - began) * rate) - done
        if due > 0:
            now = int(time.time() * 1000)
            for chunk in traffic.events(min(due, rate), now, 0.0):
                bus.publish(messages_of(chunk, settings.partitions))
                done += len(chunk)
        stop.wait(max(0.0, PULSE_S - (time.monotonic() - began) % PULSE_S))
    bus.close()
    return done, time.monotonic() - began


def main(rate: int, customers: int, file: Path) -> None:
    """Publish at that rate until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    events, seconds = run(load(), rate, customers, stop)
    file.write_bytes(orjson.dumps({"events": events, "seconds": seconds}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
