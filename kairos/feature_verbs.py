"""Verbs about features: check a playbook, apply its Feast objects."""

from pathlib import Path

from rich.console import Console

from events.faults import PlaybookRefused
from features.attribute import attribute_features
from features.declare import features_of, load, read
from features.plan import compile_plan
from kairos.settings import Settings
from models import catalogue


def check(folder: Path, table: Path | None) -> int:
    """Read a playbook whole and print what it holds; `PlaybookRefused` with every fault of every file."""
    playbook, faults = read(folder)
    row, cross = (
        [feature for feature in features if not feature.hidden] for features in features_of(playbook)
    )
    row += attribute_features(playbook)
    faults += catalogue.faults_of(folder, row, cross, table)
    if faults:
        raise PlaybookRefused(faults)
    plan = compile_plan(playbook)
    offers = catalogue.load(folder, plan, table)
    Console(highlight=False).print(
        f"{plan.name}: {len(row)} features of a customer, {len(plan.cross_features)} of a "
        f"customer and an offer, {len(plan.playbook.triggers)} triggers, "
        f"{len(offers.placements)} placements; no faults",
        soft_wrap=True,
    )
    return 0


def apply(settings: Settings) -> int:
    """Derive Feast's objects from the playbook, show what changes, apply it."""
    from features.feast_objects import FeastDoor

    console = Console(highlight=False, markup=False)
    plan = compile_plan(load(settings.playbook))
    door = FeastDoor(plan, project=settings.project, redis_url=settings.redis, run_dir=settings.run_dir)
    lines = door.apply()
    for line in lines or [f"nothing to change: the registry in {door.folder} is what {plan.name} declares"]:
        console.print(line)
    return 0
