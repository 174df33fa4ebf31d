"""What is away comes back: an effect is tried until it is done, so that no micro-batch is ever skipped."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import redis

from events.bus import BusUnavailable

PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 2.0
TELL_EVERY_S: Final = 5.0

log = logging.getLogger("kairos.stream")
T = TypeVar("T")

AWAY: Final = (
    BusUnavailable,
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.OutOfMemoryError,
)


class Stopped(Exception):
    """The process was asked to stop while it waited for something that is away."""


@contextmanager
def until_stopped(name: str) -> Iterator[None]:
    """A stop while something is away ends the process in peace; what was not done is done next time."""
    try:
        yield
    except Stopped as what:
        log.info("%s: stopped while waiting (%s); nothing is lost", name, what)


def persist(action: Callable[[], T], what: str, stop: threading.Event) -> T:
    """Do `action`, again while bus or Redis is away or Redis is full; the log says so every few seconds.

    `action` must be harmless to repeat. Errors: `Stopped`, and whatever else `action` raises.

    >>> persist(lambda: 7, "sevens", threading.Event())
    7
    """
    try:
        return action()
    except AWAY as error:
        return _again(action, what, stop, error)


def _again(action: Callable[[], T], what: str, stop: threading.Event, error: Exception) -> T:
    pause, told, tries = PAUSE_S, 0.0, 1
    while True:
        if time.monotonic() - told >= TELL_EVERY_S:
            told = time.monotonic()
            log.warning("%s: waiting after %d tries: %s", what, tries, error)
        if stop.wait(pause):
            raise Stopped(what)
        pause = min(2 * pause, LONGEST_PAUSE_S)
        tries += 1
        try:
            done = action()
        except AWAY as again:
            error = again
            continue
        log.warning("%s: done after %d tries", what, tries)
        return done
