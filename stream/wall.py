"""The clocks of a process; nothing below the shells reads them."""

import time
from typing import Final, Protocol


class Clock(Protocol):
    """What a process knows of time; the simulation of `kairos.dst` hands in its own."""

    def monotonic(self) -> float:
        """Seconds that only go forward, from wherever."""
        ...

    def wall_ms(self) -> int:
        """Milliseconds since the epoch, UTC."""
        ...


def wall_ms() -> int:
    """Milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000


class _Machine:
    """The clocks of this machine."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return wall_ms()


MACHINE: Final[Clock] = _Machine()
