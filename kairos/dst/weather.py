"""What is broken at the moment, and for whom."""

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Final

RARE: Final = 2.0
"""A kind of write that was seen n times before is struck with a chance of this / n."""


class Weather:
    """What is broken at the moment, for whom."""

    def __init__(self, random: Random, now: Callable[[], float]) -> None:
        self._random, self._now = random, now
        self._away: dict[tuple[str, str], float] = {}
        self._cuts: dict[tuple[str, str], str] = {}
        self._written: dict[tuple[str, str], int] = {}
        self.met: Counter[str] = Counter()

    def away(self, port: str, who: str, until: float) -> None:
        """A port is out of reach for a part, or for "all"."""
        self._away[port, who] = until

    def cut(self, port: str, who: str, how: str) -> None:
        """A write to come of the part is "cut", "unanswered" or its last ("dying"), rather a rare one."""
        self._cuts[port, who] = how

    def why(self, port: str, who: str) -> str:
        """Why the port is out of reach; an empty text when it is not."""
        if not self._away:
            return ""
        now = self._now()
        for each in (who, "all"):
            until = self._away.get((port, each))
            if until is not None:
                if now < until:
                    self.met[f"{port} away"] += 1
                    return f"{port} is away for {each}"
                del self._away[port, each]
        return ""

    def broken(self, port: str, who: str, kind: str) -> str:
        """How this write breaks, if it does; else what is written all the time would be all that breaks."""
        self._written[who, kind] = seen = self._written.get((who, kind), 0) + 1
        if (port, who) not in self._cuts or self._random.random() * seen > RARE:
            return ""
        how = self._cuts.pop((port, who))
        self.met[f"{port} {how}"] += 1
        return how

    def clear(self) -> None:
        """All is well again."""
        self._away.clear()
        self._cuts.clear()
