"""`python -m kairos simulate`: one seed, one report; impossible worlds are refused with the reason."""

import os
import re
import shutil
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path

import numpy as np
import orjson
import pytest

from experiments.world.effects import Effects
from experiments.world.knowledge import Knowledge
from experiments.world.live import Run
from experiments.world.needs import DAY
from experiments.world.policy import Asked
from experiments.world.town import Town
from kairos.__main__ import main
from kairos.simulate.arms import ARMS, Lived, Setting, live
from kairos.simulate.ours import Ours
from kairos.simulate.report import digest
from kairos.simulate.trial import DELAYS, cold_start, compare, delayed
from models.decision import decide
from models.record import pack, rerun, unpack
from models.scorers.lightgbm_ranker import LightGBMRanker

WORLD = Path("playbooks/world")


def simulate(folder: Path, *words: str) -> int:
    return main(["simulate", "--folder", str(folder), "--seeds", "1", *words])


def test_the_same_seed_gives_the_same_report_whatever_python_hashes(tmp_path: Path) -> None:
    words = ["--customers", "8", "--days", "1"]
    assert simulate(tmp_path / "here", *words) == 0
    command = [
        sys.executable,
        "-m",
        "kairos",
        "simulate",
        "--folder",
        str(tmp_path / "there"),
        "--seeds",
        "1",
    ]
    hashed = {**os.environ, "PYTHONHASHSEED": "12345"}
    subprocess.run([*command, *words], env=hashed, check=True, capture_output=True)
    here, there = (orjson.loads((tmp_path / name / "report.json").read_bytes()) for name in ("here", "there"))
    assert here["digest"] == there["digest"] == digest(there)
    assert {**here, "speed": None} == {**there, "speed": None}
    assert set(here["arms"]) == set(ARMS)
    assert list(here["delay"]["delays"]) == list(DELAYS)
    assert (tmp_path / "there" / "report.html").read_text().count("<svg") >= 4


def learned() -> str:
    """What ours comes to where it trains LightGBM, and the model itself, as one digest."""
    many = {"needs": 14.0, "browsing": 2.0, "impulse": 0.1, "appeal": 0.9}
    setting = Setting.of(WORLD, 24, 8, Effects().changed(many))
    town, knowledge = Town(1, 24, 8, setting.effects, setting.listens, 1_000), Knowledge(setting.plan, 1_000)
    ours = Ours(knowledge, setting.catalogue, 1)
    for _ in Run(town, knowledge, ours, dict(setting.deals)).steps():
        pass
    model = ours.blends["card"].batch
    assert isinstance(model, LightGBMRanker), "ours was to train at least once"
    text = model.booster.model_to_string()
    assert re.search(r"num_leaves=([2-9])", text), "a tree that asks nothing knows nothing"
    return blake2b(town.tally.gain.tobytes() + text.encode(), digest_size=8).hexdigest()


def test_what_is_trained_is_the_same_whatever_python_hashes() -> None:
    command = [sys.executable, "-c", f"from {__name__} import learned; print(learned())"]
    hashed = {**os.environ, "PYTHONHASHSEED": "12345"}
    with subprocess.Popen(command, env=hashed, stdout=subprocess.PIPE, text=True) as there:
        here = learned()
        assert there.communicate()[0].strip() == here


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--customers", "0"), "found 0 customers and 28 days; ask for more"),
        (("--days", "1000000"), "found 500 customers and 1,000,000 days"),
        (("--seeds", "0"), "--seeds: expected 1 to 100, found 0"),
        (("--seed", "-1"), "--seed: expected 0 to"),
        (("--seed", "9" * 29), "--seed: expected 0 to"),
        (("--customers", "1000000", "--days", "3660"), "expected at most 20,000,000 days of customers"),
        (("--pictures", "/dev/null/pictures"), "expected a folder that can be written"),
        (("--set", "opt_out=2"), "opt_out: expected 0 to 1"),
        (("--set", "opt_out=nan"), "opt_out: expected 0 to 1"),
        (("--set", "optout=0.2"), "did you mean opt_out?"),
        (("--set", "opt_out=much"), "expected an effect and a number"),
        (("--set", "guests=0.8", "--set", "strangers=0.8"), "nobody is both"),
        (("--speed", "60"), "expected --over-the-stack beside it"),
        (("--set", "a", "--set", "needs=-1"), "--set a: expected an effect and a number"),
        (("--set", "a", "--set", "needs=-1"), "needs: expected 0 to 50"),
        (("--seed", "-1", "--seeds", "0"), "--seed: expected 0 to"),
        (("--over-the-stack", "--seeds", "3"), "--seeds: expected it without --over-the-stack"),
        (("--over-the-stack", "--pictures", "docs"), "--pictures: expected it without --over-the-stack"),
        (("--over-the-stack", "--speed", "0"), "--speed: expected a number above 0"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], found: str
) -> None:
    assert simulate(tmp_path, *words) == 2
    assert found in capsys.readouterr().err


def test_what_somebody_else_keeps_there_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "run" / "thesis.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    one = ["--customers", "1", "--days", "1"]
    assert main(["simulate", "--over-the-stack", "--folder", str(tmp_path), *one]) == 2
    assert "which is left as it is" in capsys.readouterr().err
    assert kept.read_text() == "mine"


