"""Documents say what is so: the functions and verbs they name exist, links lead somewhere."""

import importlib
import re
from pathlib import Path

import pytest

from kairos.settings import Settings

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
ROOMS = "events|features|models|experiments|stream|serving|kairos"
NAMED = re.compile(rf"`((?:{ROOMS})(?:\.\w+)+)(?:\(\))?`")
VERB = re.compile(r"python -m kairos ([a-z][a-z-]*)")
TARGET = re.compile(r"`?make ([a-z]+)`?")
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#]+)")


def resolve(name: str) -> object:
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            thing: object = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            thing = getattr(thing, part)
        return thing
    raise AttributeError(name)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_names_exist(page: Path) -> None:
    for name in NAMED.findall(page.read_text()):
        if not name.endswith((".py", ".md", ".toml", ".ipynb")):
            resolve(name)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_verbs_and_targets_exist(page: Path) -> None:
    text = page.read_text()
    roof = importlib.import_module("kairos.__main__")
    for verb in VERB.findall(text):
        assert callable(getattr(roof, verb.replace("-", "_"), None)), f"{page.name} names the verb {verb}"
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in re.findall(r"`make [a-z]+`|^make [a-z]+", text, re.MULTILINE):
        found = TARGET.search(line)
        assert found is not None
        assert found[1] in targets, f"{page.name} names make {found[1]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_the_readme_walks_both_lives() -> None:
    text = (ROOT / "README.md").read_text()
    for heading in ("## The life of an event", "## The life of a decision"):
        walk = text.split(heading, 1)[1].split("\n## ", 1)[0]
        assert len(NAMED.findall(walk)) >= 6, f"{heading} names the functions it passes through"


def test_requirements_are_pinned_with_hashes_and_without_addresses() -> None:
    text = (ROOT / "requirements.txt").read_text()
    assert "://" not in text
    entries = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert len(entries) > 100
    assert all("==" in entry and entry.rstrip().endswith("\\") for entry in entries), "pinned, hashes follow"


def test_operations_lists_every_setting() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    listed = set(re.findall(r"^\| `KAIROS_(\w+)`", text, re.MULTILINE))
    assert listed == {name.upper() for name in Settings.model_fields}
