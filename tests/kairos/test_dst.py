"""The whole system under one seed: every rule holds, a run repeats itself, what fails is made short."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from events.bus import Message
from kairos.dst import schedule as schedules
from kairos.dst import verb
from kairos.dst.run import undergo
from kairos.dst.schedule import VERSION, BadSchedule, Breakage, Errand, Schedule, draw, read
from kairos.dst.verb import run
from stream.outlet import Outlet

SEEDS = (*range(20), 30)
"""Each planted fault of `tests/mutants.toml` whose name begins with `dst-` breaks a rule in one of these.

30: a decision that is delivered again to an intake which has forgotten it (`dst-decision-learned-twice`).
"""

FOUND = sorted((Path(__file__).parent / "schedules").glob("*.json"))
"""Schedules that found a fault of ours, as short as `dst` made them; a mutant of each plants it again."""


@pytest.mark.parametrize("seed", SEEDS)
def test_every_rule_holds(seed: int) -> None:
    outcome = undergo(draw(seed, 1_000))
    assert outcome.rule is None, f"{outcome.what}; python -m kairos dst --seed {seed}"


@pytest.mark.parametrize("file", FOUND, ids=lambda file: file.stem)
def test_what_was_found_stays_mended(file: Path) -> None:
    outcome = undergo(read(file))
    assert outcome.rule is None, f"{outcome.what}; python -m kairos dst --schedule {file}"


@pytest.mark.soak
@pytest.mark.timeout(1_800)
def test_every_rule_holds_for_long(tmp_path: Path) -> None:
    assert run(seed=1_000, steps=1_000, minutes=10, schedule=None, folder=tmp_path, trace=False) == 0


def test_a_seed_says_it_all() -> None:
    first, second = undergo(draw(4, 300)), undergo(draw(4, 300))
    assert first == second
    assert first.trace
    assert undergo(draw(5, 300)).trace != first.trace


def test_a_seed_says_it_all_whatever_python_hashes() -> None:
    """Texts hash differently in every process: what is done in the order of a set would be another run."""
    program = (
        "from kairos.dst.run import undergo; from kairos.dst.schedule import draw; "
        "print([tuple(line) for seed in (7, 12) for line in undergo(draw(seed, 1_000)).trace])"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": str(number)},
            capture_output=True,
            check=True,
        ).stdout
        for number in (1, 2)
    ]
    assert told[0] == told[1] != b""


def test_a_schedule_is_replayed_from_its_file(tmp_path: Path) -> None:
    drawn = draw(4, 300)
    drawn.write(tmp_path / "s.json")
    assert read(tmp_path / "s.json") == drawn
    assert undergo(read(tmp_path / "s.json")) == undergo(drawn)


def test_a_run_without_faults_comes_to_rest_and_everything_happens() -> None:
    errands = tuple(
        Errand(n, what, n * 977) for n, what in enumerate(["join", "buy", "fill", "buy", "decide"] * 6)
    )
    outcome = undergo(Schedule(VERSION, 1, 600, 2, errands, ()))
    assert outcome.rule is None, outcome.what
    seen = {line.who for line in outcome.trace}
    assert seen >= {"intake", "behaviour", "behaviour-1", "learner", "serve", "push", "outside"}
    assert any("to push-commands" in line.what for line in outcome.trace if line.who == "push")


def test_every_kind_of_fault_strikes() -> None:
    """Not only drawn: each changes what somebody does."""
    met: set[str] = set()
    for seed in range(12):
        met |= undergo(draw(seed, 600), rest=False).met.keys()
    assert met == set(schedules.FAULTS)


def test_a_planted_fault_is_found_made_short_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a publish that was not answered everything is published again, also what is there."""

    def everything(self: Outlet, messages: list[Message]) -> list[Message]:
        return messages

    monkeypatch.setattr(Outlet, "_missing", everything)
    errands = tuple(Errand(10 + 12 * n, "buy", n * 977) for n in range(12))
    faults = (
        Breakage(20, "hang", "learner", 100),
        Breakage(40, "bus unanswered", "intake"),
        Breakage(50, "skew", "serve", 300),
        Breakage(60, "bus unanswered", "intake"),
        Breakage(90, "bus unanswered", "intake"),
    )
    planted = Schedule(VERSION, 0, 300, 1, errands, faults)
    monkeypatch.setattr(verb, "draw", lambda seed, steps: planted)
    assert run(seed=0, steps=300, minutes=1, schedule=None, folder=tmp_path, trace=False) == 1
    said = capsys.readouterr().out
    assert "a rule is broken" in said
    (short,) = tmp_path.glob("*-short.json")
    assert f"--schedule {short}" in said.replace("\n", "")
    assert len(read(short).faults) <= 2, "one unanswered publish is enough"
    assert "intake" in short.with_suffix(".txt").read_text()
    assert run(seed=0, steps=1, minutes=None, schedule=short, folder=tmp_path, trace=False) == 1
    monkeypatch.undo()
    assert run(seed=0, steps=1, minutes=None, schedule=short, folder=tmp_path, trace=False) == 0


@pytest.mark.parametrize("steps", [0, -5, 1_000_001])
def test_impossible_steps_are_refused(steps: int, tmp_path: Path) -> None:
    with pytest.raises(BadSchedule, match=r"--steps: expected 1 to 1,000,000, found"):
        run(seed=1, steps=steps, minutes=None, schedule=None, folder=tmp_path, trace=False)


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan"), 1e9])
def test_impossible_minutes_are_refused(minutes: float, tmp_path: Path) -> None:
    with pytest.raises(BadSchedule, match="--minutes: expected more than 0"):
        run(seed=1, steps=10, minutes=minutes, schedule=None, folder=tmp_path, trace=False)


def test_a_schedule_and_minutes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSchedule, match="--schedule or --minutes, found both"):
        run(seed=1, steps=10, minutes=1, schedule=tmp_path / "s.json", folder=tmp_path, trace=False)


def test_a_schedule_of_another_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "old.json"
    msgspec.structs.replace(draw(1, 10), version=VERSION + 1).write(file)
    with pytest.raises(BadSchedule, match=rf"version {VERSION}, found version {VERSION + 1}; replay it with"):
        read(file)


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff", b"{}", b'{"version": "1"}'])
def test_what_is_no_schedule_is_refused(text: bytes, tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    file.write_bytes(text)
    with pytest.raises(BadSchedule, match="expected a schedule"):
        read(file)


def test_a_schedule_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSchedule, match="found none"):
        read(tmp_path / "none.json")


def test_an_unknown_fault_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    faults = (Breakage(1, "earthquake", "intake"),)
    msgspec.structs.replace(draw(1, 10), faults=faults).write(file)
    with pytest.raises(BadSchedule, match="found earthquake"):
        read(file)


@pytest.mark.parametrize(
    "fault",
    [
        Breakage(1, "crash", "nobody"),
        Breakage(-1, "crash", "intake"),
        Breakage(1, "hang", "intake", -1 << 40),
        Breakage(1, "skew", "intake", 1 << 40),
    ],
)
def test_a_fault_that_no_seed_draws_is_refused(fault: Breakage, tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    msgspec.structs.replace(draw(1, 10), faults=(fault,)).write(file)
    with pytest.raises(BadSchedule, match="as `dst` draws them"):
        read(file)
