"""The command line: every verb says itself in a line, bad words are refused with a clear exit code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kairos.__main__ import main


@pytest.fixture(scope="module")
def offers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("offers") / "catalogue.parquet"
    assert main(["offers", "--to", str(path)]) == 0
    return path


def kairos(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kairos", *words],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=240,
        check=False,
    )


def test_help_lists_every_verb_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for verb in (
        "demo",
        "up",
        "intake",
        "behaviour",
        "learner",
        "serve",
        "push",
        "train",
        "features",
        "check",
        "why-value",
        "parity",
        "backfill",
    ):
        assert any(line.split()[:1] == [verb] and len(line.split()) > 3 for line in text.splitlines()), verb


def test_an_unknown_setting_ends_with_2_and_the_nearest_name() -> None:
    done = kairos("check", KAIROS_PLAYBOK="x")
    assert done.returncode == 2
    assert "did you mean KAIROS_PLAYBOOK?" in done.stderr


@pytest.mark.parametrize("verb", ["intake", "behaviour", "learner", "serve", "push"])
def test_a_bus_that_is_away_is_said_and_ends_the_process(verb: str, free_port: int, offers: Path) -> None:
    done = kairos(
        verb,
        KAIROS_CATALOGUE=str(offers),
        KAIROS_BUS=f"redis://127.0.0.1:{free_port}",
        KAIROS_REDIS=f"redis://127.0.0.1:{free_port}",
        KAIROS_WAIT_S="1",
    )
    assert done.returncode == 3
    assert f"127.0.0.1:{free_port}" in done.stdout + done.stderr
    assert "waiting" in (done.stdout + done.stderr).lower()
    assert "Traceback" not in done.stderr


def test_a_playbook_with_faults_is_refused_with_all_of_them(tmp_path: Path) -> None:
    folder = tmp_path / "faulty"
    folder.mkdir()
    (folder / "playbook.toml").write_text('name = "faulty"\ntimezone = "Mars/Olympus"\n')
    (folder / "events.toml").write_text(
        '[purchase]\ntopic = "shop"\ncustomer = { card = "card" }\nfields = { amount = "money" }\n'
    )
    (folder / "triggers.toml").write_text(
        '[[aggregate]]\nname = "spend"\nevent = "purchse"\nvalue = "amount"\n'
        'functions = ["sum"]\nwindows = ["7d"]\n'
    )
    done = kairos("check", str(folder))
    assert done.returncode == 2
    for fault in ("Mars/Olympus", "money", "purchase"):
        assert fault in done.stdout + done.stderr, fault


def test_days_must_be_a_whole_number() -> None:
    done = kairos("demo", "--days", "none")
    assert done.returncode == 2
    assert "expected a whole number" in done.stderr
