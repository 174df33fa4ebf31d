"""What is bad becomes a dead letter or is dealt with, is counted, and everything else goes on."""

import json
from collections.abc import Iterator
from itertools import repeat
from typing import Any

import msgspec
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from events import dead_letters
from events.bus import Message
from events.codec import decode
from events.contract import Contracts
from events.dead_letters import DeadLetter
from events.envelope import Tick
from events.identity import Identities, is_customer, mint
from events.typed import FEW
from kairos.local import Server
from models.catalogue import Catalogue
from models.record import unpack
from stream.admission import Admission
from stream.clock import SourceClock
from stream.counters import Counters
from stream.intake_journal import Recalled
from stream.repeats import REMEMBERED, Repeats
from tests.stream.kiosk import (
    HOUR,
    MONDAY,
    PARTITIONS,
    decision_event,
    joined,
    mark,
    outcome,
    poll,
    purchase,
)
from tests.stream.test_admission import NOW, Desk, all_marked, events_of

MANY = 5 * FEW  # so many are taken together, a few one by one


@pytest.fixture
def desk(contracts: Contracts) -> Desk:
    return Desk(contracts)


def letters_of(messages: list[Message]) -> list[DeadLetter]:
    return [dead_letters.decode(each.value) for each in messages if each.topic == "dead-letters"]


def written(**changes: str) -> bytes:
    """A purchase whose members are the given JSON, as it stands."""
    members = {"receipt": '"1"', "bought_at": str(MONDAY), "card": '"c"', "amount": "1", "kind": '"soup"'}
    data = ", ".join(f'"{name}": {text}' for name, text in (members | changes).items())
    return b'{"specversion": "1.0", "id": "1", "type": "purchase", "source": "till", "data": {%b}}' % (
        data.encode()
    )


def counted(desk: Desk) -> dict[str, int]:
    prefix = "dead_letters."
    values = desk.counters.values
    by_reason = {name.removeprefix(prefix): n for name, n in values.items() if name.startswith(prefix)}
    assert values.get("dead_letters", 0) == sum(by_reason.values())
    return by_reason


HOSTILE = {
    "a NaN": (written(amount="NaN"), "not_json", "line 1"),
    "an infinity": (written(amount="Infinity"), "not_json", "line 1"),
    "a number that overflows": (written(amount="-1e999"), "not_json", "line 1"),
    "NaN in quotes": (written(amount='"NaN"'), "wrong_type", "data.amount"),
    "infinity in quotes": (written(amount='"-inf"'), "wrong_type", "data.amount"),
    "thirty digits": (written(amount="9" * 30), "out_of_range", "data.amount"),
    "a time of thirty digits": (written(bought_at="9" * 30), "future", "data.bought_at"),
    "time before time": (written(bought_at='"0001-01-01T00:00:00+14:00"'), "out_of_range", "data.bought_at"),
    "a thousand objects deep": (
        written(amount='{"a":' * 990 + "1" + "}" * 990),
        "wrong_type",
        "data.amount",
    ),
    "a thousand arrays deep": (written(receipt="[" * 990 + "]" * 990), "no_id", "data.receipt"),
    "bytes that are no text": (written(kind='"soup"').replace(b"soup", b"s\xf6up"), "not_json", "line 1"),
    "half a character": (written(kind='"\\ud800"'), "not_json", "line 1"),
}


@pytest.mark.parametrize("beside", [1, MANY])
@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_values_are_refused_where_they_stand(desk: Desk, what: str, beside: int) -> None:
    bad, reason, place = HOSTILE[what]
    before = [purchase(f"a{n}", MONDAY, "c", 2) for n in range(beside)]
    after = [purchase(f"b{n}", MONDAY, "c", 2) for n in range(beside)]
    messages = desk.take(poll("shop", [*before, bad, *after]))
    (letter,) = letters_of(messages)
    assert (letter.reason, letter.position, letter.original) == (reason, beside, bad)
    assert letter.place.startswith(place)
    assert letter.expected
    assert letter.found
    assert [event.id for event in events_of(messages)] == [
        f"{side}{n}" for side in "ab" for n in range(beside)
    ]
    assert counted(desk) == {reason: 1}


