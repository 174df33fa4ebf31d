"""`python -m kairos simulate`: the town lived through by every arm, and the report of it."""

import time
from argparse import Namespace

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from experiments.world.effects import Effects, Impossible
from kairos.page import page
from kairos.settings import Settings
from kairos.simulate import arms
from kairos.simulate import report as reports
from kairos.simulate.arms import ARMS, Lived, Setting
from kairos.simulate.trial import SLOW, about, compare, delayed


class Watch:
    """Shows how far an arm is, and keeps how fast each was."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.speeds: dict[str, list[float]] = {}

    def live(self, setting: Setting, arm: str, seed: int, delay: int) -> Lived:
        """Live through one arm, seen."""
        console, began = self._console, time.perf_counter()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(40),
            TextColumn("day {task.completed}"),
            TimeRemainingColumn(),
        )
        words = f"{arm}, seed {seed}, {delay / 1000:g} s late"
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task(words, total=setting.days)
            lived = arms.live(setting, arm, seed, delay, lambda day: progress.update(task, completed=day))
        speed = setting.customers * setting.days / max(lived.seconds, 1e-9)
        self.speeds.setdefault(arm, []).append(speed)
        gain = lived.gain.sum() / setting.customers / setting.days * 7
        console.print(
            f"  {words}: {gain:6.2f} EUR a customer and week, "
            f"{speed:,.0f} customer-days a second of a core ({time.perf_counter() - began:.1f} s)",
            soft_wrap=True,
        )
        return lived


def run(settings: Settings, args: Namespace) -> int:
    """Simulate, and write `report.json` and `report.html` into the folder. Errors: `Impossible`,
    `PlaybookRefused`.
    """
    console = page()
    effects = Effects().changed(_given(args.set))
    setting = Setting.of(args.playbook, args.customers, args.days, effects)
    seeds = [args.seed + n for n in range(args.seeds)]
    watch = Watch(console)
    console.print(
        f"{args.customers:,} customers, {args.days} days, seeds {seeds[0]} to {seeds[-1]}: {len(ARMS)} arms"
    )
    report = {"format": 1, **about(setting, seeds), **compare(setting, list(ARMS), seeds, watch.live)}
    console.print("the price of delay: the same people, seen later and later")
    report["delay"] = delayed(setting, seeds, watch.live)
    slow = Setting.of(
        args.playbook, args.customers, args.days, effects.changed({"pace": effects.pace * SLOW})
    )
    console.print(f"the same where needs last {SLOW:g} times as long")
    report["delay_slow"] = delayed(slow, seeds, watch.live)
    report["digest"] = reports.digest(report)
    report["speed"] = {arm: [round(each) for each in some] for arm, some in watch.speeds.items()}
    as_json, as_page = reports.write(report, args.folder)
    reports.show(report, console)
    console.print(f"\nthe whole report: {as_page} (with plots), {as_json}")
    return 0


def _given(pairs: list[str]) -> dict[str, float]:
    """What `--set name=number` says. Errors: `Impossible`."""
    given, faults = {}, []
    for pair in pairs:
        name, _, text = pair.partition("=")
        try:
            given[name.strip()] = float(text)
        except ValueError:
            faults.append(f"--set {pair}: expected an effect and a number, such as opt_out=0.05")
    if faults:
        raise Impossible("\n".join(faults))
    return given
