"""One life of one part: from its start to its crash or stop it may touch the world, afterwards nothing."""

from collections.abc import Callable
from typing import Protocol


class Crash(SystemExit):
    """The process is gone at this very moment.

    Of the kind that neither `except Exception` nor asyncio keeps from its way out.
    """


class Life(Protocol):
    """What the simulated ports ask of whoever uses them."""

    @property
    def name(self) -> str:
        """Whose life it is."""
        ...

    def pause(self, what: str) -> None:
        """Let everybody else go on for as long as the schedule says; may be the last thing that is done.

        Errors: `Crash`.
        """
        ...

    def away(self, port: str) -> str:
        """Why a port ("bus" or "redis") cannot be reached from here now; an empty text when it can."""
        ...

    def through(self, port: str, kind: str, count: int) -> int | None:
        """How many of `count` things sent at once arrive as the connection breaks; None: it does not.

        `kind` says what is sent, so that rare things break as often as frequent ones.
        """
        ...

    def monotonic(self) -> float:
        """Seconds of a clock that only goes forward."""
        ...

    def wall_ms(self) -> int:
        """Milliseconds since the epoch, as this part's machine has them."""
        ...

    def wait(self, seconds: float) -> None:
        """Do nothing for so long."""
        ...

    def idle(self, seconds: float, more: Callable[[], bool] = lambda: False) -> None:
        """Do nothing because there is nothing to do: for so long or longer, or until there is `more`."""
        ...


class Undisturbed:
    """A life without faults and without others: for tests of the ports themselves."""

    name = "nobody"

    def __init__(self, monotonic: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._monotonic, self._sleep = monotonic, sleep

    def pause(self, what: str) -> None:
        """Nobody else is there."""

    def away(self, port: str) -> str:
        """Everything is there."""
        return ""

    def through(self, port: str, kind: str, count: int) -> int | None:
        """Everything arrives."""
        return None

    def monotonic(self) -> float:
        """See `Life.monotonic`."""
        return self._monotonic()

    def wall_ms(self) -> int:
        """The monotonic clock's."""
        return int(self._monotonic() * 1_000)

    def wait(self, seconds: float) -> None:
        """See `Life.wait`."""
        self._sleep(seconds)

    def idle(self, seconds: float, more: Callable[[], bool] = lambda: False) -> None:
        """See `Life.idle`."""
        self._sleep(min(seconds, 0.1))
