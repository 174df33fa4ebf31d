"""The simulated town over the real stack: what happens is folded, moments are answered, messages arrive."""

from pathlib import Path

import orjson
import pytest

from kairos.__main__ import main


@pytest.mark.timeout(180)
def test_people_live_over_the_real_stack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--customers", "18", "--days", "1", "--seed", "4", "--set", "needs=14", "--set", "strangers=0"]
    assert main(["simulate", "--over-the-stack", "--folder", str(tmp_path), *words]) == 0
    told = orjson.loads((tmp_path / "stack.json").read_bytes())
    assert told["decisions"] > 5
    assert told["events"] > 5 * 18
    assert told["messages"] > 0
    assert told["dead_letters"] == 0, "everything that happens keeps its contract"
    assert "over the real stack" in capsys.readouterr().out
