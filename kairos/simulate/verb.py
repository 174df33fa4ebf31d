"""`python -m kairos simulate`: the town lived through by every arm, and the report of it."""

import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from shlex import quote

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from experiments.world.effects import Effects, Impossible
from experiments.world.needs import HOUR
from kairos.page import page
from kairos.settings import Settings
from kairos.simulate import arms
from kairos.simulate import report as reports
from kairos.simulate.arms import ARMS, Lived, Setting
from kairos.simulate.delay_drawn import price_of_delay
from kairos.simulate.effects_drawn import drawings
from kairos.simulate.pictures import png
from kairos.simulate.tables import lasts
from kairos.simulate.trial import SLOW, about, compare, delayed

SEEDS, MOST_SEEDS = 2, 100
MOST_SEED = 2**63 - 1 - MOST_SEEDS


class Watch:
    """Shows how far an arm is, and keeps how fast each was."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.speeds: dict[str, list[float]] = {}
        self._kept: dict[tuple[str, float, int, int], Lived] = {}

    def alone(self, setting: Setting, seed: int) -> None:
        """Let people live on with nobody who watches, to say how fast the town itself is."""
        speed = setting.customers * setting.days / max(arms.alone(setting, seed), 1e-9)
        self.speeds["the town alone"] = [speed]
        self._console.print(f"  the town alone: {speed:,.0f} customer-days a second of a core")

    def live(self, setting: Setting, arm: str, seed: int, delay: int) -> Lived:
        """Live through one arm, seen; what was lived before is remembered."""
        known = (arm, setting.effects.pace, seed, delay)
        if known not in self._kept:
            self._kept[known] = self._live(setting, arm, seed, delay)
        return self._kept[known]

    def _live(self, setting: Setting, arm: str, seed: int, delay: int) -> Lived:
        console, began = self._console, time.perf_counter()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(40),
            TextColumn("day {task.completed}"),
            TimeRemainingColumn(),
        )
        words = f"{ARMS[arm]}, seed {seed}, {lasts(delay / HOUR)} late"
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task(words, total=setting.days)
            lived = arms.live(setting, arm, seed, delay, lambda day: progress.update(task, completed=day))
        speed = setting.customers * setting.days / max(lived.seconds, 1e-9)
        self.speeds.setdefault(arm, []).append(speed)
        gain = lived.tally.gain.sum() / setting.customers / setting.days * 7
        console.print(
            f"  {words}: {gain:6.2f} EUR a week a customer, "
            f"{speed:,.0f} customer-days a second of a core ({time.perf_counter() - began:.1f} s)",
            soft_wrap=True,
        )
        return lived


def run(settings: Settings, args: Namespace) -> int:
    """Simulate, and write `report.json` and `report.html` into the folder. Errors: `Impossible`,
    `PlaybookRefused`.
    """
    console = page()
    _refuse(args)
    effects = _given(args.set)
    setting = Setting.of(args.playbook, args.customers, args.days, effects)
    slow = replace(setting, effects=replace(effects, pace=effects.pace * SLOW))
    _make(args.folder, *filter(None, [args.pictures]))
    if args.over_the_stack:
        from kairos.simulate.stack_verb import run as over_the_stack

        over_the_stack(settings, args, setting, console)
        return 0
    seeds = [args.seed + n for n in range(_seeds(args))]
    watch = Watch(console)
    console.print(
        f"{args.customers:,} customers, {args.days} days, seeds {seeds[0]} to {seeds[-1]}: {len(ARMS)} arms"
    )
    watch.alone(setting, seeds[0])
    report = {"format": 1, **about(setting, seeds), **compare(setting, list(ARMS), seeds, watch.live)}
    console.print("the price of delay: the same people, seen later and later")
    report["delay"] = delayed(setting, seeds, watch.live)
    console.print(f"the same where needs last {SLOW:g} times as long")
    report["delay_slow"] = delayed(slow, seeds, watch.live)
    report["digest"] = reports.digest(report)
    report["command"] = _command(args)
    report["speed"] = {arm: [round(each) for each in some] for arm, some in watch.speeds.items()}
    as_json, as_page = reports.write(report, args.folder)
    if args.pictures:
        figures = {
            **drawings(effects),
            "price-of-delay": price_of_delay(report["delay"], report["delay_slow"], report["needs"]),
        }
        for name, figure in figures.items():
            (args.pictures / f"{name}.png").write_bytes(png(figure))
    reports.show(report, console)
    console.print(f"\nthe whole report: {as_page} (with plots), {as_json}")
    return 0


def _refuse(args: Namespace) -> None:
    """Errors: `Impossible` for what cannot be run, whatever the world, every fault at once."""
    faults = []
    if args.seeds is not None and not 1 <= args.seeds <= MOST_SEEDS:
        faults.append(f"--seeds: expected 1 to {MOST_SEEDS}, found {args.seeds}")
    if not 0 <= args.seed <= MOST_SEED:
        faults.append(f"--seed: expected 0 to {MOST_SEED:,}, found {args.seed}")
    if args.speed is not None and not args.over_the_stack:
        faults.append("--speed: expected --over-the-stack beside it, found neither bus nor clock to pace")
    elif args.speed is not None and not args.speed > 0:
        faults.append(
            f"--speed: expected a number above 0, found {args.speed:g}; left out: as fast as it goes"
        )
    if args.over_the_stack:
        faults += [
            f"--{name}: expected it without --over-the-stack, which is one town and no report"
            for name in ("seeds", "pictures")
            if getattr(args, name) is not None
        ]
    if faults:
        raise Impossible("\n".join(faults))


def _make(*folders: Path) -> None:
    """What is written after an hour must have somewhere to go. Errors: `Impossible`."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Impossible(
                f"{folder}: expected a folder that can be written, found: {error.strerror}; name another"
            ) from None


def _seeds(args: Namespace) -> int:
    return SEEDS if args.seeds is None else int(args.seeds)


def _command(args: Namespace) -> str:
    """What makes the same report again."""
    words = [f"--customers {args.customers} --days {args.days} --seed {args.seed} --seeds {_seeds(args)}"]
    if args.playbook != Path("playbooks/world"):
        words.append(f"--playbook {quote(str(args.playbook))}")
    return " ".join(["python -m kairos simulate", *words, *(f"--set {quote(pair)}" for pair in args.set)])


def _given(pairs: list[str]) -> Effects:
    """The effects as `--set name=number` has them. Errors: `Impossible` says every fault at once."""
    given, faults = {}, []
    for pair in pairs:
        name, _, text = pair.partition("=")
        try:
            given[name.strip()] = float(text)
        except ValueError:
            faults.append(f"--set {pair}: expected an effect and a number, such as opt_out=0.05")
    try:
        effects = Effects().changed(given)
    except Impossible as refusal:
        faults.append(str(refusal))
    if faults:
        raise Impossible("\n".join(faults))
    return effects
