"""A playbook is checked whole: every fault at once, with its place and the nearest right name."""

from pathlib import Path

import pytest

from events.faults import PlaybookRefused
from features.declare import load
from features.plan import compile_plan
from tests.features.workshop import AGGREGATES, DAY, EVENTS, plan, playbook

GROCERY = Path(__file__).parents[2] / "playbooks" / "grocery"

ONE = """
[[aggregate]]
name = "paid"
event = "sale"
value = "amount"
functions = ["sum"]
windows = ["7d"]
unit = "USD"
meaning = "what was paid"
"""


def faults(aggregates: str = ONE, triggers: str = "") -> list[str]:
    with pytest.raises(PlaybookRefused) as caught:
        load(playbook(aggregates, triggers))
    return [str(fault) for fault in caught.value.faults]


def test_ten_planted_faults_are_found_in_one_pass() -> None:
    found = faults(
        """
latness = "1d"
[[aggregate]]
name = "Paid"
event = "sael"
functions = ["sum"]
windows = ["7 days"]
unit = "USD"
meaning = "m"

[[aggregate]]
name = "kinds"
event = "sale"
value = "kind"
where = "amuont > 3"
functions = ["summ", "count"]
by = "knd"
windows = ["7d"]
ever = "yes"
unit = "USD"
meaning = "m"
windoes = ["7d"]
""",
        """
[[trigger]]
name = "t"
meaning = "m"
on = "sale"
when = "paid_sum_8d > 3"
unless = { event = "call", within = "2 days" }
""",
    )
    text = "\n".join(found)
    for expected in (
        "a name of small letters, digits and _, a letter first, found 'Paid'",
        "did you mean sale?",
        "a number field, as sum needs one, found nothing",
        "found '7 days'",
        "did you mean sum?",
        "expected a number field of sale, found 'kind'",
        "character 1: expected a known name, found amuont; did you mean amount?",
        "did you mean kind?",
        "match: expected the offer's attribute",
        "ever: expected true or false",
        "did you mean windows?",
        "found paid_sum_8d",
        "found '2 days'",
        "did you mean lateness?",
    ):
        assert expected in text, text
    assert "playbook.toml: line 17: [[aggregate]] kinds.where, character 1" in text, text
    assert "triggers.toml: line 7: [[trigger]] t.unless.within" in text, text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('windows = ["7d"]', "", "expected windows, half_lives or ever for sum, found none"),
        ('windows = ["7d"]', 'windows = ["10s"]', 'lengths from "1m" to "400d", found 10s'),
        ('windows = ["7d"]', 'windows = ["500d"]', "found 500d"),
        ('windows = ["7d"]', "windows = [7]", "expected a list of texts"),
        ('windows = ["7d"]', f"windows = {[f'{n}d' for n in range(1, 11)]}", "expected at most 8, found 10"),
        ('functions = ["sum"]', "functions = []", "expected some of count, sum"),
        ('["sum"]\nwindows = ["7d"]', '["max"]\nhalf_lives = ["7d"]', "as max has no half-life"),
        ('unit = "USD"', "", "unit: expected a text, found nothing"),
        ('meaning = "what was paid"', 'meaning = " "', "expected a text"),
        ('unit = "USD"', 'unit = "USD"\nof = "ofer"', "did you mean offer?"),
        ('unit = "USD"', 'unit = "USD"\nmatch = "kind"', "as match is given"),
        ('unit = "USD"', 'unit = "USD"\ndefault = { summ = 1 }', "did you mean sum?"),
        ('unit = "USD"', 'unit = "USD"\ndefault = "none"', "expected a number, found 'none'"),
        (
            'unit = "USD"',
            'unit = "USD"\nwhere = "amount"',
            "expected a condition, true or false, found a number",
        ),
        ('unit = "USD"', 'unit = "USD"\nwhere = "amount >"', "found the end"),
        ("[[aggregate]]", "[[agregate]]", "did you mean aggregate?"),
    ],
)
def test_each_kind_of_fault_is_said(old: str, new: str, message: str) -> None:
    assert old in ONE
    found = faults(ONE.replace(old, new))
    assert any(message in fault for fault in found), found


