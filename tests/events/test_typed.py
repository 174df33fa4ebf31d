"""Events checked many at a time are exactly what the slow, explaining path makes of each of them."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from events.codec import MAX_EVENT_BYTES, BadEvent, encode, encode_events, parse_cloudevent, render_cloudevent
from events.contract import Contracts, EventType, Raw
from events.envelope import Event
from events.typed import Typed

NOW = 1_500_000_000_000
AHEAD = 300_000
FIELDS = {
    "amount": "decimal",
    "tip": "decimal?",
    "pieces": "integer",
    "category": "category",
    "note": "text?",
    "online": "boolean?",
    "due": "time?",
}
CONTRACTS = Contracts(
    [
        EventType("purchase", "shop", "receipt", "at", {"card": "card", "app": "app"}, FIELDS),
        # One member in two places, and a name that no Python would take.
        EventType("visit", "content", None, None, {"app": "user id"}, {"page": "category"}),
        EventType("returned", "shop", "receipt", "at", {"card": "receipt"}, {"receipt": "category"}),
        EventType("linked", "loyalty", "id", None, {"card": "card", "app": "app"}, {}, True),
    ]
)
TYPED = Typed(CONTRACTS, few=1)
GOOD = {
    "receipt": "r-1",
    "at": "2017-07-14T02:00:00Z",
    "card": "c-1",
    "amount": 12.34,
    "pieces": 2,
    "category": "GROCERY",
}


def raw_event(kind: str = "purchase", data: dict[str, Any] | None = None, **changes: Any) -> bytes:
    event = {"specversion": "1.0", "id": "1", "type": kind, "source": "/s", "data": data or GOOD, **changes}
    return json.dumps({name: value for name, value in event.items() if value is not ...}).encode()


def explained(raw: bytes) -> Raw | None:
    try:
        return CONTRACTS.validate(parse_cloudevent(raw), NOW, AHEAD)
    except BadEvent:
        return None


def packed(values: list[bytes]) -> list[bytes | None]:
    """What the quick path makes of each, as bytes of the log with the first id in the customer's place."""
    columns = TYPED.take(values, NOW + AHEAD)
    assert columns.left == sorted(set(columns.left))
    owners = [":".join(owner) for owner in columns.owners]
    for column in columns.values:
        assert len(column) == len(values)
    done: list[bytes | None] = []
    for row in range(len(values)):
        if row in columns.left:
            done.append(None)
            continue
        one = [column[row : row + 1] for column in (columns.kinds, columns.ids, columns.times, owners)]
        done += encode_events(*one, columns.fields[row : row + 1])  # type: ignore[arg-type]
    return done


def packed_slowly(raw: bytes) -> bytes | None:
    event = explained(raw)
    if event is None or event.link:
        return None
    return encode(Event(event.type, event.id, event.time, ":".join(event.ids[0]), event.fields))


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
instants = st.sampled_from(
    [
        *("2017-07-14T02:00:00Z", "2017-07-14T02:00:00.007Z", "2017-07-14T02:00:00+02:00", "2017-07-14"),
        *("2017-02-29T00:00:00Z", "2016-02-29T23:59:59.999Z", "2017-13-01T00:00:00Z", "1969-12-31T23:59:59Z"),
        *("2017-07-14T24:00:00Z", "2017-07-14T02:60:00Z", "2017-07-14T02:00:60Z", "2017-07-14 02:00:00Z"),
        *("2017-07-14t02:00:00z", "2017-W28-5T02:00:00Z", "20170714T020000.000Z", "2017-07-00T02:00:00Z"),
        *("2017-00-14T02:00:00Z", "2099-01-01T00:00:00Z", "2101-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        *("2017-07-14T02:00:0\u0662Z", "2017-07-14T02:00:0:Z", NOW, NOW + AHEAD, NOW + AHEAD + 1, -1, 2**63),
    ]
)
numbers = st.sampled_from(
    [
        *(0, -0.0, 1, -7, 12.34, 0.00005, 1e10, 1e11, -1e11, 99_999_999_999.9999, 1e300, 2**53, 2**53 - 1),
        *(-(2**53), 2**63, 2**64, 10**30, 2.0, 2.5, True, "12.5", "+7", "1e5", "nan", "1_0", " 1", "x" * 70),
    ]
)
anything = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts),
    *(instants, numbers, st.just("x" * 257), st.just("ä" * 256), st.just([1]), st.just({}), st.just(...)),
)
members = st.sampled_from([*GOOD, "app", "user id", "page", "tip", "note", "online", "due", "extra"])
envelope = st.fixed_dictionaries(
    {},
    optional={
        "specversion": st.sampled_from(["1.0", "0.3", 1, None, ...]),
        "id": anything,
        "source": anything,
        "time": anything,
        "extra": anything,
    },
)


