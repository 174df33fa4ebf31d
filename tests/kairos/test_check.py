"""`python -m kairos check`: one pass over a playbook finds every fault in every file of it."""

from pathlib import Path

import pytest

from kairos.__main__ import main

EVENTS = """\
[sale]
topic = "shop"
id = "no"
time = "at"
customer = { card = "card" }
fields = { amount = "decimal", kind = "category", pieces = "integr" }

[visit]
topic = "web"
customer = { card = "card" }
fields = { page = "category" }
"""

PLAYBOOK = """\
name = "faulty"
timezone = "Mars/Olympus"
memory = "64kb"

[[aggregate]]
name = "views"
event = "vist"
functions = ["count"]
windows = ["7d"]
unit = "pages"
meaning = "pages seen"

[[aggregate]]
name = "pages"
event = "visit"
functions = ["count", "since_lst"]
windows = ["7d", "28d"]
trends = [["7d", "29d"]]
unit = "pages"
meaning = "pages seen"

[[aggregate]]
name = "by_page"
event = "visit"
functions = ["share"]
windows = ["7d", "1 week"]
by = "pages"
match = "page"
unit = "pages"
meaning = "pages seen"

[[aggregate]]
name = "long"
event = "visit"
where = "page > 3"
functions = ["count"]
windows = ["7d"]
unit = "pages"

[[ratio]]
name = "busy"
numerator = "pages_cuont_7d"
denominator = "pages_count_28d"
unit = "of 1"
meaning = "how much of the month's reading was this week"
"""

TRIGGERS = """\
[[trigger]]
name = "reads"
meaning = "reads a lot"
on = "visit"
when = "pages_count_8d > 3"
"""

OFFERS = """\
[[placement]]
name = "feed"
offers = "article"
limit = 0

[[rule]]
name = "readers"
when = "pages_cont_7d > 1"
reason = "For readers only."

[[offer]]
id = "one"
group = "article"
"""

# What is wrong: file, line, what was expected, what was found, the nearest right name.
PLANTED = {
    "a kind of field that is none": (
        'events.toml: line 6: [sale].fields.pieces: expected a kind of field, found "integr"; '
        "did you mean integer?"
    ),
    "a time zone that is none": (
        "playbook.toml: line 2: timezone: expected a time zone such as America/New_York, found 'Mars/Olympus'"
    ),
    "a size that is none": (
        'playbook.toml: line 3: memory: expected a size from "4kB" to "1MB", found \'64kb\''
    ),
    "an event nobody declared": (
        "playbook.toml: line 7: [[aggregate]] views.event: expected a type of event of events.toml, "
        "found 'vist'; did you mean visit?"
    ),
    "a function that is none": (
        "playbook.toml: line 16: [[aggregate]] pages.functions: expected some of count, sum, mean, min, max, "
        "last, since_last, since_first, distinct, share, p1 to p99, found 'since_lst'; "
        "did you mean since_last?"
    ),
    "a trend of a window that is not kept": (
        "playbook.toml: line 18: [[aggregate]] pages.trends: expected lengths that are among windows, "
        "found 29d; did you mean 28d?"
    ),
    "a length of time that is none": (
        'playbook.toml: line 26: [[aggregate]] by_page.windows: expected a length such as "30s", "5m", "3h" '
        "or \"28d\", found '1 week'"
    ),
    "a field the event does not have": (
        "playbook.toml: line 27: [[aggregate]] by_page.by: expected a category field of visit, "
        "found 'pages'; did you mean page?"
    ),
    "a condition that does not type": (
        "playbook.toml: line 35: [[aggregate]] long.where, character 1: expected a number to compare by "
        "size, found page, a category"
    ),
    "a meaning nobody wrote": (
        "playbook.toml: line 32: [[aggregate]] long.meaning: expected a text, found nothing; "
        'write meaning = "..."'
    ),
    "a ratio of a feature that is none": (
        "playbook.toml: line 42: [[ratio]] busy.numerator: expected the name of a feature, "
        "found 'pages_cuont_7d'; did you mean pages_count_7d?"
    ),
    "a trigger on a feature that is none": (
        "triggers.toml: line 5: [[trigger]] reads.when, character 1: expected a known name, "
        "found pages_count_8d; did you mean pages_count_28d?"
    ),
    "a limit of nothing": (
        "offers.toml: line 4: [[placement]].limit: expected a whole number from 1 to 1000, found 0"
    ),
    "a rule on a feature that is none": (
        "offers.toml: line 8: [[rule]].when (placement feed), character 1: expected a known name, "
        "found pages_cont_7d; did you mean pages_count_7d?"
    ),
    "a family whose key no offer picks": (
        "offers.toml: offers: expected an attribute 'page', which picks the key of by_page_share_7d, "
        "found no offer that has it"
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (
        ("events", EVENTS),
        ("playbook", PLAYBOOK),
        ("triggers", TRIGGERS),
        ("offers", OFFERS),
    ):
        (tmp_path / f"{name}.toml").write_text(text)
    return tmp_path


def test_fifteen_planted_faults_of_four_files_are_found_in_one_pass(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(folder)]) == 2
    said = capsys.readouterr().err
    print(said)
    missed = {what: line for what, line in PLANTED.items() if line not in said}
    assert not missed, missed
    # Nothing is said that was not planted: one fault has one line.
    # (Beneath a fault of a condition stand the condition and a caret.)
    assert sum(": expected " in line for line in said.splitlines()) == len(PLANTED), said


@pytest.mark.parametrize("name", ["wide", "world"])
def test_a_playbook_without_faults_says_what_it_holds(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", f"playbooks/{name}"]) == 0
    assert "no faults" in capsys.readouterr().out
