"""The engine over the bus: order, cursors, clean stops, and what disagrees is said."""

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from events.bus import Bus, Message, PositionLost
from stream import behaviour, intake
from stream.bus_source import BusSource, PositionsDisagree
from stream.engine import run_flow
from stream.taps import Poll
from tests.stream.kiosk import eventually

PLACES = [("shop", 0), ("shop", 1)]


class Listener:
    """A stage that keeps what it is given, and stops the flow when it has had enough."""

    def __init__(self, stop: threading.Event, enough: int, fail: Callable[[], None] | None = None) -> None:
        self.values: list[bytes] = []
        self.closed = False
        self._stop, self._enough, self._fail = stop, enough, fail

    def take(self, polls: list[Poll]) -> None:
        for poll in polls:
            self.values += [record.value for record in poll.records]
        if self._fail and self.values:
            self._fail()
        if len(self.values) >= self._enough:
            self._stop.set()

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def shop(bus: Bus) -> Bus:
    bus.ensure({"shop": 2})
    return bus


def put(bus: Bus, first: int, count: int) -> None:
    bus.publish([Message("shop", n % 2, b"", b"%05d" % n) for n in range(first, first + count)])


def listen(bus: Bus, enough: int, positions: Path | None, limit: int = 10) -> Listener:
    stop = threading.Event()
    listener = Listener(stop, enough)
    source = BusSource(bus, PLACES, stop, limit=limit)
    run_flow("test", source, listener, stop, positions, timedelta(seconds=0.1))
    assert listener.closed
    return listener


def test_a_clean_stop_resumes_at_the_next_record(shop: Bus, tmp_path: Path) -> None:
    put(shop, 0, 100)
    first = listen(shop, 50, tmp_path / "positions")
    assert 50 <= len(first.values) < 100
    put(shop, 100, 20)
    rest = 120 - len(first.values)
    second = listen(shop, rest, tmp_path / "positions")
    every = first.values + second.values
    assert sorted(every) == [b"%05d" % n for n in range(120)]
    for partition in (0, 1):
        mine = [value for value in every if int(value) % 2 == partition]
        assert mine == sorted(mine)


def test_a_failed_batch_is_read_again(shop: Bus, tmp_path: Path) -> None:
    put(shop, 0, 4)

    def fail() -> None:
        raise RuntimeError("the disk is full")

    stop = threading.Event()
    listener = Listener(stop, 4, fail)
    with pytest.raises(RuntimeError, match="the disk is full"):
        run_flow("test", BusSource(shop, PLACES, stop), listener, stop, tmp_path / "positions")
    assert not listener.closed, "it would save what is not so"
    assert sorted(listen(shop, 4, tmp_path / "positions").values) == [b"%05d" % n for n in range(4)]


def test_what_arrives_later_is_handed_on_at_once(shop: Bus) -> None:
    stop = threading.Event()
    listener = Listener(stop, 3)
    source = BusSource(shop, PLACES, stop)
    flow = threading.Thread(target=run_flow, args=("test", source, listener, stop))
    flow.start()
    for n in range(3):
        put(shop, n, 1)
        eventually(lambda n=n: len(listener.values) > n, 5)  # type: ignore[misc]
    flow.join(10)
    assert not flow.is_alive()


def test_another_log_than_the_one_read_before_is_refused(shop: Bus) -> None:
    put(shop, 0, 4)
    stop = threading.Event()
    source = BusSource(shop, PLACES, stop, cursor=lambda place, saved: 17)
    with pytest.raises(PositionsDisagree, match=r"shop/0000: expected the bus to hold position 17.* found 1"):
        run_flow("test", source, Listener(stop, 1), stop)


def test_records_trimmed_unread_are_an_error(shop: Bus) -> None:
    put(shop, 0, 40)
    shop.trim("shop", 0, 10)
    stop = threading.Event()
    source = BusSource(shop, PLACES, stop, cursor=lambda place, saved: 4)
    with pytest.raises(PositionLost):
        run_flow("test", source, Listener(stop, 1_000), stop)


def test_without_a_cursor_a_trimmed_log_is_read_from_its_oldest_record(shop: Bus) -> None:
    put(shop, 0, 40)
    shop.trim("shop", 0, 10)
    assert len(listen(shop, 30, None).values) == 30


@pytest.mark.parametrize(
    ("saved", "held", "after"),
    [(None, None, None), (9, 9, 9), (9, 7, 7), (7, 9, 9), (9, None, None), (None, 9, 9)],
)
def test_behaviour_reads_on_where_redis_is(saved: int | None, held: int | None, after: int | None) -> None:
    done = {} if held is None else {0: held}
    assert behaviour._cursor(done)(("behaviour", 0), saved) == after


@pytest.mark.parametrize(
    ("saved", "remembered", "after"),
    [(None, None, None), (None, 5, 5), (9, 9, 9), (9, 7, 7), (7, 9, 7), (-1, None, None)],
)
def test_intake_reads_again_what_its_journal_has_forgotten(
    saved: int | None, remembered: int | None, after: int | None
) -> None:
    read = {} if remembered is None else {("shop", 0): remembered}
    assert intake._cursor(read, "redis://here")(("shop", 0), saved) == after
