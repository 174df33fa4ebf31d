"""What becomes of each record that a domain publishes."""

from typing import Any

import pytest

from events import dead_letters
from events.bus import Message
from events.codec import decode, render_cloudevent
from events.contract import Contracts
from events.envelope import Event, Tick
from events.identity import mint, partition_of
from events.typed import FEW
from models.catalogue import Catalogue
from models.decision import customer_of
from stream.admission import LARGEST_ORIGINAL, Admission
from stream.clock import IDLE_SLACK_MS, SLACK_MS, SourceClock
from stream.counters import Counters
from tests.stream.kiosk import (
    MONDAY,
    PARTITIONS,
    SOURCES,
    Phonebook,
    decision_event,
    invited,
    joined,
    mark,
    outcome,
    poll,
    purchase,
    redeemed,
)

NOW = MONDAY + 1_000


class NoRedis:
    def hgetall(self, key: str) -> dict[bytes, bytes]:
        return {}


class Desk:
    """An admission with everything it needs."""

    def __init__(self, contracts: Contracts, by_marks: bool = True) -> None:
        self.phonebook = Phonebook()
        self.counters = Counters(NoRedis(), "intake")
        self.clock = SourceClock([(topic, n) for topic in SOURCES for n in (0, 1)], by_marks=by_marks)
        self.admission = Admission(contracts, self.phonebook, PARTITIONS, self.clock, self.counters)

    def take(self, *polls: Any, now: int = NOW) -> list[Message]:
        return self.admission.process(polls, now)


def events_of(messages: list[Message]) -> list[Event]:
    found = [decode(each.value) for each in messages if each.topic == "behaviour"]
    return [each for each in found if isinstance(each, Event)]


@pytest.fixture
def desk(contracts: Contracts) -> Desk:
    return Desk(contracts)


def huge() -> bytes:
    return purchase("17", MONDAY, "c", 1, note="x" * 10_000_000)


BAD = {
    "not_json": (b"{nonsense", "line"),
    "not_cloudevent": (b'{"hello": "world"}', "specversion"),
    "unknown_type": (render_cloudevent("purchose", "1", "till", {}), "type"),
    "missing_field": (
        render_cloudevent(
            "purchase", "1", "t", {"receipt": "1", "bought_at": MONDAY, "card": "c", "kind": "s"}
        ),
        "data.amount",
    ),
    "wrong_type": (purchase("1", MONDAY, "c", {"much": 1}), "data.amount"),
    "no_id": (
        render_cloudevent("purchase", "1", "t", {"bought_at": MONDAY, "card": "c", "amount": 1, "kind": "s"}),
        "data.receipt",
    ),
    "no_customer": (
        render_cloudevent(
            "purchase", "1", "t", {"receipt": "1", "bought_at": MONDAY, "amount": 1, "kind": "s"}
        ),
        "data",
    ),
    "future": (purchase("1", 4_070_908_800_000, "c", 1), "data.bought_at"),  # 2099
    "too_long": (huge(), "event"),
}


@pytest.mark.parametrize("reason", BAD)
def test_bad_input_becomes_a_dead_letter_and_the_flow_goes_on(desk: Desk, reason: str) -> None:
    bad, place = BAD[reason]
    good = purchase("2", MONDAY, "c", 2)
    messages = desk.take(poll("shop", [bad, good], partition=1, start=40))
    letters = [dead_letters.decode(each.value) for each in messages if each.topic == "dead-letters"]
    assert [letter.reason for letter in letters] == [reason]
    assert letters[0].place.startswith(place)
    assert letters[0].original == bad
    assert (letters[0].topic, letters[0].partition, letters[0].position) == ("shop", 1, 40)
    assert [event.id for event in events_of(messages)] == ["2"]
    assert desk.counters.values["dead_letters"] == desk.counters.values[f"dead_letters.{reason}"] == 1
    assert desk.counters.values["events"] == 1


def test_an_original_too_long_for_the_bus_is_cut_and_the_letter_says_so(desk: Desk) -> None:
    bad = b"x" * (LARGEST_ORIGINAL + 10)
    (message,) = desk.take(poll("shop", [bad]))
    letter = dead_letters.decode(message.value)
    assert letter.reason == "too_long"
    assert len(letter.original) == LARGEST_ORIGINAL
    assert f"the first {LARGEST_ORIGINAL} bytes are kept" in letter.found


def test_events_go_to_their_customers_partition_in_the_order_read(desk: Desk) -> None:
    values = [purchase(str(n), MONDAY + n, f"c{n % 7}", n) for n in range(100)]
    messages = desk.take(poll("shop", values))
    assert [event.id for event in events_of(messages)] == [str(n) for n in range(100)]
    for message in messages:
        customer = message.key.decode()
        assert message.partition == partition_of(customer, PARTITIONS)
        event = decode(message.value)
        assert isinstance(event, Event)
        assert event.customer == customer
    assert desk.phonebook.asked == 1, "one question for the whole micro-batch"


def test_decimals_are_exact_ten_thousandths(desk: Desk) -> None:
    (event,) = events_of(desk.take(poll("shop", [purchase("1", MONDAY, "c", 12.34)])))
    assert event.fields["amount"] == 123_400


def test_repeats_are_dropped_and_counted(desk: Desk) -> None:
    one = purchase("1", MONDAY, "c", 1)
    assert len(events_of(desk.take(poll("shop", [one, one])))) == 1
    assert desk.take(poll("shop", [one], start=2)) == []
    assert desk.counters.values["repeats"] == 2


