"""A failing schedule made shorter: fewer faults, errands and steps, and the same rule still broken."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec

from kairos.dst.schedule import Schedule

T = TypeVar("T")
RUNS: Final = 120
"""Runs that making it shorter may take."""

Fails = Callable[[Schedule], int | None]
"""The step at which a schedule breaks the rule in question; None when it does not."""


def shrink(schedule: Schedule, failed_at: int, fails: Fails, runs: int = RUNS) -> Schedule:
    """The shortest schedule found in so many runs that still fails.

    >>> from kairos.dst.schedule import draw
    >>> full = draw(1, 1_000)
    >>> short = shrink(full, 900, lambda tried: 500 if full.faults[3] in tried.faults else None)
    >>> short.faults == (full.faults[3],), short.errands, short.steps
    (True, (), 501)
    """
    left, best = runs, schedule

    def attempt(tried: Schedule) -> bool:
        nonlocal left, best
        if left <= 0 or tried == best:
            return False
        left -= 1
        step = fails(tried)
        if step is None:
            return False
        best = tried
        if step < best.steps:
            best = msgspec.structs.replace(best, steps=step + 1)
        return True

    if failed_at < schedule.steps:
        attempt(msgspec.structs.replace(schedule, steps=failed_at + 1))
    _fewer(lambda: best.faults, lambda kept: attempt(msgspec.structs.replace(best, faults=tuple(kept))))
    _fewer(lambda: best.errands, lambda kept: attempt(msgspec.structs.replace(best, errands=tuple(kept))))
    _fewer(lambda: best.faults, lambda kept: attempt(msgspec.structs.replace(best, faults=tuple(kept))))
    return best


def _fewer(now: Callable[[], Sequence[T]], without: Callable[[Sequence[T]], bool]) -> None:
    """Leave pieces out, large ones first (Zeller and Hildebrandt, 2002: delta debugging)."""
    size = len(now())
    while size >= 1:
        start = 0
        while start < len(now()):
            items = now()
            if not without([*items[:start], *items[start + size :]]):
                start += size
        size //= 2
