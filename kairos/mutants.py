"""Mutants: small committed faults, each of which must turn its tests red.

`tests/mutants.toml` lists them: the rule that is broken, the file, the text that is replaced, and
the tests that have to notice. A mutant that its tests do not notice is a hole in the tests.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "tests" / "mutants.toml"
TESTS_FAILED = 1  # pytest's exit code when tests ran and some failed; others mean that nothing was shown
LONGEST_S = 240.0


class BadMutant(Exception):
    """An entry of the list cannot be applied; the message says which and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One fault: in `file` the text `find`, which stands there once, becomes `replace`."""

    name: str
    rule: str
    file: str
    find: str
    replace: str
    tests: tuple[str, ...]

    def apply(self, tree: Path) -> None:
        """Plant the fault in a copy of the tree.

        Errors: `BadMutant` when the text does not stand there exactly once.
        """
        path = tree / self.file
        text = path.read_text() if path.exists() else ""
        found = text.count(self.find)
        if found != 1:
            raise BadMutant(
                f"mutant {self.name}: expected the text once in {self.file}, found it {found} times: "
                f"{self.find!r}; bring tests/mutants.toml up to date"
            )
        path.write_text(text.replace(self.find, self.replace))


def listed() -> list[Mutant]:
    """The committed mutants."""
    entries = tomllib.loads(LIST.read_text())["mutant"]
    return [Mutant(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]


def run(only: str | None = None) -> int:
    """Run every mutant (or one); 0 when the tests turned red for each of them and green without."""
    console = Console()
    chosen = [mutant for mutant in listed() if only in (None, mutant.name)]
    if not chosen:
        console.print(f"expected a mutant's name, found {only!r}; see {LIST}")
        return 2
    failed = []
    with tempfile.TemporaryDirectory(prefix="kairos-mutants-") as folder:
        plain = _copy(Path(folder) / "plain")
        selections = sorted({selection for mutant in chosen for selection in mutant.tests})
        console.print(f"without a mutant: {len(selections)} selections of tests", highlight=False)
        code, output = _tests(plain, selections, longest_s=4 * LONGEST_S)
        if code != 0:
            console.print(f"expected the tests to be green without a mutant:\n{output}")
            return 1
        for number, mutant in enumerate(chosen, 1):
            tree = _copy(Path(folder) / mutant.name)
            mutant.apply(tree)
            started = time.monotonic()
            code, output = _tests(tree, mutant.tests, longest_s=LONGEST_S)
            shutil.rmtree(tree)
            caught = code == TESTS_FAILED
            word = "[green]caught[/]" if caught else f"[red]SURVIVED (pytest exit {code})[/]"
            took = time.monotonic() - started
            console.print(f"{number:>3}/{len(chosen)}  {word}  {mutant.name}: {mutant.rule}  ({took:.0f} s)")
            if not caught:
                failed.append(mutant.name)
                console.print(output, highlight=False, markup=False)
    console.print(
        f"{len(chosen) - len(failed)} of {len(chosen)} mutants caught" + (f"; not: {failed}" * bool(failed))
    )
    return 1 if failed else 0


def _copy(to: Path) -> Path:
    listing = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listing.stdout.splitlines():
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    return to


def _tests(tree: Path, selections: list[str] | tuple[str, ...], longest_s: float) -> tuple[int, str]:
    """pytest's exit code over the selections in that tree; a run that hangs counts as red."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *selections]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, timeout=longest_s, check=False
        )
    except subprocess.TimeoutExpired:
        return TESTS_FAILED, f"no end within {longest_s:.0f} s"
    return done.returncode, (done.stdout + done.stderr)[-3_000:]