def test_repeats_among_so_many_that_they_are_taken_together_are_dropped_and_counted(desk: Desk) -> None:
    """Few events of a type are taken one by one; many as columns, and asked for together."""
    ids = [str(n) for n in range(2 * FEW)]
    twice = [purchase(ident, MONDAY, "c", 1) for ident in (*ids, *ids[::-2])]
    assert [event.id for event in events_of(desk.take(poll("shop", twice)))] == ids
    assert desk.counters.values["repeats"] == FEW
    assert desk.take(poll("shop", twice[:FEW], start=3 * FEW)) == []
    assert desk.counters.values["repeats"] == 2 * FEW


def test_a_link_counts_for_later_events_of_the_same_batch(desk: Desk) -> None:
    messages = desk.take(
        poll(
            "loyalty",
            [
                redeemed("1", MONDAY, "m1", "A"),
                joined("l1", MONDAY, card="c1", member="m1"),
                redeemed("2", MONDAY + 1, "m1", "A"),
            ],
        ),
        poll("shop", [purchase("1", MONDAY, "c1", 1)]),
    )
    customers = {event.customer for event in events_of(messages)}
    assert customers == {mint("member", "m1")}, "the member was known first"
    assert [event.type for event in events_of(messages)] == ["redeemed", "joined", "redeemed", "purchase"]


def test_a_link_of_two_customers_is_refused(desk: Desk) -> None:
    messages = desk.take(
        poll("shop", [purchase("1", MONDAY, "c1", 1)]),
        poll("marketing", [invited("1", MONDAY, "a1", "A")]),
        poll("loyalty", [joined("l1", MONDAY, card="c1", mailing="a1"), redeemed("2", MONDAY, "m2", "A")]),
    )
    (letter,) = [dead_letters.decode(each.value) for each in messages if each.topic == "dead-letters"]
    assert letter.reason == "identity_conflict"
    assert [event.type for event in events_of(messages)] == ["purchase", "invited", "redeemed"]


def all_marked(at: int) -> list[Any]:
    return [poll(topic, [mark(at)], partition=n) for topic in SOURCES for n in (0, 1)]


def test_a_tick_reaches_every_partition_behind_all_that_was_read_before(desk: Desk) -> None:
    early = [purchase(str(n), MONDAY - 5, f"c{n}", 1) for n in range(20)]
    first, *rest = all_marked(MONDAY)
    assert desk.take(first, *rest[:-1]) == [], "one source has not promised anything yet"
    messages = desk.take(poll("shop", early), rest[-1], poll("shop", [purchase("x", MONDAY + 5, "c1", 1)]))
    kinds = [type(decode(each.value)).__name__ for each in messages]
    assert kinds == ["Event"] * 20 + ["Tick"] * PARTITIONS + ["Event"]
    ticks = [each for each in messages if isinstance(decode(each.value), Tick)]
    assert [each.partition for each in ticks] == list(range(PARTITIONS))
    assert {decode(each.value) for each in ticks} == {Tick(MONDAY)}


def test_time_of_a_replay_stands_still_without_marks(desk: Desk) -> None:
    desk.take(*all_marked(MONDAY))
    assert desk.take(*[poll(topic, [], partition=n) for topic in SOURCES for n in (0, 1)], now=NOW * 2) == []


def test_live_time_moves_with_events_and_idle_sources_hold_nobody_up(contracts: Contracts) -> None:
    desk = Desk(contracts, by_marks=False)
    now = MONDAY
    idle = [poll(topic, [], partition=n) for topic in SOURCES for n in (0, 1)]
    messages = desk.take(*idle, now=now)
    assert {decode(each.value) for each in messages} == {Tick(MONDAY - IDLE_SLACK_MS)}
    busy = poll("shop", [purchase("1", MONDAY + 60_000, "c", 1)], end=False)
    later = [
        each._replace(caught_up=MONDAY + 90_000)
        for each in idle
        if (each.topic, each.partition) != ("shop", 0)
    ]
    messages = desk.take(busy, *later, now=MONDAY + 90_000)
    assert decode(messages[-1].value) == Tick(MONDAY + 60_000 - SLACK_MS)


def test_decisions_and_outcomes_become_events_of_their_customer(desk: Desk, catalogue: Catalogue) -> None:
    customer = mint("card", "c1")
    decision = decision_event(catalogue, customer, "r-1", MONDAY, 1)
    record = decision.fields["record"]
    assert isinstance(record, bytes)
    messages = desk.take(
        poll("decisions", [record, record, b"\x93junk", mark(MONDAY), render_cloudevent("x", "1", "s", {})]),
        poll(
            "outcomes",
            [
                outcome("o1", MONDAY + 5, decision.id, "soup"),
                outcome("o2", MONDAY + 5, "no-decision", "soup"),
                outcome("o3", MONDAY + 5, decision.id, "soup", kind="yawn"),
                purchase("1", MONDAY, "c1", 1),
            ],
        ),
    )
    made, happened = events_of(messages)
    assert made == decision
    assert (happened.type, happened.id, happened.customer) == (
        "kairos.outcome",
        "o1",
        customer_of(decision.id),
    )
    assert happened.fields == {"decision_id": decision.id, "offer": "soup", "kind": "conversion"}
    letters = [dead_letters.decode(each.value) for each in messages if each.topic == "dead-letters"]
    assert [letter.reason for letter in letters] == [
        *("wrong_type", "unknown_type"),
        *("no_customer", "wrong_type", "unknown_type"),
    ]
    assert [letter.place for letter in letters][2:4] == ["data.decision_id", "data.kind"]


def test_marks_without_an_instant_are_refused(desk: Desk) -> None:
    (message,) = desk.take(poll("shop", [render_cloudevent("kairos.mark", "1", "s", {"before": "soon"})]))
    assert dead_letters.decode(message.value).place == "data.before"
