"""The report of `python -m kairos simulate`: what was asked, how sure it is, and every number as it is."""

from typing import Any

import orjson
import pytest
from matplotlib.axes import Axes

from kairos.__main__ import main
from kairos.simulate import tables
from kairos.simulate.delay_drawn import price_of_delay
from kairos.simulate.pictures import contacts
from kairos.simulate.report import digest, page


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("simulated")
    words = ["--customers", "8", "--days", "2", "--seed", "3", "--seeds", "2"]
    assert main(["simulate", "--folder", str(folder), *words, "--set", "pace=2", "--set", "opt_out=0"]) == 0
    report: dict[str, Any] = orjson.loads((folder / "report.json").read_bytes())
    assert page(report) == (folder / "report.html").read_text()
    return report


def legend(axes: Axes) -> list[str]:
    found = axes.get_legend()
    assert found is not None
    return [text.get_text() for text in found.get_texts()]


def test_the_page_says_what_was_asked_and_how_to_get_it_again(told: dict[str, Any]) -> None:
    shown = page(told)
    asked = "python -m kairos simulate --customers 8 --days 2 --seed 3 --seeds 2 --set pace=2 --set opt_out=0"
    assert told["command"] == asked
    assert asked in shown
    assert "Seeds 3 to 4; playbook world; changed: pace 2 (default 1), opt_out 0 (default 0.015)." in shown
    assert digest({**told, "command": "another way to say it"}) == told["digest"]


def test_regret_is_a_number_with_its_interval(
    told: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    ours = told["arms"]["ours"]
    low, high = ours["regret_ci"]
    assert low <= ours["regret"] <= high
    said = f"{ours['regret']:.2f} ({low:.2f} to {high:.2f})"
    assert f"<td>{said}</td>" in page(told)
    assert f"its regret is {said} EUR" in page(told)


def test_needs_last_as_long_as_they_do_here(told: dict[str, Any]) -> None:
    rows = {row[0]: row[1:] for row in tables.needs(told["needs"]).rows}
    assert rows["lunch"] == ["1.5 h", "34 %", "22"]
    assert rows["ride"][:2] == ["40 min", "28.5 %"]
    assert rows["travel"][:2] == ["20 days", "0.5 %"]
    figure = price_of_delay(told["delay"], told["delay_slow"], told["needs"])
    left, right = map(legend, figure.axes)
    assert left == ["needs with half-lives of 40 min to 20 days", "24 times as long: 16 h to 480 days"]
    assert right[0] == "40 min to 2 h (lunch, ride, bike)"


def test_every_town_is_a_dot(told: dict[str, Any]) -> None:
    for world in ("delay", "delay_slow"):
        for late in told[world]["delays"].values():
            shares = [late["by_seed"][n] / told[world]["delays"]["1 s"]["by_seed"][n] for n in (0, 1)]
            assert late["share_by_seed"] == pytest.approx(shares)
            for need, gain in late["by_need"].items():
                assert sum(town[need] for town in late["by_need_by_seed"]) / 2 == pytest.approx(gain)
    left, _ = price_of_delay(told["delay"], told["delay_slow"], told["needs"]).axes
    dots = [line for line in left.get_lines() if line.get_markersize() < 4 and line.get_linestyle() == "None"]
    assert [len(line.get_xdata()) for line in dots] == [2] * 10  # type: ignore[arg-type]


def test_nobody_who_left_is_a_scale_of_its_own(told: dict[str, Any]) -> None:
    assert all(arm["opted_out"] == 0 for arm in told["arms"].values())
    figure = contacts(told["arms"])
    assert figure.axes[1].get_xlim() == (0, 1)
    assert legend(figure.axes[0]) == ["cards", "messages"]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()][-2:] == ["Kairos", "oracle"]


def test_what_was_watched_for_a_while_did_not_never_happen() -> None:
    arms = {"ours": {"name": "Kairos", "days": None}, "random": {"name": "random", "days": 3}}
    told = tables.newcomer({"offer": "bike", "from_day": 14, "watched": 4, "arms": arms})
    assert told.endswith("Kairos not within 4 days, random 3.")


def test_what_is_captured_is_all_of_some_need(told: dict[str, Any]) -> None:
    for row in tables.sources(told).rows:
        (arm,) = (arm for arm in told["arms"].values() if arm["name"] == row[0])
        assert sum(float(cell.split()[0]) for cell in row[1:]) == pytest.approx(arm["gain"], abs=0.016)


def test_no_two_columns_are_called_the_same(told: dict[str, Any]) -> None:
    arms = told["arms"]
    for table in (tables.arms(arms), tables.contacts(arms), tables.sources(told), tables.delays(told)):
        assert len(set(table.head)) == len(table.head)
        assert {len(row) for row in table.rows} == {len(table.head)}
