"""docs/playbook.md tells every key, and its examples are a playbook that loads."""

import re
from pathlib import Path
from typing import Any

import pytest

from features.declare import features_of, load
from features.feature import FUNCTIONS, SHARED
from features.memory import COARSEST, MEMORY
from features.table import Table, render_size

PAGE = (Path(__file__).parent.parent / "docs" / "playbook.md").read_text()
GROCERY = Path(__file__).parent.parent / "playbooks" / "grocery"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    texts = {"playbook.toml": "", "events.toml": ""}
    for block in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL):
        texts["events.toml" if block.startswith("# events.toml") else "playbook.toml"] += block + "\n"
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_examples_are_a_playbook(folder: Path) -> None:
    row, cross = features_of(load(folder))
    names = {feature.name: feature for feature in (*row, *cross)}
    promised = re.findall(r"`((?:spend)_[a-z0-9_]+)`", PAGE)
    assert len(promised) >= 5
    assert set(promised) <= set(names), set(promised) - set(names)
    assert {feature.of for feature in names.values()} == {"customer", "pair", *SHARED}


def test_every_key_and_function_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[str] = set()
    has = Table.has

    def noted(self: Table, key: str) -> Any:
        if self.file.endswith("playbook.toml") and not self.name.endswith("default"):
            asked.add(key)
        return has(self, key)

    monkeypatch.setattr(Table, "has", noted)
    load(folder)
    load(GROCERY)
    assert len(asked) > 20
    for key in asked:
        assert re.search(rf"^{key} = ", PAGE, re.MULTILINE), key
    for function in FUNCTIONS:
        assert f"`{function}`" in PAGE, function
    assert f"(default {render_size(MEMORY)})" in PAGE
    assert f"up to {1 << COARSEST} times as wide" in PAGE
