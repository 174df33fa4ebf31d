"""`python -m kairos describe`: what a playbook expands to, as a person and as a program read it."""

import json
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from features.declare import load
from features.memory import memory_of
from kairos.__main__ import main
from kairos.describe import show
from kairos.description import groups_of

GROCERY = Path(__file__).parents[2] / "playbooks" / "grocery"

MORE = """
[[aggregate]]
name = "night"
event = "basket_line"
value = "amount"
where = "amount > 7"
functions = ["sum"]
windows = ["9d"]
unit = "USD"
meaning = "an aggregate more"
"""


def described(capsys: pytest.CaptureFixture[str], folder: Path = GROCERY, *words: str) -> dict[str, Any]:
    assert main(["describe", str(folder), "--json", *words]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


PERCENTILES = """
[[aggregate]]
name = "dear"
event = "basket_line"
value = "amount"
functions = ["p95"]
windows = ["28d"]
unit = "USD"
meaning = "what is much for this customer"
"""


def test_percentiles_say_how_many_buckets_they_keep_and_how_sharp_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(GROCERY, tmp_path / "grocery"))
    with (folder / "playbook.toml").open("a") as file:
        file.write(PERCENTILES)
    told = described(capsys, folder)
    (feature,) = [each for each in told["features"] if each["source"] == "dear"]
    assert (feature["name"], feature["in"], feature["unit"]) == ("dear_p95_28d", "row", "USD")
    assert main(["describe", str(folder)]) == 0
    assert "basket_line.amount, of a customer, up to 160 buckets of 2.5 %" in capsys.readouterr().out


def test_every_feature_is_told_with_all_that_people_ask(capsys: pytest.CaptureFixture[str]) -> None:
    told = described(capsys)
    features = {each["name"]: each for each in told["features"]}
    attributes = [each for each in features.values() if each["function"] == "attribute"]
    assert told["row_features"] + told["cross_features"] == 328 + 2 * 12 + len(attributes)
    assert len(features) == len(told["features"])
    for each in features.values():
        assert each["unit"], each
        assert each["meaning"], each
        assert each["freshness"], each
        assert ("every model" in each["read_by"]) == (each["in"] != "hidden")
    assert {source["name"] for source in told["sources"]} >= {
        each["source"] for each in features.values() if each["function"] != "ratio"
    }
    spend = features["spend_sum_84d"]
    assert (spend["window"], spend["default"], spend["in"]) == ("84d", 0, "row")
    source = next(each for each in told["sources"] if each["name"] == "spend")
    assert source["memory_bytes"] == memory_of(load(GROCERY).aggregates[0])
    assert source["stores"] == ["count", "sum", "mean", "max"]
    assert features["trips_distinct_7d"]["freshness"] == "2d"
    assert features["fuel_of_spend_84d"]["derived"] == {
        "numerator": "fuel_sum_84d",
        "denominator": "spend_sum_84d",
        "factor": 1.0,
    }


@pytest.mark.parametrize(
    ("feature", "reader"),
    [
        ("spend_sum_84d", "trigger big_shop"),
        ("shop_sum_3h", "trigger big_shop"),
        ("spend_sum_84d", "spend_trend_28d_84d"),
        ("spend_sum_84d", "fuel_of_spend_84d"),
        ("sent_of_campaign_count_ever", "rule sent_to_household"),
        ("spend_by_category_total_sum_84d", "spend_by_category_share_84d"),
    ],
)
def test_what_reads_a_feature_is_told(feature: str, reader: str, capsys: pytest.CaptureFixture[str]) -> None:
    (told,) = described(capsys, GROCERY, "--only", feature)["features"]
    assert reader in told["read_by"]


def test_people_read_a_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["describe", str(GROCERY)]) == 0
    text = capsys.readouterr().out
    for part in (
        "One customer takes 64 kB at most, past it the oldest detail is coarsened;",
        "spend  basket_line.amount, of a customer",
        "what the household pays for, line by line of its receipts",
        "where discount > 0; missing when not known for 2d; at most",
        "sent_of_campaign  campaign_sent, of a customer, by campaign (the offer's campaign picks)",
        "redeemed_coupon  coupon_redeemed, of a customer and an offer, by coupon (the offer's id picks)",
        "spend_by_category_total_sum_28d (hidden)",
        "the whole that spend_by_category gives shares of",
        "spend_sum_84d / trips_distinct_84d",
    ):
        assert part in text, part
    for feature in (feature for group in groups_of(load(GROCERY)) for feature in group.features):
        assert feature.name in text, feature.name


def test_what_counts_everybody_is_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    book = load(GROCERY)
    show(Console(width=160), book, groups_of(book), defaultdict(tuple))
    text = capsys.readouterr().out
    assert "tills  basket_line.amount, of everybody" in text
    assert "coupon_popular  coupon_redeemed, of an offer, by everybody, by coupon (the offer's id" in text
    assert "campaign_redeemed  coupon_redeemed, of a group of offers, by everybody, by campaign" in text
    assert "for each partition of the log, 4,000 kB at most" in text
    assert text.count(" in each partition of the log") == 9, "seven and two totals"
    told = described(capsys, GROCERY, "--only", "tills_sum_7d")
    assert told["memory_of_everybody_bytes"] == 4_000_000
    assert (told["features"][0]["of"], told["features"][0]["in"]) == ("global", "row")


def test_only_takes_a_feature_an_aggregate_or_a_pattern(capsys: pytest.CaptureFixture[str]) -> None:
    names = [each["name"] for each in described(capsys, GROCERY, "--only", "shop")["features"]]
    assert names == ["shop_count_3h", "shop_sum_3h"]
    names = [each["name"] for each in described(capsys, GROCERY, "--only", "spend_trend_*")["features"]]
    assert names == ["spend_trend_7d_28d", "spend_trend_28d_84d"]
    assert main(["describe", str(GROCERY), "--only", "spend_smu_7d"]) == 2
    assert "found 'spend_smu_7d'; did you mean spend_sum_7d?" in capsys.readouterr().err
    assert main(["describe", str(GROCERY), "--only", "xyz*"]) == 2
    assert "a pattern such as" in capsys.readouterr().err


def test_an_aggregate_added_to_one_file_shows_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "grocery"
    shutil.copytree(GROCERY, folder)
    file = folder / "playbook.toml"
    file.write_text(file.read_text() + MORE)
    before, after = described(capsys), described(capsys, folder)
    assert [each for each in after["features"] if each not in before["features"]] == [
        {
            "name": "night_sum_9d",
            "in": "row",
            "of": "customer",
            "source": "night",
            "function": "sum",
            "window": "9d",
            "half_life": None,
            "match": None,
            "unit": "USD",
            "meaning": "sum over 9d: an aggregate more",
            "default": 0.0,
            "freshness": "2d",
            "derived": None,
            "read_by": ["every model"],
        }
    ]
    # One cell of 16 bytes, its tiles of 13: a place and a sum.
    assert (after["memory_unbounded_bytes"] - before["memory_unbounded_bytes"] - 16) % 13 == 0


def test_faults_are_listed_instead(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", str(tmp_path)]) == 2
    assert "expected a file, found none" in capsys.readouterr().err
