"""events.toml: loaded whole, and every fault of it said at once with its line."""

from pathlib import Path

import pytest

from events.contract import EventType, load_contracts
from events.faults import PlaybookRefused


def write(folder: Path, text: str) -> Path:
    (folder / "events.toml").write_text(text)
    return folder


def test_contracts_are_what_the_file_declares(tmp_path: Path) -> None:
    contracts, faults = load_contracts(
        write(
            tmp_path,
            """
[purchase]
meaning = "A receipt was paid."
topic = "shop"
id = "receipt_no"
time = "purchased_at"
customer = { card = "card_token" }
fields = { amount = "decimal", note = "text?" }

[linked]
topic = "loyalty"
link = true
[linked.customer]
card = "card"
app = "app_user"
""",
        )
    )
    assert faults == []
    assert contracts.topics == ("loyalty", "shop")
    assert contracts.types["purchase"] == EventType(
        "purchase",
        "shop",
        "receipt_no",
        "purchased_at",
        {"card": "card_token"},
        {"amount": "decimal", "note": "text?"},
        meaning="A receipt was paid.",
    )
    assert contracts.types["linked"].link
    assert contracts.types["linked"].id_field is None


def test_every_fault_is_said_at_once_with_its_line_and_the_nearest_name(tmp_path: Path) -> None:
    contracts, faults = load_contracts(
        write(
            tmp_path,
            """[purchase]
topic = "shop"
tiem = "purchased_at"
customer = { card = "card_token" }
fields = { amount = "decimel", 2nd = "text", store = 7 }

[Visit]
topic = "behaviour"
customer = {}

[linked]
link = true
[linked.customer]
card = "card"

[good]
topic = "shop"
customer = { card = "card" }
""",
        )
    )
    assert set(contracts.types) == {"good"}, "what has no fault can be checked against"
    said = [str(fault).removeprefix(f"{tmp_path}/") for fault in faults]
    assert said == [
        'events.toml: line 3: [purchase].tiem: expected a known key, found "tiem"; did you mean time?',
        "events.toml: line 5: [purchase].fields.2nd: expected a name of small letters, digits and _, "
        'found "2nd"; rename it',
        "events.toml: line 5: [purchase].fields.store: expected a text, found 7",
        'events.toml: line 5: [purchase].fields.amount: expected a kind of field, found "decimel"; '
        "did you mean decimal?",
        "events.toml: line 7: [Visit]: expected a name of small letters, digits and _, "
        'found "Visit"; rename the type',
        "events.toml: line 8: [Visit].topic: expected a topic of the domain's own (letters, digits, . _ -), "
        'found "behaviour"; rename it',
        "events.toml: line 9: [Visit].customer: expected an id of the customer, found {}; "
        'name them: customer = { card = "card_token" }',
        "events.toml: line 11: [linked].topic: expected the topic that the event comes on, found null",
        "events.toml: line 13: [linked].customer: expected two or more ids of the customer, "
        'found {"card":"card"}; name them: customer = { card = "card_token" }',
    ]
    assert str(PlaybookRefused(faults)).splitlines()[0] == "9 faults in the playbook:"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected at least one type of event, found none"),
        ("[purchase\n", r"expected TOML, found Expected ']' at the end of a table declaration \(at line 1"),
        ("purchase = 7", r"line 1: \[purchase\]: expected a table \[purchase\], found 7"),
        ('[a]\ntopic=7\ncustomer="x"\nlink="y"', "expected true or false"),
    ],
)
def test_a_file_that_declares_nothing_sensible(tmp_path: Path, text: str, said: str) -> None:
    _, faults = load_contracts(write(tmp_path, text))
    with pytest.raises(PlaybookRefused, match=said):
        raise PlaybookRefused(faults)


def test_a_missing_file_and_one_that_is_no_text(tmp_path: Path) -> None:
    _, faults = load_contracts(tmp_path)
    assert "expected a file, found none" in str(faults[0])
    (tmp_path / "events.toml").write_bytes(b"\xff")
    _, faults = load_contracts(tmp_path)
    assert "expected TOML" in str(faults[0])


def test_the_grocery_playbook_has_no_faults() -> None:
    folder = Path(__file__).parents[2] / "playbooks" / "grocery"
    contracts, faults = load_contracts(folder)
    assert faults == []
    assert contracts.topics == ("loyalty", "marketing", "shop")
