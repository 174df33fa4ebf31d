"""Mutants: small committed faults, each of which must turn its tests red.

`tests/mutants.toml` lists them: the rule that is broken, the file, the text that is replaced, and
the tests that have to notice. A mutant that its tests do not notice is a hole in the tests.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from events.faults import Refusal
from kairos.kafka_local import JARS
from kairos.local import spawn

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "tests" / "mutants.toml"
# The copy's modules must be the ones that are tested, though this checkout is installed beside it.
OWN_MODULES = "tests/test_floors.py::test_rooms_come_from_this_checkout"
TESTS_FAILED = 1  # pytest's exit code when tests ran and some failed; others mean that nothing was shown
LONGEST_S = 240.0
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


class BadMutant(Refusal):
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

    def mutated(self, tree: Path) -> str:
        """The text of the file with the fault in it.

        Errors: `BadMutant` when the text does not stand there exactly once, or stays as it was.
        """
        path = tree / self.file
        text = path.read_text() if path.exists() else ""
        found = text.count(self.find)
        if found != 1 or self.find == self.replace:
            raise BadMutant(
                f"mutant {self.name}: expected the text once in {self.file} and another instead of it, found "
                f"it {found} times: {self.find!r}; bring tests/mutants.toml up to date"
            )
        return text.replace(self.find, self.replace)

    def apply(self, tree: Path) -> None:
        """Plant the fault in a copy of the tree. Errors: `BadMutant`."""
        text = self.mutated(tree)
        path = tree / self.file
        path.write_text(text)
        # Bytecode is known by its source's size and second: neither need have changed.
        for cached in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            cached.unlink()


class Tried(NamedTuple):
    """What the tests said: pytest's exit code, how long it took, the first that failed, the last lines."""

    code: int
    seconds: float
    by: str
    output: str

    @property
    def caught(self) -> bool:
        """Whether a test failed."""
        return self.code == TESTS_FAILED


def listed() -> list[Mutant]:
    """The committed mutants."""
    entries = tomllib.loads(LIST.read_text())["mutant"]
    return [Mutant(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]


def run(only: str | None = None) -> int:
    """Run every mutant, or those whose names match the pattern `only` (`push-*`).

    0 when the tests were green without a mutant and red with each.
    """
    console = Console(width=None if sys.stdout.isatty() else 160)
    chosen = [mutant for mutant in listed() if fnmatchcase(mutant.name, only or "*")]
    if not chosen:
        console.print(f"expected the name of a mutant or a pattern, found {only!r}; see {LIST}")
        return 2
    tried: dict[Mutant, Tried] = {}
    with tempfile.TemporaryDirectory(prefix="kairos-mutants-") as name:
        folder = Path(name)
        plain = _copy(folder / "plain")
        selections = [OWN_MODULES, *sorted({each for mutant in chosen for each in mutant.tests})]
        console.print(f"without a mutant: {len(selections)} selections of tests", highlight=False)
        green = _test(plain, selections, folder / "green.log", longest_s=4 * LONGEST_S)
        if green.code != 0:
            console.print("expected the tests to be green without a mutant:")
            console.print(green.output, highlight=False, markup=False)
            return 1
        console.print(f"green in {green.seconds:.0f} s", highlight=False)
        for number, mutant in enumerate(chosen, 1):
            # With the bytecode that the green run has left: nothing but the mutated file is compiled again.
            tree = shutil.copytree(plain, folder / mutant.name, symlinks=True)
            mutant.apply(tree)
            found = tried[mutant] = _test(tree, mutant.tests, folder / f"{mutant.name}.log", LONGEST_S)
            shutil.rmtree(tree)
            word = "[green]caught[/]" if found.caught else f"[red]SURVIVED (pytest exit {found.code})[/]"
            console.print(f"{number:>3}/{len(chosen)}  {word}  {mutant.name} ({found.seconds:.0f} s)")
            if not found.caught:
                console.print(found.output, highlight=False, markup=False)
    console.print(_table(tried))
    missed = [mutant.name for mutant, found in tried.items() if not found.caught]
    total = green.seconds + sum(found.seconds for found in tried.values())
    console.print(
        f"{len(chosen) - len(missed)} of {len(chosen)} mutants caught in {total:.0f} s", style="bold"
    )
    if missed:
        console.print(f"not caught: {', '.join(missed)}; sharpen their tests", style="red")
    return 1 if missed else 0


def _table(tried: dict[Mutant, Tried]) -> Table:
    table = Table(box=None, header_style="bold")
    table.add_column("mutant", no_wrap=True)
    table.add_column("the rule it breaks", ratio=3)
    table.add_column("caught by", ratio=2)
    table.add_column("s", justify="right")
    for mutant, found in tried.items():
        by = found.by.rpartition("::")[2].partition("[")[0] if found.caught else "[red]nothing[/]"
        table.add_row(mutant.name, mutant.rule, by, f"{found.seconds:.0f}")
    return table


def _copy(to: Path) -> Path:
    """The files of this checkout, new ones too; what was fetched for Kafka is shared."""
    listing = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listing.stdout.splitlines():
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    if (ROOT / JARS).is_dir():
        (to / JARS).parent.mkdir(parents=True, exist_ok=True)
        (to / JARS).symlink_to(ROOT / JARS)
    return to


def _test(tree: Path, selections: Iterable[str], log: Path, longest_s: float) -> Tried:
    """Run the selections in that tree to the first failure; a run that hangs counts as one.

    Always with the same seed: a property test that notices today notices tomorrow. Nothing is compiled: each
    copy would take half a minute for it, and as plain Python every index is checked besides.
    """
    words = ["-q", "-x", "-p", "no:cacheprovider", "--tb=short", "-rfE"]
    words += ["--hypothesis-seed=0", "--hypothesis-profile=mutants"]
    command = [sys.executable, "-m", "pytest", *words, *selections]
    started = time.monotonic()
    env = {**os.environ, "PYTHONPATH": str(tree), "NUMBA_DISABLE_JIT": "1"}
    process = spawn(command, log, env=env, cwd=tree)
    try:
        code = process.wait(longest_s)
    except subprocess.TimeoutExpired:
        return Tried(TESTS_FAILED, longest_s, f"no end within {longest_s:.0f} s", "")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # its servers are bound to it
            process.wait()
    output = log.read_text(errors="replace")
    first = _FAILED.search(output)
    return Tried(code, time.monotonic() - started, first[1] if first else "", output[-3_000:])
