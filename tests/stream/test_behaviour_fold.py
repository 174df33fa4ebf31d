"""Folding is exact whatever the batches and wherever a crash comes."""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import pytest

from events import dead_letters
from events.bus import Message, Record
from events.codec import encode, parse_cloudevent, parse_time
from events.envelope import Event, Tick
from events.identity import mint, partition_of
from features.plan import Plan
from features.state import State
from features.storage import storage_of
from features.triggers import next_wake
from features.warming import Record as WarmingRecord
from features.warming import Since
from stream.behaviour import BehaviourStage
from stream.behaviour_fold import BehaviourFold
from stream.counters import Counters
from stream.state_cache import CAPACITY, StateCache
from stream.swap import SwappingReader
from tests.stream.kiosk import (
    DAY,
    HOUR,
    MONDAY,
    PARTITIONS,
    Crash,
    MemoryStore,
    PaperOutlet,
    behaviour_log,
    polls_of,
)


class NoRedis:
    def hgetall(self, key: str) -> dict[bytes, bytes]:
        return {}


class NoBus:
    def last(self, topic: str, partition: int) -> int:
        return -1


class Process:
    """One life of a behaviour process over a store that outlives it."""

    def __init__(
        self,
        plan: Plan,
        store: MemoryStore,
        cached: int = CAPACITY,
        partitions: int = PARTITIONS,
        quiet: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self.counters = Counters(NoRedis(), "behaviour")
        self.counters.due = lambda: False  # type: ignore[method-assign]
        self.outlet = PaperOutlet(store)
        self.cache = StateCache(cached)
        folding = BehaviourFold(
            plan, store, partitions, self.cache, self.counters, store.watermarks(), quiet=quiet
        )
        bus: Any = NoBus()
        self.stage = BehaviourStage(
            plan, folding, store, cast(Any, self.outlet), self.counters, bus, threading.Event(), {}
        )

    def read(self, logs: Sequence[Sequence[Record]], size: int) -> list[Message]:
        for poll in polls_of(logs, size):
            self.stage.take([poll])
        return list(self.outlet.messages)


def fired(messages: Sequence[Message]) -> dict[str, dict[str, Any]]:
    """Triggers by their instance."""
    events = [parse_cloudevent(each.value) for each in messages if each.topic == "triggers"]
    return {event.id: event.data for event in events}


@pytest.fixture(scope="module")
def logs() -> list[list[Record]]:
    return behaviour_log(days=12, customers=25)


@pytest.fixture(scope="module")
def whole(plan: Plan, logs: list[list[Record]]) -> tuple[MemoryStore, list[Message]]:
    store = MemoryStore()
    return store, Process(plan, store).read(logs, 1_000)


@pytest.mark.parametrize(("size", "cached"), [(1, CAPACITY), (7, 1_500), (64, CAPACITY)])
def test_batches_and_cache_change_nothing(
    plan: Plan, logs: list[list[Record]], whole: tuple[MemoryStore, list[Message]], size: int, cached: int
) -> None:
    store = MemoryStore()
    messages = Process(plan, store, cached).read(logs, size)
    assert store.blobs == whole[0].blobs
    assert store.marks == whole[0].marks
    assert store.wakes == whole[0].wakes
    assert fired(messages) == fired(whole[1])
    assert len(fired(messages)) == sum(each.topic == "triggers" for each in messages)


def test_what_happened_is_counted(plan: Plan, logs: list[list[Record]]) -> None:
    process = Process(plan, MemoryStore())
    messages = process.read(logs, 100)
    counted = process.counters.values
    events = sum(len(log) for log in logs) - counted["ticks"]
    assert counted["folded"] + counted["late"] + counted["repeat"] == events
    assert counted["late"] > 0
    assert counted["repeat"] > 0
    letters = [dead_letters.decode(each.value) for each in messages if each.topic == "dead-letters"]
    assert len(letters) == counted["dead_letters.late"] == counted["late"]
    assert {letter.reason for letter in letters} == {"late"}
    assert letters[0].original == logs[letters[0].partition][letters[0].position].value
    assert {data["trigger"] for data in fired(messages).values()} == {
        *("invitation_came", "big_week", "invitation_forgotten"),
    }


def looked_at_in_time(plan: Plan, store: MemoryStore) -> bool:
    """Whether whoever waits is looked at in time; a look that has become needless may be left."""
    known = {who: at for wakes in store.wakes.values() for who, at in wakes.items()}
    due = {who: next_wake(plan, State(blob)) for who, blob in store.blobs.items()}
    return all(at is None or known.get(who, at + 1) <= at for who, at in due.items())


def test_a_crash_at_any_effect_ends_in_the_same_states_and_triggers(
    plan: Plan, logs: list[list[Record]], whole: tuple[MemoryStore, list[Message]]
) -> None:
    effects = 0
    for lives in range(0, 560, 13):
        store = MemoryStore()
        store.lives = lives
        process = Process(plan, store)
        done = -1
        polls = polls_of(logs, 40)
        try:
            for number, poll in enumerate(polls):
                process.stage.take([poll])
                done = number
        except Crash:
            effects += 1
        store.lives = None
        # The engine's cursors may be older than what was done last.
        again = Process(plan, store)
        for poll in polls[max(0, done - 3) :]:
            again.stage.take([poll])
        assert store.blobs == whole[0].blobs, lives
        assert store.marks == whole[0].marks, lives
        assert looked_at_in_time(plan, store), lives
        assert fired(process.outlet.messages + again.outlet.messages) == fired(whole[1]), lives
    assert effects > 30


def records(*items: Event | Tick, customer: str) -> list[list[Record]]:
    partition = partition_of(customer, PARTITIONS)
    logs: list[list[Record]] = [[], []]
    logs[partition] = [Record("behaviour", partition, n, b"", encode(item)) for n, item in enumerate(items)]
    return logs


WHO = mint("card", "1")
INVITED = Event("invited", "i1", MONDAY, WHO, {"campaign": "A"})
Make = Callable[[str, int], Event]


def used(campaign: str, at: int) -> Event:
    return Event("redeemed", "r1", at, WHO, {"campaign": campaign})


@pytest.mark.parametrize("size", [1, 100])
def test_what_did_not_happen_fires_once_in_event_time(plan: Plan, size: int) -> None:
    end = MONDAY + 2 * DAY
    logs = records(
        *(INVITED, Tick(MONDAY + DAY), Tick(end), Tick(end + 4_999), Tick(end + 5_000), Tick(end + DAY)),
        customer=WHO,
    )
    process = Process(plan, MemoryStore())
    forgotten = [
        data for data in fired(process.read(logs, size)).values() if data["trigger"] == "invitation_forgotten"
    ]
    assert len(forgotten) == 1
    assert forgotten[0]["cause"] == "i1"
    assert forgotten[0]["time"] == "2017-07-19T04:00:00Z"
    assert process.counters.values["triggers_fired.invitation_forgotten"] == 1


@pytest.mark.parametrize(
    ("answer", "fires"),
    [
        (used("A", MONDAY + HOUR), False),
        (used("B", MONDAY + HOUR), True),
        (used("A", MONDAY + 3 * DAY), True),
    ],
)
def test_an_answer_in_time_ends_the_wait(plan: Plan, answer: Event, fires: bool) -> None:
    logs = records(INVITED, answer, Tick(MONDAY + 9 * DAY), customer=WHO)
    names = [data["trigger"] for data in fired(Process(plan, MemoryStore()).read(logs, 10)).values()]
    assert ("invitation_forgotten" in names) is fires


def test_a_late_answer_is_the_cause_of_what_it_supersedes(plan: Plan) -> None:
    end = MONDAY + 2 * DAY
    logs = records(INVITED, Tick(end + DAY), used("A", MONDAY + HOUR), customer=WHO)
    told = fired(Process(plan, MemoryStore()).read(logs, 10))
    (instance,) = (
        ident
        for ident, each in told.items()
        if each["trigger"] == "invitation_forgotten" and "superseded_by" not in each
    )
    superseded = told[f"{instance}.superseded"]
    assert (superseded["cause"], superseded["superseded_by"], superseded["instance"]) == (
        "r1",
        "r1",
        instance,
    )
    assert superseded["time"] == told[instance]["time"]


def test_a_trigger_is_quiet_while_what_it_reads_is_warming_and_nothing_else_changes(
    plan: Plan, logs: list[list[Record]], whole: tuple[MemoryStore, list[Message]]
) -> None:
    every = fired(whole[1])
    instants = sorted(parse_time(each["time"]) for each in every.values() if each["trigger"] == "big_week")
    (key,) = (each.key for each in storage_of(plan).stored if each.name == "spend")
    begun = instants[len(instants) // 2] - 8 * DAY
    record = WarmingRecord({key: {n: Since("spend", 3, begun, "p") for n in range(PARTITIONS)}}, {}, {})
    reader = SwappingReader(None, plan, record, PARTITIONS)
    until = reader.quiet["big_week"]
    assert instants[0] < until < instants[-1], "some are before and some behind"
    store = MemoryStore()
    process = Process(plan, store, quiet=lambda: reader.quiet)
    heard = {
        ident: each
        for ident, each in every.items()
        if each["trigger"] != "big_week" or parse_time(each["time"]) >= until
    }
    assert fired(process.read(logs, 64)) == heard
    assert process.counters.values["triggers_warming"] == len(every) - len(heard)
    assert process.counters.values["triggers_fired"] == len(heard)
    assert store.blobs == whole[0].blobs, "what happened is remembered all the same"
    assert set(reader.quiet) == {"big_week"}
    reader.learn(WarmingRecord(record.since, {key: 0}, {}))
    assert not reader.quiet, "it has been backfilled"


def test_a_tick_read_again_wakes_nobody_early(plan: Plan) -> None:
    """A state that already holds more of the log than the tick is not asked as if it did not."""
    end = MONDAY + 2 * DAY
    late = Event("invited", "i2", MONDAY - DAY + HOUR, WHO, {"campaign": "B"})
    (log,) = [
        log
        for log in records(INVITED, Tick(end - HOUR), late, used("B", MONDAY), Tick(end), customer=WHO)
        if log
    ]
    logs = [log if log[0].partition == n else [] for n in range(PARTITIONS)]
    whole, cut = MemoryStore(), MemoryStore()
    expected = fired(Process(plan, whole).read(logs, 100))
    # Everything up to the late invitation is in the state, but nothing says so except the state.
    process = Process(plan, cut)
    process.read([log[:3] for log in logs], 1)
    cut.marks.clear()
    again = Process(plan, cut)
    found = fired(process.outlet.messages + again.read(logs, 100))
    assert found == expected
    assert cut.blobs == whole.blobs


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_crash_at_every_effect_of_a_wake_up_still_fires_it(plan: Plan, size: int) -> None:
    end = MONDAY + 2 * DAY
    logs = records(INVITED, Tick(end), Tick(end + 5_000), Tick(end + DAY), customer=WHO)
    whole = MemoryStore()
    expected = fired(Process(plan, whole).read(logs, size))
    assert len(expected) == 2
    for lives in range(14):
        store = MemoryStore()
        store.lives = lives
        process, left = Process(plan, store), polls_of(logs, size)
        with suppress(Crash):
            while left:
                process.stage.take([left[0]])
                left.pop(0)  # the engine's cursor is right behind what was done
        store.lives = None
        again = Process(plan, store)
        for poll in left:
            again.stage.take([poll])
        assert fired(process.outlet.messages + again.outlet.messages) == expected, lives
        assert (store.blobs, store.wakes, store.marks) == (whole.blobs, whole.wakes, whole.marks), lives


def test_the_cache_lets_go_of_what_is_too_much(plan: Plan, logs: list[list[Record]]) -> None:
    process = Process(plan, MemoryStore(), cached=5_000)
    process.read(logs, 50)
    assert process.cache.bytes <= 5_000
    assert process.counters.values["cached"] == len(process.cache) < 25
    assert process.counters.values["cache_misses"] > 25
