"""docs/attributes.md tells what is so: its example is a playbook that loads, and it tells every key."""

import re
from pathlib import Path

import pytest

from features.attribute import KINDS, attribute_features
from features.declare import load
from features.table import Table
from tests.features.workshop import playbook

PAGE = (Path(__file__).parent.parent / "docs" / "attributes.md").read_text()


def test_the_example_is_a_playbook_and_every_key_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = playbook()
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (folder / "attributes.toml").write_text(example)
    asked: set[str] = set()
    has = Table.has

    def noted(table: Table, key: str) -> bool:
        if "attribute_table" in table.name:
            asked.add(key)
        return has(table, key)

    monkeypatch.setattr(Table, "has", noted)
    names = [feature.name for feature in attribute_features(load(folder))]
    assert names == ["household_size", "household_age", "household_income", "household_owner", "risk_score"]
    assert len(asked) > 15
    for key in asked:
        assert re.search(rf"\b{key}\b", PAGE), f"the page does not tell {key}"
    assert all(kind in PAGE for kind in KINDS)
