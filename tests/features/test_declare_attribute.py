"""Batch tables are declared in attributes.toml; every fault of it is said at once, with its line."""

import math
from pathlib import Path

import pytest

from events.faults import PlaybookRefused
from features.attribute import attribute_features, row_shape
from features.declare import load
from tests.features.workshop import DAY, playbook

ATTRIBUTES = """
[[attribute_table]]
name = "household"
source = { parquet = "households.parquet" }
key = { card = "card_no" }
as_of = "known_at"
freshness = "90d"
purpose = "offers that fit the household"
columns = [
  { name = "age", kind = "category", meaning = "age of the head", categories = ["19-24", "25-34", "65+"] },
  { name = "size", column = "persons", kind = "integer", unit = "persons", meaning = "persons", default = 2 },
  { name = "income", kind = "decimal", unit = "USD", meaning = "income a year", default = 0.5 },
  { name = "owner", kind = "boolean", meaning = "whether they own their home", default = true },
]
"""


def with_attributes(text: str = ATTRIBUTES) -> Path:
    folder = playbook()
    (folder / "attributes.toml").write_text(text)
    return folder


def faults(text: str) -> list[str]:
    with pytest.raises(PlaybookRefused) as caught:
        load(with_attributes(text))
    return [str(fault) for fault in caught.value.faults]


def test_a_table_becomes_features_behind_the_others() -> None:
    (table,) = load(with_attributes()).attributes
    assert (table.id_kind, table.key, table.as_of, table.freshness_ms) == (
        "card",
        "card_no",
        "known_at",
        90 * DAY,
    )
    features = attribute_features(load(with_attributes()))
    names = [feature.name for feature in features]
    assert names == ["household_age", "household_size", "household_income", "household_owner"]
    assert [feature.unit for feature in features] == ["category", "persons", "USD", "yes or no"]
    assert {feature.function for feature in features} == {"attribute"}
    defaults = [feature.default for feature in features]
    assert math.isnan(defaults[0])
    assert defaults[1:] == [2, 0.5, 1]
    assert load(playbook()).attributes == (), "a playbook may do without"


def test_ten_faults_are_said_in_one_pass() -> None:
    found = faults(
        """
[[attribute_table]]
name = "household"
source = { parquet = "h.parquet", sql = "SELECT 1" }
key = { crad = "card_no" }
freshnes = "90d"
columns = [
  { name = "age", kind = "category", meaning = "age of the head" },
  { name = "size", kind = "integr", unit = "persons", meaning = "persons" },
  { name = "size", kind = "integer", unit = "persons", meaning = "persons", default = 2.5 },
  { name = "paid_sum_7d", kind = "decimal", unit = "USD" },
]

[[attribute_table]]
name = "customer_state"
source = { sql = "SELECT * FROM t", connection = "postgresql://me:secret@host/db" }
key = { card = "a", customer = "b" }
as_of = "t"
freshness = "soon"
purpose = " "
columns = []
"""
    )
    text = "\n".join(found)
    for expected in (
        "line 4: [[attribute_table]] household.source.connection: expected the environment variable",
        "household.source: expected either parquet or sql, found both",
        "household.key.crad: expected a kind of id of events.toml, or customer, found 'crad'; ",
        "as_of: expected a text, found nothing",
        "found 'freshnes'; did you mean freshness?",
        'freshness: expected how old a row may be, such as "90d", found nothing',
        "purpose: expected a text, found nothing",
        "line 8: [[attribute_table]] household.columns[0].categories: expected the categories in order",
        "line 9: [[attribute_table]] household.columns[1].kind: expected one of decimal, integer, category, "
        "boolean, found 'integr'; did you mean integer?",
        "line 10: [[attribute_table]] household.columns[2].default: expected a whole number, found 2.5",
        "line 11: [[attribute_table]] household.columns[3].name: expected a name of its own",
        "columns[3].meaning: expected a text, found nothing",
        "customer_state.name: expected a name that no other table has",
        "one of Kairos's own, found another text; an address holds a password",
        "customer_state.key: expected one column, found 2",
        "customer_state.purpose: expected a text",
        "customer_state.columns: expected tables",
        "found 'soon'",
    ):
        assert expected in text, text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"19-24", "25-34", "65+"]', '"19-24"], default = "20-24"', "one of the categories, found '20-24'"),
        ("default = true", "default = 1", "default: expected true or false, found 1"),
        (
            'meaning = "persons", default',
            'meaning = "persons", categories = ["a"], default',
            "as the kind is integer",
        ),
        ('{ parquet = "households.parquet" }', '"households.parquet"', "source: expected a table"),
        ('{ parquet = "households.parquet" }', '{ parquet = "h", connection = "DB" }', "none beside parquet"),
        (
            '{ parquet = "households.parquet" }',
            '{ sql = "SELECT 1", connection = "KAIROS_X" }',
            "not one of Kairos's",
        ),
        ("[[attribute_table]]", "[[attribute_tables]]", "did you mean attribute_table?"),
        ('name = "age"', 'name = "household_size"', "which is column household_size of household's"),
    ],
)
def test_each_kind_of_fault_is_said(old: str, new: str, message: str) -> None:
    assert old in ATTRIBUTES
    found = faults(ATTRIBUTES.replace(old, new, 1))
    assert any(message in fault for fault in found), found


def test_two_tables_share_no_name() -> None:
    other = ATTRIBUTES.replace('"household"', '"person"')
    assert any("which is column age of household's" in fault for fault in faults(ATTRIBUTES + other))
    assert any("a name that no other table has" in fault for fault in faults(ATTRIBUTES + ATTRIBUTES))


def test_the_shape_of_the_row_changes_with_its_numbers_and_not_with_words() -> None:
    def shape(old: str, new: str) -> list[object]:
        assert old in ATTRIBUTES
        return row_shape(load(with_attributes(ATTRIBUTES.replace(old, new, 1))))

    before = row_shape(load(with_attributes()))
    for old, new in (
        ('purpose = "offers', 'purpose = "gifts'),
        ('"households.parquet"', '"h.parquet"'),
        ('card = "card_no"', 'card = "number"'),
        ('meaning = "persons"', 'meaning = "people"'),
    ):
        assert shape(old, new) == before
    for old, new in (
        ('"90d"', '"91d"'),
        ('"19-24", "25-34"', '"25-34", "19-24"'),
        ("default = 2", "default = 3"),
        ('name = "owner"', 'name = "owns"'),
    ):
        assert shape(old, new) != before