@pytest.mark.parametrize(
    ("file", "cut", "put", "found"),
    [
        ("offers.toml", "[[offer]]", "[[ignored]]", "offers.toml"),
        ("offers.toml", 'category = "bike"', 'category = "bikes"', "did you mean bike?"),
        ("offers.toml", 'offers = "deal"', 'offers = "deals"', "did you mean deal?"),
        ("events.toml", "[looked", "[watched", "looked"),
    ],
)
def test_a_playbook_nobody_could_live_in_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, cut: str, put: str, found: str
) -> None:
    shutil.copytree(WORLD, tmp_path / "world")
    path = tmp_path / "world" / file
    path.write_text(path.read_text().replace(cut, put))
    assert simulate(tmp_path / "out", "--playbook", str(tmp_path / "world")) == 2
    said = capsys.readouterr().err
    assert "in the playbook" in said
    assert found in said


def test_ours_makes_the_very_decision_of_serving_and_teaches_what_it_served() -> None:
    setting = Setting.of(WORLD, 60, 2, Effects().changed({"needs": 10.0}))
    town, knowledge = Town(2, 60, 2, setting.effects, setting.listens, 1_000), Knowledge(setting.plan, 1_000)
    ours = Ours(knowledge, setting.catalogue, 2)
    compared = 0

    def watch(asked: Asked, offer: str | None) -> None:
        nonlocal compared
        (decision,) = ours.decide([asked], asked.placement)
        assert (decision.chosen[0].offer if decision.chosen else None) == offer
        record = unpack(pack(decision))
        assert rerun(record)[0] == list(decision.slate.order)
        again = decide(
            decision.request,
            asked.placement,
            setting.catalogue,
            decision.row,
            lambda offers: knowledge.cross(
                asked.profile, asked.moment.at, setting.catalogue.assortment(asked.placement), offers
            ),
            ours.blends[asked.placement],
            asked.moment.at,
        )
        assert pack(again) == pack(decision)
        compared += 1

    for _ in Run(town, knowledge, ours, dict(setting.deals), watch).steps():
        pass
    assert compared > 50
    learned = ours.learner.models["card"]
    assert learned.count == len([each for each in ours.lessons.kept if each.placement == "card"]) > 10
    assert ours.learner.attribution.counts["examples"] > 10


def test_a_report_counts_what_its_arms_lived() -> None:
    setting = Setting.of(WORLD, 30, 2, Effects().changed({"needs": 12.0}))
    runs: dict[tuple[str, int, int], Lived] = {}

    def lived(where: Setting, arm: str, seed: int, delay: int) -> Lived:
        runs[arm, seed, delay] = live(where, arm, seed, delay)
        return runs[arm, seed, delay]

    told = compare(setting, ["oracle", "popularity", "silence"], [1, 2], lived)
    weeks = 2 * 30 * 2 / 7
    for arm, said in told["arms"].items():
        gain = sum(float(runs[arm, seed, 1_000].tally.gain.sum()) for seed in (1, 2))
        assert said["gain"] == pytest.approx(gain / weeks)
        assert sum(said["by_need"].values()) == pytest.approx(said["gain"])
        assert sum(said["by_day"]) * 7 / 2 == pytest.approx(said["gain"])
        assert said["regret"] == pytest.approx(told["arms"]["oracle"]["gain"] - said["gain"])
        margins = [runs[arm, n, 1_000].tally.margin - runs["silence", n, 1_000].tally.margin for n in (1, 2)]
        booked = sum(float(each.sum()) for each in margins)
        assert said["booked"] == pytest.approx(booked / weeks)
    assert told["arms"]["silence"]["gain"] == told["arms"]["silence"]["booked"] == 0
    assert told["arms"]["oracle"]["gain"] > told["arms"]["popularity"]["gain"]
    assert told["newcomers"] == []
    late = delayed(setting, [1], lived, {"1 s": 1_000, "1 day": DAY})["delays"]
    half = runs["ours", 1, DAY].tally.gain[:, 1:]
    assert late["1 day"]["gain"] == pytest.approx(half.sum() / (30 / 7))
    assert late["1 s"]["share"] == 1
    assert sum(late["1 day"]["by_need"].values()) == pytest.approx(late["1 day"]["gain"])


def test_a_newcomer_starts_cold_until_it_is_made_half_as_readily_as_old_offers() -> None:
    called, heeded = np.full((3, 12), 10.0), np.full((3, 12), 8.0)
    heeded[1] = [0, 0, 0, 0, 0, 0, 1, 2, 4, 6, 8, 8]  # of the newcomer, from day 4 on
    told = cold_start(called, heeded, 1, 4)
    assert told["old"] == 0.8
    assert told["new"][:3] == [pytest.approx(1 / 30), pytest.approx(3 / 30), pytest.approx(7 / 30)]
    assert told["days"] == 3, "days 7 to 9: 12 of 30, which is half of eight in ten"
    assert cold_start(called, np.where(np.arange(3)[:, None] == 1, 0.0, heeded), 1, 4)["days"] is None


def test_a_newcomer_is_an_offer_that_begins_on_the_way_and_is_the_first_of_its_kind() -> None:
    assert Setting.of(WORLD, 1, 14, Effects()).newcomers() == {}
    assert Setting.of(WORLD, 1, 15, Effects()).newcomers() == {"bike": 14}
