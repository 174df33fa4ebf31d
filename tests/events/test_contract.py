"""An event against its contract: what is taken in, and what is refused, where and why."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.codec import BadEvent, parse_cloudevent, render_cloudevent, render_time
from events.contract import FARTHEST, Contracts, EventType, Raw
from events.fields import KINDS, MAX_DECIMAL, MAX_WHOLE, SCALE

NOW = 1_500_000_000_000
DAY = 86_400_000

CONTRACTS = Contracts(
    [
        EventType(
            "purchase",
            "shop",
            "receipt_no",
            "purchased_at",
            {"card": "card_token", "app": "app_user"},
            {
                "amount": "decimal",
                "pieces": "integer",
                "category": "category",
                "note": "text?",
                "online": "boolean?",
                "due": "time?",
            },
        ),
        EventType("visit", "content", None, None, {"app": "user"}, {}),
        EventType(
            "linked", "loyalty", "id", None, {"card": "card", "app": "app", "phone": "phone"}, {}, True
        ),
    ]
)
GOOD = {
    "receipt_no": "r-1",
    "purchased_at": "2017-07-14T02:00:00Z",
    "card_token": "c-1",
    "amount": 12.34,
    "pieces": 2,
    "category": "GROCERY",
}


def purchase(kind: str = "purchase", **changes: Any) -> Raw:
    data = {name: value for name, value in {**GOOD, **changes}.items() if value is not ...}
    return CONTRACTS.validate(parse_cloudevent(render_cloudevent(kind, "1", "/shop", data)), NOW)


def test_a_good_event_is_what_its_contract_says() -> None:
    assert purchase(extra="ignored", app_user=7, online=True, due="2017-07-15T00:00:00+02:00") == Raw(
        "purchase",
        "r-1",
        1_499_997_600_000,
        [("card", "c-1"), ("app", "7")],
        {
            "amount": 123_400,
            "pieces": 2,
            "category": "GROCERY",
            "note": None,
            "online": True,
            "due": 1_500_069_600_000,
        },
        False,
    )


@pytest.mark.parametrize(
    ("changes", "reason", "place"),
    [
        ({"receipt_no": ...}, "no_id", "data.receipt_no"),
        ({"receipt_no": ""}, "no_id", "data.receipt_no"),
        ({"receipt_no": True}, "no_id", "data.receipt_no"),
        ({"receipt_no": "x" * 257}, "no_id", "data.receipt_no"),
        ({"card_token": ...}, "no_customer", "data"),
        ({"card_token": None}, "no_customer", "data"),
        ({"card_token": ""}, "no_customer", "data.card_token"),
        ({"card_token": 1.5}, "no_customer", "data.card_token"),
        ({"app_user": {"id": 1}}, "no_customer", "data.app_user"),
        ({"purchased_at": ...}, "missing_field", "data.purchased_at"),
        ({"purchased_at": "today"}, "wrong_type", "data.purchased_at"),
        ({"purchased_at": "2017-07-14T02:00:00"}, "wrong_type", "data.purchased_at"),
        ({"purchased_at": -1}, "out_of_range", "data.purchased_at"),
        ({"purchased_at": "2099-01-01T00:00:00Z"}, "future", "data.purchased_at"),
        ({"purchased_at": 2**62}, "future", "data.purchased_at"),
        ({"amount": ...}, "missing_field", "data.amount"),
        ({"amount": None}, "missing_field", "data.amount"),
        ({"amount": "much"}, "wrong_type", "data.amount"),
        ({"amount": "nan"}, "wrong_type", "data.amount"),
        ({"amount": True}, "wrong_type", "data.amount"),
        ({"amount": [1]}, "wrong_type", "data.amount"),
        ({"amount": 1e300}, "out_of_range", "data.amount"),
        ({"pieces": 1.5}, "wrong_type", "data.pieces"),
        ({"pieces": "2"}, "wrong_type", "data.pieces"),
        ({"pieces": False}, "wrong_type", "data.pieces"),
        ({"pieces": 2**60}, "out_of_range", "data.pieces"),
        ({"category": 7}, "wrong_type", "data.category"),
        ({"category": "x" * 257}, "out_of_range", "data.category"),
        ({"note": 7}, "wrong_type", "data.note"),
        ({"online": "yes"}, "wrong_type", "data.online"),
        ({"online": 1}, "wrong_type", "data.online"),
        ({"due": "soon"}, "wrong_type", "data.due"),
        ({"due": 2**60}, "out_of_range", "data.due"),
    ],
)
def test_each_kind_of_bad_event_gives_its_reason_and_place(
    changes: dict[str, Any], reason: str, place: str
) -> None:
    with pytest.raises(BadEvent) as caught:
        purchase(**changes)
    assert (caught.value.reason, caught.value.place) == (reason, place)
    assert caught.value.expected
    assert caught.value.found


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("member", ["amount", "pieces"])
def test_no_number_is_infinite_or_not_one(member: str, value: float) -> None:
    event = parse_cloudevent(render_cloudevent("purchase", "1", "/shop", GOOD))
    event.data[member] = value  # JSON cannot say it, a caller in Python can
    with pytest.raises(BadEvent) as caught:
        CONTRACTS.validate(event, NOW)
    assert caught.value.place == f"data.{member}"
    assert caught.value.found == repr(value)


def test_an_unknown_type_is_told_the_nearest_known_one() -> None:
    with pytest.raises(BadEvent, match=r"unknown_type: type: .*did you mean purchase\?.*found \"purchaes\""):
        purchase("purchaes")


def test_an_event_may_be_five_minutes_ahead_of_the_clock_and_no_more() -> None:
    assert purchase(purchased_at=NOW + 300_000).time == NOW + 300_000
    with pytest.raises(
        BadEvent, match=r"future: data\.purchased_at: expected an instant up to 2017-07-14T02:45:00Z"
    ):
        purchase(purchased_at=NOW + 300_001)


def test_without_a_clock_only_the_absurd_is_the_future() -> None:
    def at(time: int) -> int:
        event = parse_cloudevent(render_cloudevent("visit", "1", "/content", {"user": "u"}, time))
        return CONTRACTS.validate(event, None).time

    assert at(NOW + 365 * DAY) == NOW + 365 * DAY
    assert render_time(FARTHEST) == "2069-01-01T00:00:00Z"
    with pytest.raises(BadEvent, match="future"):
        at(FARTHEST)


def test_without_fields_of_its_own_the_cloudevents_id_within_its_source_and_time_count() -> None:
    event = parse_cloudevent(render_cloudevent("visit", "17", "/content", {"user": "u"}, NOW))
    assert CONTRACTS.validate(event, NOW) == Raw("visit", "/content 17", NOW, [("app", "u")], {}, False)
    timeless = parse_cloudevent(render_cloudevent("visit", "17", "/content", {"user": "u"}))
    with pytest.raises(BadEvent) as caught:
        CONTRACTS.validate(timeless, NOW)
    assert (caught.value.reason, caught.value.place) == ("missing_field", "time")


def test_a_link_names_two_or_more_ids() -> None:
    def link(**data: str) -> Raw:
        return CONTRACTS.validate(
            parse_cloudevent(render_cloudevent("linked", "1", "/loyalty", {"id": "1", **data}, NOW)), NOW
        )

    raw = link(phone="p", card="c")
    assert (raw.link, raw.ids) == (True, [("card", "c"), ("phone", "p")])
    with pytest.raises(BadEvent, match=r"no_customer: data: expected two or more of .*, found only card"):
        link(card="c")
    with pytest.raises(BadEvent, match="found none"):
        link()


@given(st.integers(-(MAX_DECIMAL) + 1, MAX_DECIMAL - 1), st.integers(0, SCALE - 1))
def test_a_decimal_is_kept_exactly_to_four_places(whole: int, ten_thousandths: int) -> None:
    text = f"{whole}.{ten_thousandths:04d}"
    expected = whole * SCALE + (ten_thousandths if whole >= 0 else -ten_thousandths)
    if whole or ten_thousandths:
        assert KINDS["decimal"].convert("amount", float(text)) == expected
        assert KINDS["decimal"].convert("amount", text) == expected


@given(
    st.dictionaries(
        st.sampled_from(sorted(GOOD)), st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    )
)
def test_whatever_comes_is_taken_in_or_refused_nothing_else(changes: dict[str, Any]) -> None:
    event = parse_cloudevent(render_cloudevent("purchase", "1", "/shop", GOOD))
    event.data.update(changes)
    with contextlib.suppress(BadEvent):
        raw = CONTRACTS.validate(event, NOW)
        assert all(abs(value) < MAX_WHOLE for value in raw.fields.values() if isinstance(value, int))