@pytest.mark.parametrize(
    ("trigger", "message"),
    [
        ('on = "sael"', "did you mean sale?"),
        ('on = "sale"\nwhen = "event.amuont > 1"', "did you mean event.amount?"),
        ('on = "sale"\npatience = "5s"', "expected unless or wake beside it"),
        ('on = "sale"\nunless = { event = "cal", within = "1d" }', "did you mean call?"),
        ('on = "sale"\nunless = { event = "call" }', 'within: expected a length such as "14d"'),
        (
            'on = "sale"\nunless = { event = "call", within = "1d", same = ["kind"] }',
            "a field of both sale and call",
        ),
        ('on = "sale"\ncooldown = "soon"', "found 'soon'"),
    ],
)
def test_each_kind_of_fault_of_a_trigger_is_said(trigger: str, message: str) -> None:
    found = faults(ONE, f'[[trigger]]\nname = "t"\nmeaning = "m"\n{trigger}\n')
    assert any(message in fault for fault in found), found


def test_names_are_given_once() -> None:
    assert any("a name no other aggregate has" in fault for fault in faults(ONE + ONE))
    ratio = """
[[ratio]]
name = "paid_sum_7d"
numerator = "paid_sum_7d"
denominator = "paid_sum_7d"
unit = "x"
meaning = "m"
"""
    found = faults(ONE + ratio)
    assert any("ratio]] paid_sum_7d.name" in f and "paid_sum_7d, which paid has" in f for f in found), found


def test_missing_and_broken_files_are_faults_too(tmp_path: Path) -> None:
    with pytest.raises(PlaybookRefused, match="expected a file, found none") as caught:
        load(tmp_path)
    assert {Path(fault.file).name for fault in caught.value.faults} == {"playbook.toml", "events.toml"}
    (tmp_path / "playbook.toml").write_text("name = ")
    (tmp_path / "events.toml").write_text(EVENTS)
    (tmp_path / "triggers.toml").write_text(
        '[[trigger]]\nname = "t"\non = "call"\nwhen = "paid_sum_7d > 1"\n'
    )
    with pytest.raises(PlaybookRefused, match="expected a TOML file") as caught:
        load(tmp_path)
    # What cannot be read is one fault: what other files say of it may well be right.
    assert len(caught.value.faults) == 1


def test_the_grocery_playbook_is_what_a_grocer_needs() -> None:
    plan = compile_plan(load(GROCERY))
    # What the warehouse knows (attributes.toml) joins the row beside them.
    count = len(plan.customer_features) + len(plan.cross_features)
    live = [f for f in (*plan.customer_features, *plan.cross_features) if f.function != "attribute"]
    assert len(live) == 328 + 2 * 12, "two more of each trigger"
    assert sum(feature.match is None for feature in live) >= 250
    assert len(plan.playbook.triggers) == 12
    assert {"lapsing", "new_department", "price_jump", "stock_up_missed"} <= {
        trigger.name for trigger in plan.playbook.triggers
    }
    assert plan.playbook.timezone == "America/New_York"
    # A redemption is dated at midnight and reported after its day, which once a year has 25 hours.
    assert plan.lateness_ms == 2 * DAY
    assert {feature.match for feature in plan.cross_features} == {
        "campaign",
        "campaign_type",
        "department",
        "category",
        "offer",
    }
    assert all(
        feature.meaning and feature.unit for feature in (*plan.customer_features, *plan.cross_features)
    )
    names = [feature.name for feature in (*plan.customer_features, *plan.cross_features)]
    assert len(set(names)) == count
    assert {"spend_sum_7d", "spend_sum_hl14d", "visit_since_last", "spend_by_department_sum_28d"} <= set(
        names
    )


def test_the_digest_changes_with_what_is_computed_and_not_with_words() -> None:
    same = plan(AGGREGATES.replace("what was paid", "spent"))
    assert same.digest == plan().digest
    assert len(same.digest) == 16
    for old, new in (
        ("28d", "29d"),
        ("pieces > 2", "pieces > 3"),
        ('functions = ["count"]', 'functions = ["since_last"]'),
    ):
        assert plan(AGGREGATES.replace(old, new)).digest != plan().digest
    assert plan(lateness="2d").digest != plan().digest
