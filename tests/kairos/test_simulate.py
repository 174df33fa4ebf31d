"""`python -m kairos simulate`: the same seed gives the same report, impossible worlds are refused with the reason."""

from pathlib import Path

import orjson
import pytest

from kairos.__main__ import main


def simulate(folder: Path, *words: str) -> int:
    return main(["simulate", "--folder", str(folder), "--seeds", "1", *words])


def test_the_same_seed_gives_the_same_report(tmp_path: Path) -> None:
    told = []
    for name in ("one", "other"):
        assert simulate(tmp_path / name, "--customers", "6", "--days", "2") == 0
        told.append(orjson.loads((tmp_path / name / "report.json").read_bytes()))
    assert told[0]["digest"] == told[1]["digest"]
    assert {**told[0], "speed": None} == {**told[1], "speed": None}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--customers", "0"), "found 0 customers"),
        (("--days", "1000000"), "found 500 customers and 1,000,000 days"),
        (("--set", "opt_out=2"), "opt_out: expected 0 to 1"),
        (("--set", "optout=0.2"), "did you mean opt_out?"),
        (("--set", "opt_out=much"), "expected an effect and a number"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], found: str
) -> None:
    assert simulate(tmp_path, *words) == 2
    assert found in capsys.readouterr().err
