"""The list of mutants is in step with the code: each can be planted, and its tests exist."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from kairos.mutants import LIST, ROOT, BadMutant, Mutant, listed

MUTANTS = listed()


def test_names_and_rules_are_given_once() -> None:
    for each in ([mutant.name for mutant in MUTANTS], [mutant.rule for mutant in MUTANTS]):
        assert sorted(each) == sorted(set(each))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_can_be_planted_and_is_no_mere_slip_of_the_pen(mutant: Mutant) -> None:
    text = mutant.mutated(ROOT)
    if mutant.file.endswith(".py"):
        compile(text, mutant.file, "exec")
    elif mutant.file.endswith(".toml"):
        tomllib.loads(text)
    assert mutant.rule.endswith(".")
    assert mutant.tests


def test_their_tests_exist() -> None:
    selections = sorted({selection for mutant in MUTANTS for selection in mutant.tests})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *selections],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-2_000:]


def test_a_text_that_is_not_there_once_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\nx = 1\n")
    for find, found in (("x = 1", "2 times"), ("y", "0 times"), ("x = 1\nx", "1 times")):
        mutant = Mutant(name="m", rule="r.", file="a.py", find=find, replace="x = 1\nx", tests=())
        with pytest.raises(BadMutant, match=f"found it {found}.*bring tests/{LIST.name}"):
            mutant.apply(tmp_path)
    Mutant(name="m", rule="r.", file="a.py", find="1\nx", replace="2\nx", tests=()).apply(tmp_path)
    assert (tmp_path / "a.py").read_text() == "x = 2\nx = 1\n"
