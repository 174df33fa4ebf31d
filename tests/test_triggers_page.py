"""docs/triggers.md: its examples are triggers that load and compile, its bounds are those of the code."""

import re
import shutil
from pathlib import Path

import orjson
import pytest

from features.declare import load
from features.declare_trigger import MOST_NTH, MOST_PAYLOAD
from features.declare_trigger import __file__ as reading
from features.kernel.trigger_layout import MOST_HELD
from features.plan import Plan, compile_plan
from features.trigger import WAKES, Trigger
from features.trigger_features import NTH_KEYS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "triggers.md").read_text()
FIRST = (ROOT / "docs" / "first-trigger.md").read_text()


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("page") / "superapp"
    shutil.copytree(ROOT / "playbooks" / "superapp", folder)
    blocks = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) >= 12
    blocks += re.findall(r"```toml\n(.*?)```", FIRST, re.DOTALL)
    (folder / "triggers.toml").write_text("\n".join(blocks))
    return compile_plan(load(folder))


def test_every_example_compiles(plan: Plan) -> None:
    triggers = plan.playbook.triggers
    assert len(triggers) == len(re.findall(r"^\[\[trigger\]\]", PAGE + FIRST, re.MULTILINE))
    absences = {each.name for each in triggers if each.unless is not None}
    assert absences == {"basket_left", "basket_forgotten", "my_basket_left"}


def test_every_key_has_an_example(plan: Plan) -> None:
    triggers, bare = plan.playbook.triggers, Trigger("", "", ())
    for key in set(Trigger._fields) - {"patience_ms"}:
        assert any(getattr(each, key) != getattr(bare, key) for each in triggers), key
    for key in set(re.findall(r'table\.\w+\(\s*"(\w+)"', Path(reading).read_text())) - {"name", "meaning"}:
        assert f"`{key}`" in PAGE or f"{key} = " in PAGE, key


def test_the_bounds_are_those_of_the_code() -> None:
    assert f"(`unless`, `wake`) | {WAKES}, or" in PAGE
    assert f"a trigger and customer | {MOST_HELD}, the newest" in PAGE
    assert f"values of `each` | {NTH_KEYS} a customer" in PAGE
    assert f"entries of `payload` | {MOST_PAYLOAD} |" in PAGE
    assert f"`nth` | {MOST_NTH:,} |" in PAGE


def test_the_message_is_one() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    told = orjson.loads(text)
    assert (told["type"], told["data"]["trigger"]) == ("kairos.trigger", "basket_left")
    assert set(told["data"]) == {"trigger", "customer", "time", "cause", "payload"}
