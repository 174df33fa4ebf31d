"""A playbook cut down to fewer features, so that a benchmark says what each of them costs."""

import re
import shutil
from pathlib import Path

from events.contract import FILE
from features.declare import Playbook, load
from features.feature import expand

_BLOCK = re.compile(r"^(?=\[\[\w+\]\])", re.MULTILINE)
_HEAD = re.compile(r"\[\[(\w+)\]\]")
_NAME = re.compile(r'^name\s*=\s*"(\w+)"', re.MULTILINE)
_WORD = re.compile(r"\w+")


def visible(playbook: Playbook) -> int:
    """How many features the playbook declares: of customers, and of customers with offers."""
    return sum(len(expand(aggregate)) for aggregate in playbook.aggregates) + len(playbook.ratios)


def cut(folder: Path, features: int, to: Path) -> Playbook:
    """The playbook of `folder`; where it has more than `features`, one with so many at most, written to `to`.

    Whole aggregates are left out, evenly; so are ratios and triggers that read what is gone.
    """
    whole = load(folder)
    if visible(whole) <= features:
        return whole
    kept = _kept(whole, features)
    gone = {f.name for a in whole.aggregates if a.name not in kept for f in expand(a)}
    gone |= {ratio.name for ratio in whole.ratios if ratio.name not in kept}
    to.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / FILE, to / FILE)
    head, *blocks = _BLOCK.split((folder / "playbook.toml").read_text())
    (to / "playbook.toml").write_text(head + "".join(each for each in blocks if _name(each) in kept))
    triggers = folder / "triggers.toml"
    if triggers.exists():
        _, *blocks = _BLOCK.split(triggers.read_text())
        (to / "triggers.toml").write_text("".join(b for b in blocks if gone.isdisjoint(_WORD.findall(b))))
    return load(to)


def _kept(whole: Playbook, features: int) -> set[str]:
    """Names of the aggregates and ratios that stay, taken in an order that mixes early and late ones."""
    declared = [aggregate for aggregate in whole.aggregates if aggregate.declared]
    stride = next(n for n in (7, 5, 3, 2, 1) if n == 1 or len(declared) % n)
    left, kept = features, set()
    for step in range(len(declared)):
        aggregate = declared[step * stride % len(declared)]
        size = len(expand(aggregate))
        if size <= left:
            left -= size
            kept.add(aggregate.name)
    for ratio in whole.ratios:
        terms = ratio.derived[:2] if ratio.derived else ()
        stored = {feature.name for a in declared if a.name in kept for feature in expand(a)}
        if left and all(term in stored for term in terms):
            left -= 1
            kept.add(ratio.name)
    return kept


def _name(block: str) -> str:
    found = _NAME.search(block) if _HEAD.match(block) else None
    return found[1] if found else ""
