"""The long runs: one replay without kills, then many with; the table is kept in `docs/soak.md`."""

import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from kairos.mutants import ROOT
from kairos.ordeal import Outcome, table, undergo

PAGE = ROOT / "docs" / "soak.md"


def run(*, seeds: int, days: int, kills: int) -> int:
    """Run `seeds` ordeals of `days` days and `kills` kills each; 0 when nothing was lost or repeated."""
    console = Console(highlight=False)
    outcomes: list[Outcome] = []
    for seed in range(seeds + 1):
        with tempfile.TemporaryDirectory(prefix="kairos-soak-") as folder:
            console.print(
                f"run {seed} of {seeds}: {days} days, " + (f"{kills} kills" if seed else "no kills")
            )
            outcomes.append(undergo(Path(folder), days=days, seed=seed, kills=kills if seed else 0))
            console.print(table(outcomes).splitlines()[-1], soft_wrap=True)
    kept = [sound(one, outcomes[0]) for one in outcomes]
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    PAGE.write_text(
        "# Soak\n\nPrinted by `make soak`: replays of real shopping during which the processes and both "
        "Redis servers are killed\n(SIGKILL) and started again, compared with the log and with the run "
        f"without kills. {days} days,\n{datetime.now(UTC):%Y-%m-%d}, revision {revision}.\n\n"
        f"{table(outcomes)}\n"
    )
    console.print(f"{sum(kept)} of {len(kept)} runs sound; the table is in {PAGE}")
    return 0 if all(kept) else 1


def sound(one: Outcome, plain: Outcome) -> bool:
    """Whether a run lost and repeated nothing, and learned what its log teaches, as much as `plain` did.

    Whether it learned the very same is for people to read: no order exists between what different sources
    publish, so another run's log may be another one.
    """
    return (
        one.states_differing == one.rows_differing == one.pushes_repeated == one.dead_letters == 0
        and one.models_differing == 0
        and one.states > 0
        and len(one.models) > 0
        and (one.events, one.decisions, one.learned, one.models.keys())
        == (plain.events, plain.decisions, plain.learned, plain.models.keys())
    )
