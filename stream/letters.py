"""Dead letters on their way to the bus, and the one line a second that says so."""

import logging
import time
from typing import Final

from events.bus import Message
from events.dead_letters import DeadLetter, encode
from events.topics import DEAD_LETTERS

TELL_EVERY_S: Final = 1.0

log = logging.getLogger("kairos.stream")


class Teller:
    """One line in the log for a dead letter, and a count of those that were not told, each second."""

    def __init__(self) -> None:
        self._next = 0.0
        self._untold = 0

    def refused(self, letter: DeadLetter) -> None:
        """Tell of a dead letter, or count it."""
        if time.monotonic() < self._next:
            self._untold += 1
            return
        self._next = time.monotonic() + TELL_EVERY_S
        log.warning(
            "dead letter: %s/%d/%d reason=%s place=%s expected=%r found=%r (%d untold)",
            *(letter.topic, letter.partition, letter.position, letter.reason, letter.place),
            *(letter.expected, letter.found, self._untold),
        )
        self._untold = 0


def letter_message(letter: DeadLetter) -> Message:
    """The message that a dead letter is on the bus, keyed by the place of its original."""
    key = f"{letter.topic}/{letter.partition}/{letter.position}".encode()
    return Message(DEAD_LETTERS, 0, key, encode(letter))
