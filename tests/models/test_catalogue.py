from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from events.faults import PlaybookRefused
from features.declare import load as load_playbook
from features.offer_keys import offer_keys
from features.plan import compile_plan
from models.catalogue import load
from tests.models import cafe

TABLE = """
table = "catalogue.parquet"
[[placement]]
name = "board"
offers = "drinks"
limit = 3
"""


def refused(folder: Path, offers: str) -> list[str]:
    with pytest.raises(PlaybookRefused) as refusal:
        cafe.opened(folder, offers)
    return [str(fault) for fault in refusal.value.faults]


def test_reads_placements_offers_and_their_numbers(tmp_path: Path) -> None:
    plan, catalogue = cafe.opened(tmp_path)
    board = catalogue.assortment("board")
    assert [offer.id for offer in board.offers] == ["espresso", "latte", "mate", "oolong", "sencha"]
    assert board.columns.customer == ("sips_count_7d", "sips_sum_7d", "hour", "weekday")
    assert board.columns.offers == (
        "of_kind_count_7d",
        "told_count_ever",
        "offer.kind=coffee",
        "offer.kind=tea",
        "offer.strength",
        "days_left",
        "days_since_start",
    )
    np.testing.assert_array_equal(board.numbers[:, 0], [1, 1, 0, 0, 0])
    assert np.isnan(board.numbers[4, 2])
    asked = board.keys_of(np.array([4, 0]))
    expected = offer_keys(
        plan.tables.matches, {"kind": ["tea", "coffee"], "offer": ["sencha", "espresso"]}, 2
    )
    assert [array.tolist() for array in asked[1:]] == [array.tolist() for array in expected[1:]]
    assert board.keys_of(np.array([4, 0])) is asked, "laid out once, not at each decision"
    assert catalogue.plan == plan.digest
    assert catalogue.placements["whisper"].model == "board"


def test_version_follows_every_change_and_nothing_else(tmp_path: Path) -> None:
    versions = {
        cafe.opened(tmp_path / name, text)[1].version
        for name, text in {
            "same": cafe.OFFERS,
            "lines": "\n\n" + cafe.OFFERS,
            "rule": cafe.OFFERS.replace("< 5", "< 6"),
            "value": cafe.OFFERS.replace("value = 2.0", "value = 2.5"),
            "limit": cafe.OFFERS.replace("limit = 3", "limit = 2"),
        }.items()
    }
    assert len(versions) == 4


def test_clock_and_dates_are_local_and_open_ones_missing(tmp_path: Path) -> None:
    board = cafe.opened(tmp_path)[1].assortment("board")
    matrix = board.matrix(cafe.ROW, np.zeros((5, 2), dtype=np.float32), np.arange(5), cafe.NOON)
    np.testing.assert_allclose(matrix.customer, [3, 12.5, 17 + 13 / 60, 1], rtol=1e-6)
    np.testing.assert_allclose(matrix.offers[2, -2:], [0, np.nan])
    np.testing.assert_allclose(matrix.offers[1, -2:], [np.nan, 13 + 22.2222 / 24], rtol=1e-3)
    np.testing.assert_array_equal(matrix.dense()[:, :4], np.tile(matrix.customer.astype(float), (5, 1)))


def test_every_fault_is_said_at_once_with_its_line(tmp_path: Path) -> None:
    text = (
        cafe.OFFERS.replace('offers = "drinks"\nlimit = 1', 'offers = "drink"\nlimit = 0')
        .replace("sips_count_7d > 2", "sips_cuont_7d > 2")
        .replace('model = "board"', 'model = "bord"\ntemprature = 3')
        .replace('placements = ["board"]', 'placements = ["bored"]')
        .replace("silence = 0.1", "silence = -1")
        .replace("value = 2.0", 'value = "much"')
        .replace('context = { weather = "category" }', 'context = { weather = "catgory" }')
        .replace('id = "latte"', 'id = "mate"')
        .replace("valid_from = 2023-11-01T00:00:00Z", "valid_from = 2023-11-01")
        .replace('attribution = "day"', 'attribution = "fortnight"')
    )
    said = "\n".join(refused(tmp_path, text))
    for part in (
        "[[placement]].offers: expected a group that has offers, found drink; did you mean drinks?",
        "[[placement]].limit: expected a whole number from 1 to 1000, found 0",
        "sips_cuont_7d; did you mean sips_count_7d?",
        "[[placement]].model: expected a placement, found bord; did you mean board?",
        "[[placement]].temprature: expected a known key, found 'temprature'; did you mean temperature?",
        "[[rule]].placements: expected a placement, found bored; did you mean board?",
        "[[placement]].silence: expected a value above 0, found -1",
        "[[offer]].value: expected a number, found 'much'",
        "[[placement]].context.weather: expected one of number, category, boolean, found 'catgory'",
        "offers: expected each name once, found mate 2 times",
        "[[offer]].valid_from: expected a date-time with an offset",
        '[[placement]].attribution: expected "day", or a length such as "12h" or "7d", found \'fortnight\'',
        "line ",
    ):
        assert part in said, said


