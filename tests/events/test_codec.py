"""Bytes to events and back, and what is said about bytes that are none."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.codec import (
    BadEvent,
    cloudevent_of,
    decode,
    encode,
    mark_before,
    parse_cloudevent,
    parse_time,
    render_cloudevent,
    render_mark,
    render_time,
    shown,
)
from events.envelope import Event, Tick

whole = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]))
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256)
field = st.none() | st.booleans() | whole | st.floats(allow_nan=False) | texts | st.binary()
instants = st.integers(0, 253_402_300_799_999)
json_values = st.recursive(
    st.none() | st.booleans() | whole | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


@given(
    st.builds(Event, type=texts, id=texts, time=whole, customer=texts, fields=st.dictionaries(texts, field))
)
def test_an_event_comes_back_from_its_bytes(event: Event) -> None:
    assert decode(encode(event)) == event


@given(whole)
def test_a_tick_comes_back_from_its_bytes(time: int) -> None:
    assert decode(encode(Tick(time))) == Tick(time)


@given(st.binary())
def test_damage_to_the_log_is_not_taken_for_a_record(raw: bytes) -> None:
    try:
        record = decode(raw)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return
    assert decode(encode(record)) == record


@given(names, names, names, st.dictionaries(texts, json_values), st.none() | instants)
def test_a_cloudevent_comes_back_from_its_json(
    kind: str, ident: str, source: str, data: dict[str, Any], time: int | None
) -> None:
    event = parse_cloudevent(render_cloudevent(kind, ident, source, data, time))
    assert (event.type, event.id, event.source, event.time) == (kind, ident, source, time)
    assert event.data == data


def some_event(**changes: Any) -> dict[str, Any]:
    event = {"specversion": "1.0", "id": "1", "type": "t", "source": "s", "data": {}}
    return {name: value for name, value in {**event, **changes}.items() if value is not ...}


attributes = st.sampled_from(["specversion", "id", "type", "source", "time", "data"])


@given(st.dictionaries(attributes, json_values | st.just("2017-01-01T00:00:00Z") | st.just({}), max_size=2))
def test_the_quick_parse_and_the_one_that_explains_agree(changes: dict[str, Any]) -> None:
    raw = orjson.dumps(some_event(**changes))
    results: list[object] = []
    for parse in (parse_cloudevent, lambda raw: cloudevent_of(orjson.loads(raw))):
        try:
            results.append(parse(raw))
        except BadEvent as error:
            results.append(str(error))
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("event", "reason", "place"),
    [
        (some_event(specversion=...), "not_cloudevent", "specversion"),
        (some_event(specversion="0.3"), "not_cloudevent", "specversion"),
        (some_event(id=...), "no_id", "id"),
        (some_event(id=""), "no_id", "id"),
        (some_event(id=7), "no_id", "id"),
        (some_event(id="x" * 257), "no_id", "id"),
        (some_event(type=...), "missing_field", "type"),
        (some_event(type=7), "wrong_type", "type"),
        (some_event(source=...), "missing_field", "source"),
        (some_event(data=...), "missing_field", "data"),
        (some_event(data=[]), "wrong_type", "data"),
        (some_event(data=..., data_base64="e30="), "wrong_type", "data_base64"),
        (some_event(time=1_483_246_800_000), "wrong_type", "time"),
        (some_event(time="yesterday"), "wrong_type", "time"),
        (some_event(time="2017-01-01T00:00:00"), "wrong_type", "time"),
        ([], "not_cloudevent", "event"),
        (None, "not_cloudevent", "event"),
    ],
)
def test_each_fault_of_a_cloudevent_has_its_reason_and_place(event: Any, reason: str, place: str) -> None:
    with pytest.raises(BadEvent) as caught:
        parse_cloudevent(json.dumps(event).encode())
    assert (caught.value.reason, caught.value.place) == (reason, place)
    assert caught.value.expected
    assert caught.value.found


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"purchase",
        b'{"specversion": NaN}',
        b'{"a": 1e999}',
        b"\xff\xfe",
        b'"\\ud800"',
        b'{"data": ' + b'{"a":' * 100_000,
        b"[" * 100_000,
    ],
)
def test_what_is_not_json_is_said_to_be_not_json(raw: bytes) -> None:
    with pytest.raises(BadEvent, match=r"^not_json: line 1 column \d+: expected JSON, found "):
        parse_cloudevent(raw)


def test_ten_megabytes_are_too_long_whatever_they_hold() -> None:
    with pytest.raises(
        BadEvent, match="too_long: event: expected at most 1000000 bytes, found 10000000 bytes"
    ):
        parse_cloudevent(b" " * 10_000_000)
    assert parse_cloudevent(render_cloudevent("t", "1", "s", {"a": "x" * 900_000})).type == "t"


@given(instants)
def test_an_instant_comes_back_from_its_text(ms: int) -> None:
    assert parse_time(render_time(ms)) == ms


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30)),
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
)
def test_an_instant_is_the_same_in_every_zone(naive: datetime, minutes: int) -> None:
    there = naive.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=minutes)))
    expected = (there - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert parse_time(there.isoformat()) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2017-01-01",
        "20170101T000000Z",
        "2017-01-01T00:00:00",
        "2017-13-01T00:00:00Z",
        "now",
        None,
        1.5,
        True,
        [],
    ],
)
def test_what_is_no_instant_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="expected an"):
        parse_time(text)


def test_a_mark_says_before_what() -> None:
    assert mark_before(parse_cloudevent(render_mark(1_483_246_800_000, "/shop"))) == 1_483_246_800_000
    for data, reason in (({}, "missing_field"), ({"before": "soon"}, "wrong_type")):
        with pytest.raises(BadEvent) as caught:
            mark_before(parse_cloudevent(render_cloudevent("kairos.mark", "1", "s", data)))
        assert (caught.value.reason, caught.value.place) == (reason, "data.before")


def test_a_value_in_an_error_is_short_and_never_wrong() -> None:
    assert len(shown("x" * 10_000_000)) == 60
    assert shown(float("nan")) == "nan"
    assert shown({"a": [1, None]}) == '{"a":[1,null]}'
    assert shown(b"\x00") == "b'\\x00'"
    assert shown(10**30) == "1" + "0" * 30
