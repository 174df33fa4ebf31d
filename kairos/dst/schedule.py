"""A schedule: what happens in a simulated run and what breaks, drawn from a seed, kept as JSON.

What it does not say, whose turn is next and how long a thing takes, follows from its seed. Take a fault or an
errand out and the rest stays as it is: that is how a schedule is made shorter.
"""

import random
from pathlib import Path
from typing import Final

import msgspec

from events.faults import Refusal

VERSION: Final = 2
"""Of the file; another one has other kinds of faults, or means other things by the same ones."""

MOST_STEPS: Final = 1_000_000
LONGEST_MS: Final = 60_000
"""No fault of a schedule lasts longer, no clock is off by more."""

AN_ERRAND_EVERY: Final = 14
A_FAULT_EVERY: Final = 35


class BadSchedule(Refusal):
    """A schedule cannot be drawn or read; the message says what was expected and what to do."""

    exit_code = 2


class Errand(msgspec.Struct, frozen=True, array_like=True):
    """At step `step` somebody outside does `what`; the number `n` stands for all that differs."""

    step: int
    what: str
    n: int


class Breakage(msgspec.Struct, frozen=True, array_like=True):
    """Something that breaks: at step `step`, for part `who` (or "all").

    `ms` says how long it lasts, or by how much a clock is off.
    """

    step: int
    what: str
    who: str
    ms: int = 0

    def __str__(self) -> str:
        return f"step {self.step}: {self.what} {self.who}" + (f" {self.ms} ms" if self.ms else "")


class Schedule(msgspec.Struct, frozen=True):
    """One run: `seed` for chance, `steps` until all is well again, `workers` that share the log."""

    version: int
    seed: int
    steps: int
    workers: int
    errands: tuple[Errand, ...]
    faults: tuple[Breakage, ...]

    def write(self, path: Path) -> None:
        """Keep it as JSON."""
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")


ERRANDS: Final = (
    *("buy",) * 6,
    *("fill", "decide") * 4,
    *("answer",) * 3,
    *("join", "again", "nonsense", "late", "ahead"),
)
FAULTS: Final = (
    *("crash",) * 4,
    *("redis dying",) * 6,
    *("redis unanswered", "bus dying") * 4,
    *("redis cut", "bus unanswered", "bus cut") * 2,
    *("redis away", "bus away", "redis killed"),
    *("hang", "skew", "skew", "redis full", "twice", "twice"),
)

UNWRITTEN: Final = frozenset(("bus dying", "bus unanswered", "bus cut"))
"""Faults of a part that writes to the bus, which the learner never does."""

PARTS: Final = ("intake", "learner", "serve", "push", "behaviour", "behaviour-1")
"""The processes of a run; the last only where two workers share the log."""


def draw(seed: int, steps: int) -> Schedule:
    """The schedule of a seed. Errors: `BadSchedule` for steps out of range.

    >>> draw(7, 1_000) == draw(7, 1_000), draw(7, 1_000) == draw(8, 1_000)
    (True, False)
    """
    if not 1 <= steps <= MOST_STEPS:
        raise BadSchedule(f"--steps: expected 1 to {MOST_STEPS:,}, found {steps:,}; 1,000 make a schedule")
    dice = random.Random(f"kairos {seed}")
    workers = dice.choice((1, 1, 2))
    parts = PARTS[: 4 + workers]
    errands = [
        Errand(dice.randrange(steps), dice.choice(ERRANDS), dice.randrange(1 << 30))
        for _ in range(max(steps // AN_ERRAND_EVERY, 1))
    ]
    rough = dice.choice((0.3, 1.0, 2.0))
    faults = []
    for _ in range(round(steps / A_FAULT_EVERY * rough)):
        what = dice.choice(FAULTS)
        who = dice.choice([each for each in parts if each != "learner"] if what in UNWRITTEN else parts)
        if what in ("redis away", "bus away") and dice.random() > 0.85:
            who = "all"
        ms = 0
        if what in ("redis away", "bus away", "redis full", "hang", "redis killed"):
            ms = int(10 ** dice.uniform(1, 3.7))
        elif what == "skew":
            ms = int(dice.uniform(-4_000, 4_000))
        faults.append(Breakage(dice.randrange(steps), what, who, ms))
    by_step = lambda each: each.step  # noqa: E731
    return Schedule(
        VERSION, seed, steps, workers, tuple(sorted(errands, key=by_step)), tuple(sorted(faults, key=by_step))
    )


def read(path: Path) -> Schedule:
    """The schedule in a file. Errors: `BadSchedule` when it is none, or of another version."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadSchedule(f"{path}: expected a schedule, found none ({error.strerror})") from None
    try:
        version = msgspec.json.decode(raw, type=_Versioned).version
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadSchedule(f"{path}: expected a schedule of `dst`, found: {error}") from None
    if version != VERSION:
        raise BadSchedule(
            f"{path}: expected a schedule of version {VERSION}, found version {version}; replay it with the "
            "revision of Kairos that wrote it, or draw it anew: `python -m kairos dst --seed ...`"
        )
    try:
        schedule = msgspec.json.decode(raw, type=Schedule)
    except msgspec.ValidationError as error:
        raise BadSchedule(f"{path}: expected a schedule as `dst` writes it: {error}") from None
    unknown = {each.what for each in schedule.errands} - {*ERRANDS} | (
        {each.what for each in schedule.faults} - {*FAULTS}
        | {each.who for each in schedule.faults} - {*PARTS, "all"}
        | {str(each) for each in schedule.faults if each.step < 0 or not _possible(each)}
        | {f"{each.what} at step {each.step}" for each in schedule.errands if each.step < 0}
    )
    if unknown or not 1 <= schedule.steps <= MOST_STEPS or schedule.workers not in (1, 2):
        found = ", ".join(sorted(unknown)) or f"{schedule.steps} steps, {schedule.workers} workers"
        expected = "errands, faults, parts, steps and times as `dst` draws them, and 1 or 2 workers"
        raise BadSchedule(f"{path}: expected {expected}, found {found}")
    return schedule


class _Versioned(msgspec.Struct):
    version: int


def _possible(fault: Breakage) -> bool:
    return (-LONGEST_MS if fault.what == "skew" else 0) <= fault.ms <= LONGEST_MS
