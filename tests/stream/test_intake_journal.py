"""A crash of intake between the log and the journal neither loses nor repeats anything."""

import threading
from pathlib import Path
from typing import Any

import pytest
import redis

from events.bus import Bus, Message
from events.codec import decode
from events.contract import Contracts
from events.envelope import Event
from events.topics import layout
from stream import intake_journal
from stream.intake import IntakeStage, open_stage
from stream.intake_journal import Remembered
from stream.outlet import tail
from stream.taps import Poll
from tests.stream.kiosk import (
    DAY,
    MONDAY,
    PARTITIONS,
    SOURCES,
    Crash,
    KioskSetup,
    Phonebook,
    mark,
    poll,
    purchase,
    redeemed,
)


class Desk:
    """Intake's stage without the engine; each `open` is another life of the process."""

    def __init__(self, bus: Bus, state: "redis.Redis", contracts: Contracts, kiosk: Path) -> None:
        self.bus, self.state, self.contracts = bus, state, contracts
        self.phonebook = Phonebook()
        self.setup = KioskSetup(kiosk, kiosk, "", "")

    def open(self, *, dies_unsaved: bool = False) -> IntakeStage:
        stage, *_ = open_stage(
            self.bus, self.state, self.phonebook, self.contracts, self.setup, threading.Event()
        )
        if dies_unsaved:

            def die(beside: Any = None) -> None:
                raise Crash

            stage._counters.flush = die  # type: ignore[method-assign]
        return stage

    def log(self) -> list[tuple[int, str]]:
        """(partition, event id or time of a tick) of the whole log."""
        return [
            (n, item.id if isinstance(item, Event) else str(item.time))
            for n in range(PARTITIONS)
            for item in (decode(record.value) for record in tail(self.bus, ("behaviour", n), -1))
        ]

    def letters(self) -> int:
        return self.bus.last("dead-letters", 0) + 1


@pytest.fixture
def desk(
    bus: Bus, state: "redis.Redis", contracts: Contracts, kiosk: Path, monkeypatch: pytest.MonkeyPatch
) -> Desk:
    monkeypatch.setattr("stream.intake.POLLS", 100)  # everything is published together
    bus.ensure(layout(contracts, PARTITIONS))
    return Desk(bus, state, contracts, kiosk)


def sources(bus: Bus) -> list[Poll]:
    """What the domains have published, and what a fresh read of it gives."""
    shop = [purchase(str(n), MONDAY + n, f"c{n % 9}", 1) for n in range(40)] + [b"nonsense"]
    loyalty = [redeemed(f"r{n}", MONDAY + n, f"m{n % 9}", "A") for n in range(10)]
    polls = [poll("shop", [*shop, mark(MONDAY + DAY)]), poll("loyalty", [*loyalty, mark(MONDAY + DAY)])]
    polls += [
        poll(topic, [mark(MONDAY + DAY)], n)
        for topic in SOURCES
        for n in (0, 1)
        if (topic, n) not in {("shop", 0), ("loyalty", 0)}
    ]
    bus.publish([Message(r.topic, r.partition, b"", r.value) for each in polls for r in each.records])
    return polls


def halves(polls: list[Poll]) -> tuple[list[Poll], list[Poll]]:
    cut = [(each, len(each.records) // 2) for each in polls]
    return (
        [each._replace(records=each.records[:at]) for each, at in cut],
        [each._replace(records=each.records[at:]) for each, at in cut],
    )


def test_the_journal_comes_back_as_it_was(state: "redis.Redis") -> None:
    kept = Remembered({("shop", 0): 7}, {("a:b", 1): 5}, {("behaviour", 0): 3}, 99)
    state.hset(intake_journal.KEY, mapping=kept.fields())  # type: ignore[arg-type]
    assert intake_journal.load(state) == kept


def test_what_was_published_without_a_journal_is_recognised(desk: Desk) -> None:
    polls = sources(desk.bus)
    first, second = halves(polls)
    desk.open().take(list(first))
    with pytest.raises(Crash):
        desk.open(dies_unsaved=True).take(list(second))
    there, letters = desk.log(), desk.letters()
    assert (0, str(MONDAY + DAY)) in there, "the tick was published"
    desk.open().take(list(polls))
    assert sorted(desk.log()) == sorted(there)
    assert desk.letters() == letters == 1


def test_two_crashes_in_a_row_repeat_nothing_either(desk: Desk) -> None:
    polls = sources(desk.bus)
    with pytest.raises(Crash):
        desk.open(dies_unsaved=True).take(list(polls))
    there = desk.log()
    # The next life gets only half way through what it has to recognise, and dies.
    first, _ = halves(polls)
    desk.open().take(list(first))
    desk.open().take(list(polls))
    assert sorted(desk.log()) == sorted(there)
    assert desk.letters() == 1


def test_marks_survive_a_restart(desk: Desk) -> None:
    polls = sources(desk.bus)
    desk.open().take(polls[:-1])
    ticks = [each for each in desk.log() if each[1] == str(MONDAY + DAY)]
    assert ticks == []
    desk.open().take(polls[-1:])
    ticks = [each for each in desk.log() if each[1] == str(MONDAY + DAY)]
    assert ticks == [(n, str(MONDAY + DAY)) for n in range(PARTITIONS)]
