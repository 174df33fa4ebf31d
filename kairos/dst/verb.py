"""The verb `dst`: one schedule, one from a file, or as many as minutes allow; what fails is made short."""

import gc
import time
from collections import Counter
from pathlib import Path
from typing import Final

from rich.console import Console

from kairos.dst.run import Outcome, undergo
from kairos.dst.schedule import BadSchedule, Schedule, draw, read
from kairos.dst.shrink import RUNS, shrink

SHOWN: Final = 60
TELL_EVERY_S: Final = 5.0
FAILED: Final = 1


def run(
    *, seed: int, steps: int, minutes: float | None, schedule: Path | None, folder: Path, trace: bool
) -> int:
    """0 when every rule held, 1 when one was broken: then the schedule is in `folder`, short and whole.

    Errors: `BadSchedule` for impossible steps or minutes, a schedule beside minutes, and a file that is no
    schedule of this version.
    """
    console = Console(highlight=False, soft_wrap=True, emoji=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadSchedule(
            f"{folder}: expected a folder for what fails, found: {error.strerror}; name another with --folder"
        ) from None
    if schedule is not None and minutes is not None:
        raise BadSchedule(
            "expected --schedule or --minutes, found both: a schedule is one run, drop one of them"
        )
    if schedule is not None:
        return _one(console, read(schedule), folder, trace, short=True)
    if minutes is None:
        return _one(console, draw(seed, steps), folder, trace, short=False)
    if not 0 < minutes <= 7 * 24 * 60:
        raise BadSchedule(f"--minutes: expected more than 0 and at most a week, found {minutes:g}")
    return _search(console, seed, steps, minutes, folder)


def _one(console: Console, schedule: Schedule, folder: Path, trace: bool, short: bool) -> int:
    began = time.perf_counter()
    outcome = undergo(schedule)
    if trace:
        console.print(_told(outcome, len(outcome.trace)), markup=False)
    if outcome.rule is not None:
        return _tell(console, schedule, outcome, folder, short)
    met = ", ".join(f"{name} {count}" for name, count in sorted(outcome.met.items())) or "none"
    console.print(
        f"seed {schedule.seed}: every rule held after each of {outcome.steps:,} steps and at rest; "
        f"{len(schedule.errands)} errands, {len(schedule.faults)} faults ({met}), "
        f"{time.perf_counter() - began:.2f} s"
    )
    return 0


def _search(console: Console, seed: int, steps: int, minutes: float, folder: Path) -> int:
    began = told = time.monotonic()
    used = time.process_time()
    done = taken = 0
    met: Counter[str] = Counter()
    while (now := time.monotonic()) < began + 60 * minutes:
        if now - told >= TELL_EVERY_S:
            told = now
            console.print(f"{done:,} done, {done / (now - began):.1f} schedules a second; all well")
        schedule = draw(seed + done, steps)
        outcome = undergo(schedule)
        if outcome.rule is not None:
            return _tell(console, schedule, outcome, folder, short=False)
        if not done:
            # Compiled code and playbook stay for good: the collector need not look at them again and again.
            gc.collect()
            gc.freeze()
        done, taken = done + 1, taken + outcome.steps
        met.update(outcome.met)
    spent, used = time.monotonic() - began, time.process_time() - used
    console.print(
        f"{done:,} done from seed {seed} on, {taken:,} steps: all well; "
        f"{done / spent:.1f} schedules a second, {60 * done / used:.0f} a minute of a core"
    )
    console.print(
        "broken on the way: " + ", ".join(f"{name} {count:,}" for name, count in sorted(met.items()))
    )
    return 0


def _tell(console: Console, schedule: Schedule, outcome: Outcome, folder: Path, short: bool) -> int:
    """Say what is broken, make the schedule short, keep both, and show the end of the short one's trace."""
    console.print(f"seed {schedule.seed}, step {outcome.steps:,}: a rule is broken", style="bold red")
    console.print(f"  {outcome.rule}\n  {outcome.what}", markup=False)
    shorter = schedule
    if not short:
        whole = folder / f"seed-{schedule.seed}.json"
        schedule.write(whole)
        console.print(f"the schedule is kept in {whole}; making it shorter")

        at_rest = outcome.steps > schedule.steps

        def fails(tried: Schedule) -> int | None:
            found = undergo(tried, rest=at_rest)
            return found.steps if found.rule == outcome.rule else None

        shorter = shrink(schedule, outcome.steps, fails, RUNS)
        outcome = undergo(shorter)
        kept = folder / f"seed-{schedule.seed}-short.json"
        shorter.write(kept)
        (folder / f"seed-{schedule.seed}-short.txt").write_text(_told(outcome, len(outcome.trace)) + "\n")
        console.print(
            f"{len(schedule.faults)} faults became {len(shorter.faults)}, {len(schedule.errands)} errands "
            f"{len(shorter.errands)}; again: python -m kairos dst --schedule {kept}"
        )
    for fault in shorter.faults:
        console.print(f"  {fault}", markup=False)
    console.print(_told(outcome, SHOWN), markup=False)
    return FAILED


def _told(outcome: Outcome, lines: int) -> str:
    """The last lines of a trace."""
    return "\n".join(
        f"{each.step:>6} {each.at / 1_000:>9.3f} s  {each.who:<12} {each.what}"
        for each in outcome.trace[-lines:]
    )