@pytest.mark.parametrize("count", [1, MANY])
def test_a_card_with_braces_is_a_card_like_any_other(
    contracts: Contracts, redis_server: Server, state: "redis.Redis", count: int
) -> None:
    cards = [
        "{7}x",
        "{0007}abcdefghijkl",
        "{123}abcdefghijkl",
        "{",
        "}",
        "{}",
        "{-1}",
        "a:b",
        "\0",
        "ä{1024}",
    ]
    desk = Desk(contracts)
    identities = Identities(state)
    clock = SourceClock([("shop", 0)], by_marks=True)
    admission = Admission(contracts, identities, PARTITIONS, clock, desk.counters)
    values = [purchase(f"{card}{n}", MONDAY, card, 1) for n in range(count) for card in cards]
    events = events_of(admission.process([poll("shop", values)], NOW))
    assert [event.customer for event in events] == [mint("card", card) for card in cards] * count
    assert all(is_customer(event.customer) for event in events)
    for card in cards:
        assert Identities(state).lookup(f"card:{card}") == mint("card", card)
    assert counted(desk) == {}


@pytest.mark.parametrize("times", [1, MANY])
def test_a_field_that_changes_its_type_is_taken_where_it_can_be(desk: Desk, times: int) -> None:
    values: list[tuple[Any, int | None]] = [
        *((1, 10_000), (1.5, 15_000), ("2.50", 25_000), (0, 0), ("-3", -30_000), (1e10, 10**14)),
        *((True, None), (None, None), ({}, None), ([1], None), ("much", None), ("", None), (1e11, None)),
    ]
    sent = [
        (purchase(f"{n}-{i}", MONDAY, "c", v), w) for n in range(times) for i, (v, w) in enumerate(values)
    ]
    messages = desk.take(poll("shop", [raw for raw, _ in sent]))
    found = [event.fields["amount"] for event in events_of(messages)]
    assert found == [whole for _, whole in sent if whole is not None]
    bad = [n for n, (_, whole) in enumerate(sent) if whole is None]
    assert [letter.position for letter in letters_of(messages)] == bad
    assert {letter.place for letter in letters_of(messages)} == {"data.amount"}
    assert counted(desk) == {"wrong_type": 5 * times, "missing_field": times, "out_of_range": times}
    assert desk.counters.values["events"] == len(found)


@pytest.mark.parametrize("count", [3, MANY])
def test_source_times_that_run_backwards_are_taken_in_the_order_read_and_counted(
    desk: Desk, count: int
) -> None:
    desk.take(*all_marked(MONDAY))
    values = [purchase(str(n), MONDAY + 1_000 - n * HOUR, "c", 1) for n in range(count)]
    messages = desk.take(poll("shop", values))
    assert [event.id for event in events_of(messages)] == [str(n) for n in range(count)]
    assert desk.clock.ticked == MONDAY
    assert desk.counters.values["behind_clock"] == count - 1
    assert counted(desk) == {}


def test_a_mark_that_runs_backwards_moves_nothing_and_is_counted(desk: Desk) -> None:
    desk.take(*all_marked(MONDAY))
    messages = desk.take(poll("shop", [mark(MONDAY - HOUR), mark(MONDAY)], start=1))
    assert messages == []
    assert desk.clock.marks["shop", 0] == MONDAY
    assert desk.counters.values["marks_backwards"] == 1


@pytest.mark.parametrize("before", ["9" * 30, '"9999-12-31T00:00:00Z"', "-1", '"0001-01-01T00:00:00+14:00"'])
def test_a_mark_of_no_possible_time_is_refused_and_time_stands(desk: Desk, before: str) -> None:
    desk.take(*all_marked(MONDAY))
    raw = b'{"specversion": "1.0", "id": "1", "type": "kairos.mark", "source": "s", "data": {"before": %b}}'
    (letter,) = letters_of(desk.take(*[poll("shop", [raw % before.encode()], start=1)]))
    assert letter.reason in ("future", "out_of_range")
    assert letter.place == "data.before"
    assert desk.clock.marks["shop", 0] == MONDAY


@pytest.mark.parametrize("count", [1, MANY])
def test_a_wall_clock_that_runs_backwards_refuses_no_good_event(contracts: Contracts, count: int) -> None:
    desk = Desk(contracts, by_marks=False)
    values = [purchase(str(n), MONDAY, "c", 1) for n in range(count)]
    desk.take(poll("shop", []), now=MONDAY)
    messages = desk.take(poll("shop", values), now=MONDAY - HOUR)
    assert [event.id for event in events_of(messages)] == [str(n) for n in range(count)]
    assert desk.counters.values["clock_backwards"] == 1
    ticks = [each.time for m in messages if isinstance(each := decode(m.value), Tick)]
    assert all(time >= 0 for time in ticks)
    late = desk.take(poll("shop", [purchase("x", MONDAY + HOUR, "c", 1)], start=count), now=MONDAY - HOUR)
    assert [letter.reason for letter in letters_of(late)] == ["future"], "the clock that stood still decides"