def test_a_rule_must_be_a_condition(tmp_path: Path) -> None:
    said = refused(tmp_path, cafe.OFFERS.replace('"told_count_ever < 5"', '"told_count_ever + 5"'))
    assert "expected a condition, found a number: told_count_ever + 5" in said[0]


def test_an_attribute_means_one_thing(tmp_path: Path) -> None:
    said = refused(tmp_path, cafe.OFFERS.replace("strength = 3", 'strength = "mild", name = "Blue"'))
    assert any("offer.strength: expected texts or numbers throughout, found both" in fault for fault in said)
    assert any("offer.name: expected an attribute of another name" in fault for fault in said)


def test_exploration_that_would_vanish_is_refused(tmp_path: Path) -> None:
    said = refused(tmp_path, cafe.OFFERS.replace("temperature = 0.5", "temperature = 0.01"))
    assert "at most 80 x temperature" in said[0]


def test_offers_come_from_a_table_too(tmp_path: Path) -> None:
    folder = cafe.write(tmp_path / "cafe", TABLE)
    table = pa.table(
        {
            "id": ["b", "a"],
            "name": ["Bee", None],
            "group": ["drinks", "drinks"],
            "value": [1, 2],
            "valid_from": pa.array([5, None], pa.int64()),
            "valid_to": pa.array([None, 9], pa.int64()),
            "kind": ["tea", None],
            "strength": [3, 4],
        }
    )
    pq.write_table(table, tmp_path / "mine.parquet")
    plan = compile_plan(load_playbook(folder))
    board = load(folder, plan, tmp_path / "mine.parquet").assortment("board")
    a, b = board.offers
    assert (a.id, a.name, a.valid_from, a.valid_to, dict(a.attributes)) == (
        "a",
        "a",
        None,
        9,
        {"strength": 4.0},
    )
    assert (b.id, b.value, b.valid_from, b.attributes["kind"]) == ("b", 1.0, 5, "tea")


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"id": ["a"]}, "expected the columns id, name, group, value, found no name, group, value in id"),
        (
            {"id": [""], "name": [""], "group": ["drinks"], "value": [1.0]},
            "row 0, id: expected a text, found ''",
        ),
        (
            {"id": ["a"], "name": [""], "group": ["drinks"], "value": [0.0]},
            "row 0, value: expected a number above 0, found 0.0",
        ),
        (
            {"id": ["a"], "name": [""], "group": ["drinks"], "value": [1], "valid_to": ["soon"]},
            "row 0, valid_to: expected ms since the epoch, or null, found 'soon'",
        ),
    ],
)
def test_faults_of_a_table_name_row_and_column(
    tmp_path: Path, columns: dict[str, list[object]], said: str
) -> None:
    folder = cafe.write(tmp_path / "cafe", TABLE)
    pq.write_table(pa.table(columns), tmp_path / "mine.parquet")
    with pytest.raises(PlaybookRefused) as refusal:
        load(folder, compile_plan(load_playbook(folder)), tmp_path / "mine.parquet")
    assert said in str(refusal.value)


def test_a_missing_table_says_how_to_name_one(tmp_path: Path) -> None:
    assert "KAIROS_CATALOGUE" in refused(tmp_path, TABLE)[0]


def test_grocery_placements_and_rules_compile(tmp_path: Path) -> None:
    folder = Path("playbooks/grocery")
    plan = compile_plan(load_playbook(folder))
    rows = {
        "id": ["campaign-13", "coupon-1-campaign-13"],
        "name": ["Campaign 13", "Coupon 1"],
        "group": ["campaign", "coupon"],
        "value": [1.0, 1.0],
        "campaign": ["campaign-13", "campaign-13"],
        "campaign_type": ["A", "A"],
        "department": ["GROCERY", "GROCERY"],
        "category": ["CHEESE", "CHEESE"],
        "coupons": [2.0, None],
        "products": [3.0, 1.0],
    }
    pq.write_table(pa.table(rows), tmp_path / "catalogue.parquet")
    catalogue = load(folder, plan, tmp_path / "catalogue.parquet")
    assert set(catalogue.placements) == {"feed", "coupon_book", "push"}
    assert [catalogue.placements[name].silence is None for name in ("feed", "coupon_book", "push")] == [
        True,
        True,
        False,
    ]
    live = {rule.name: rule.live for rule in catalogue.assortment("coupon_book").rules.rules}
    assert live == {"of_the_campaign_asked_for": False, "sent_to_household": True}
    assert catalogue.assortment("feed").rules.rules[0].live
