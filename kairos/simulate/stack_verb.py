"""`python -m kairos simulate --over-the-stack`: the town on this machine's own stack, and what came of it."""

import shutil
import time
from argparse import Namespace
from pathlib import Path
from typing import Any, Final

import orjson
from rich.console import Console

from events import topics
from events.bus import connect
from experiments.world.effects import Impossible
from experiments.world.happening import START
from experiments.world.live import STEP
from experiments.world.needs import DAY
from experiments.world.town import Town
from kairos.settings import Settings, load
from kairos.simulate.arms import Setting
from kairos.simulate.on_stack import OnStack, summary
from kairos.stack import Stack
from kairos.up import count

MADE_HERE: Final = "made-by-simulate.txt"


def run(settings: Settings, args: Namespace, setting: Setting, console: Console) -> dict[str, Any]:
    """Start a stack of its own below the folder, live there, stop it; what came of it.

    Errors: `StackDown`, `on_stack.NotFolded`, `Impossible` when there is a run folder of somebody else.
    """
    run_dir = _fresh(args.folder / "run")
    console.print("starting bus, Redis and five processes: intake, behaviour, learner, serve, push")
    chosen = load(playbook=args.playbook, run_dir=run_dir, clock="events", log_level=settings.log_level)
    with Stack(chosen, say=console.print) as stack:
        bus = connect(stack.settings.bus, timeout_s=stack.settings.wait_s)
        town = Town(args.seed, setting.customers, setting.days, setting.effects)
        lived = OnStack(stack, bus, town, setting.plan.playbook.contracts, dict(setting.deals))
        began = time.monotonic()
        for until in lived.steps():
            if args.speed:  # so many simulated seconds a second, at most
                ahead = (until - START) / 1000 / args.speed - (time.monotonic() - began)
                time.sleep(max(0.0, ahead))
            if (until - START) % DAY < STEP:
                day = (until - START) // DAY
                console.print(
                    f"  day {day:>3} of {setting.days}: {lived.published:,} events, {len(lived.times_ms):,} "
                    f"decisions, {lived.pushed:,} messages, {lived.outcomes:,} conversions",
                )
        told = summary(lived, town, time.monotonic() - began, count(bus, topics.DEAD_LETTERS))
        lived.close()
        bus.close()
        console.print("stopping every process")
    path = args.folder / "stack.json"
    path.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    p50, p99 = told["decision_ms"]["p50"], told["decision_ms"]["p99"]
    gain = f"{told['gain']:.2f} EUR a week a customer over silence"
    console.print(
        f"{told['customers']:,} customers for {told['days']} days over the real stack in {told['seconds']:g} "
        f"s:\n{told['events']:,} events, {told['decisions']:,} decisions in {p50:g} ms (p50) and {p99:g} ms "
        f"(p99), {told['messages']:,} messages,\n{told['outcomes']:,} conversions told, "
        f"{told['dead_letters']} dead letters, {gain};\n"
        f"see {path}",
        soft_wrap=True,
    )
    return told


def _fresh(run_dir: Path) -> Path:
    """An empty folder for the run; one of an earlier run goes, and nothing else does."""
    mark = run_dir / MADE_HERE
    if run_dir.exists() and not mark.exists() and not (run_dir.is_dir() and not any(run_dir.iterdir())):
        raise Impossible(
            f"{run_dir}: expected no such folder, or one of an earlier run (with {MADE_HERE} in it), found "
            "another one, which is left as it is; name another --folder, or move it away"
        )
    shutil.rmtree(run_dir, ignore_errors=True)
    run_dir.mkdir(parents=True)
    mark.write_text("python -m kairos simulate --over-the-stack made this folder and deletes it again\n")
    return run_dir