def test_a_damaged_decision_record_is_refused_whatever_is_damaged(desk: Desk, catalogue: Catalogue) -> None:
    good = decision_event(catalogue, mint("card", "c1"), "r-1", MONDAY, 1)
    record = good.fields["record"]
    assert isinstance(record, bytes)
    bad = [record.replace(b"feed", b"f\xffed"), record[: len(record) // 2], b"", b"\xc1", record + b"x"]
    never = [msgspec.structs.replace(unpack(record), at=at) for at in (-5, 2**60)]
    bad += [msgspec.msgpack.encode(each) for each in never]
    messages = desk.take(poll("decisions", [*bad, record]))
    assert events_of(messages) == [good]
    assert [letter.position for letter in letters_of(messages)] == list(range(len(bad)))
    assert {letter.reason for letter in letters_of(messages)} == {"wrong_type", "out_of_range"}


def test_an_outcome_before_time_is_refused(desk: Desk, catalogue: Catalogue) -> None:
    ident = decision_event(catalogue, mint("card", "c1"), "r-1", MONDAY, 1).id
    raw = json.loads(outcome("o1", MONDAY, ident, "soup"))
    times = ["0001-01-01T00:00:00+14:00", "9999-12-31T00:00:00Z"]
    values = [json.dumps(raw | {"time": time}).encode() for time in times]
    letters = letters_of(desk.take(poll("outcomes", values)))
    assert [(letter.reason, letter.place) for letter in letters] == [
        ("out_of_range", "time"),
        ("future", "time"),
    ]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A message of a source with a few bytes changed, or any bytes."""
    raw = draw(
        st.sampled_from(
            [
                purchase("1", MONDAY, "c", 12.5, note="ä"),
                joined("1", MONDAY, card="c", member="m"),
                outcome("o", MONDAY, "{123}abcdefghijkl.x", "soup"),
                mark(MONDAY),
                b"",
            ]
        )
    )
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(st.binary(max_size=3)) + raw[at + draw(st.integers(0, 3)) :]
    return raw


@given(
    st.lists(damaged(), min_size=1, max_size=4), st.sampled_from(["shop", "loyalty", "outcomes", "decisions"])
)
def test_whatever_comes_each_record_has_its_fate_and_the_last_one_is_taken(
    contracts: Contracts, values: list[bytes], topic: str
) -> None:
    desk = Desk(contracts)
    good = purchase("good", MONDAY, "c", 1)
    messages = desk.take(poll(topic, values), poll("shop", [good], start=10))
    assert events_of(messages)[-1].id == "good"
    values_of = desk.counters.values
    fates = sum(values_of.get(name, 0) for name in ("events", "dead_letters", "repeats", "marks"))
    assert fates == len(values) + 1


class Answering:
    """A Redis that has never heard of anyone, as `Identities` asks it."""

    def __init__(self) -> None:
        self.connection_pool = self

    def get_connection(self) -> "Answering":
        return self

    def release(self, connection: object) -> None:
        pass

    def send_packed_command(self, command: object) -> None:
        pass

    def read_response(self, disable_decoding: bool) -> None:
        return None


def batches(past: int) -> Iterator[list[str]]:
    for start in range(0, past, 2_000):
        yield [f"key-{n}" for n in range(start, min(start + 2_000, past))]


def test_a_million_keys_are_remembered_up_to_a_bound() -> None:
    repeats, identities = Repeats(), Identities(Answering())  # type: ignore[arg-type]
    for kind in ("one", "other"):
        for keys in batches(500_000):
            assert repeats.all_new(kind, keys) or sum(map(repeats.is_new, repeat(kind), keys)) == len(keys)
            assert len(repeats) <= REMEMBERED == 400_000
    for keys in batches(300_000):
        assert identities.resolve_many([("card", key) for key in keys])
        assert len(identities) <= 200_000


def test_a_flood_of_new_customers_passes_through_bounded_memories(contracts: Contracts) -> None:
    identities, repeats = Identities(Answering(), cache_size=1_000), Repeats(1_000)  # type: ignore[arg-type]
    clock = SourceClock([("shop", 0)], by_marks=True)
    counters = Counters(type("NoRedis", (), {"hgetall": lambda *_: {}})(), "intake")
    recalled = Recalled(repeats, set(), set())
    admission = Admission(contracts, identities, PARTITIONS, clock, counters, recalled)
    total = 0
    for start in range(0, 20_000, 2_000):
        values = [purchase(f"r{n}", MONDAY, f"c{n}", 1, kind=f"k{n}") for n in range(start, start + 2_000)]
        messages = admission.process([poll("shop", values, start=start)], NOW)
        found = events_of(messages)
        assert [event.customer for event in found] == [
            mint("card", event.id.replace("r", "c")) for event in found
        ]
        total += len(found)
        assert len(identities) <= 1_000
        assert len(repeats) <= 1_000
        assert len(counters.values) < 10
    assert total == 20_000
