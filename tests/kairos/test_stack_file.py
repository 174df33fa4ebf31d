"""A running stack says how to reach it, to its owner only, in words a shell understands."""

import stat
import subprocess
from pathlib import Path

import pytest

from kairos import stack_file
from kairos.settings import Settings


def test_what_is_written_is_what_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "a run"
    folder.mkdir()
    settings = Settings(run_dir=folder, playbook=tmp_path, api_key="two words = $HOME", port=1234)
    path = stack_file.write(settings)
    assert stack_file.find([tmp_path, folder]) == settings
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    said = subprocess.run(
        ["sh", "-c", f". '{path}' && printf %s \"$KAIROS_API_KEY\""],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == settings.api_key


def test_paths_do_not_depend_on_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    stack_file.write(Settings(run_dir=Path("run")))
    found = stack_file.find([tmp_path / "run"])
    assert found.run_dir == tmp_path / "run"
    assert found.playbook.is_absolute()


def test_where_no_stack_runs_it_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(stack_file.NoStack, match=r"stack\.env.*demo --keep"):
        stack_file.find([tmp_path])