@st.composite
def events(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(["purchase", "purchase", "visit", "returned", "linked", "nonsense", 7]))
    base = {"purchase": GOOD, "visit": {"user id": "u", "page": "p"}}.get(str(kind), GOOD)
    data = base | draw(st.dictionaries(members, anything, max_size=2))
    data = {name: value for name, value in data.items() if value is not ...}
    changes = draw(envelope) if draw(st.booleans()) else {"time": "2017-07-14T02:00:00Z"}
    return raw_event(kind, data, **changes)  # type: ignore[arg-type]


@given(st.lists(events() | st.just(b"{nonsense"), min_size=1, max_size=6))
@example([raw_event(data=GOOD | {"due": 10**30})])
@example([raw_event(data=GOOD | {"at": NOW + AHEAD + 1})])
def test_what_is_taken_quickly_is_what_its_contract_makes_of_it(values: list[bytes]) -> None:
    for quick, value in zip(packed(values), values, strict=True):
        if quick is not None:
            assert quick == packed_slowly(value)


GOODS = [
    raw_event(),
    raw_event(data=GOOD | {"amount": 3, "tip": 0.5, "note": "ä", "online": False, "extra": [{}]}),
    raw_event(data=GOOD | {"amount": "12.5", "tip": None, "receipt": 7, "card": 2**40}),
    raw_event(data=GOOD | {"card": None, "app": "a", "at": NOW, "due": "2017-07-15T00:00:00+02:00"}),
    raw_event(data=GOOD | {"at": "2017-07-14T02:00:00.007Z", "category": ""}, time="2017-07-14T02:00:00Z"),
    raw_event("visit", {"user id": "u", "page": "p"}, time="2017-07-14T02:00:00Z"),
    raw_event("returned"),
]


@pytest.mark.parametrize("count", [1, 300])
def test_every_good_event_is_taken_quickly_among_whatever_stands_beside_it(count: int) -> None:
    strange = [raw_event(data=GOOD | {"pieces": 2.5}), b"", raw_event("linked"), raw_event("nonsense")]
    values = (GOODS + strange) * count
    found = packed(values)
    slow = [packed_slowly(value) for value in GOODS]
    assert None not in slow
    assert found == (slow + [None] * len(strange)) * count


def test_decimals_and_instants_of_many_rows_are_those_of_each() -> None:
    values = [
        raw_event(
            data=GOOD
            | {
                "amount": n / 7,
                "receipt": f"r{n}",
                "at": f"{1971 + n % 46}-{n % 12 + 1:02}-{n % 28 + 1:02}T0{n % 9}:00:{n % 60:02}Z",
            }
        )
        for n in range(1_000)
    ]
    assert packed(values) == [packed_slowly(value) for value in values]


def test_an_event_too_long_is_left_to_be_refused() -> None:
    long = raw_event(data=GOOD | {"note": "x" * MAX_EVENT_BYTES})
    assert packed([GOODS[0], long, GOODS[0]])[1] is None
    assert packed([GOODS[0], long, GOODS[0]])[0] is not None


def test_a_type_told_twice_is_left_to_be_explained() -> None:
    twice = GOODS[0][:-1] + b', "type": "visit"}'
    assert packed([twice]) == [None]


def test_a_few_events_are_left_to_be_taken_one_by_one() -> None:
    typed = Typed(CONTRACTS, few=3)
    assert typed.take(GOODS[:1] * 2, NOW).left == [0, 1]
    assert typed.take([*GOODS[:1] * 3, GOODS[-1]], NOW).left == [3]


def test_a_playbook_of_links_alone_or_of_what_cannot_be_leaves_everything() -> None:
    never = EventType(
        "odd", "shop", "n", None, {"card": "c"}, {"n": "boolean"}
    )  # an id that is true or false
    for contracts in (Contracts([never]), Contracts([CONTRACTS.types["linked"]]), Contracts([])):
        assert Typed(contracts, few=1).take([GOODS[0], b"{}"], NOW).left == [0, 1]
    assert Typed(CONTRACTS).take([], NOW).left == []


def test_marks_and_strangers_are_left() -> None:
    mark = render_cloudevent("kairos.mark", "m", "/s", {"before": "2017-07-14T02:00:00Z"})
    assert TYPED.take([mark, orjson.dumps([]), orjson.dumps({})], NOW).left == [0, 1, 2]
