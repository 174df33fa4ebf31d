"""A micro-batch is on the bus once, also when the bus fails in the middle of it."""

import threading
from collections.abc import Sequence

import pytest

from events.bus import Bus, BusUnavailable, Message
from stream.outlet import Outlet, ends
from stream.patience import Stopped
from tests.stream.kiosk import eventually


class Faltering:
    """A bus whose `publish` is cut off after so many messages; None: it works."""

    def __init__(self, bus: Bus, cuts: list[int | None]) -> None:
        self._bus = bus
        self.cuts = cuts
        self.last, self.first, self.reader = bus.last, bus.first, bus.reader

    def publish(self, messages: Sequence[Message]) -> None:
        cut = self.cuts.pop(0) if self.cuts else None
        self._bus.publish(messages[:cut])
        if cut is not None:
            raise BusUnavailable(f"cut off after {cut}")


PLACES = [("behaviour", 0), ("behaviour", 1)]


@pytest.fixture
def topics(bus: Bus) -> Bus:
    bus.ensure({"behaviour": 2})
    return bus


def values(bus: Bus, partition: int) -> list[bytes]:
    last = bus.last("behaviour", partition)
    found: list[bytes] = []
    reader = bus.reader("behaviour", partition)
    while len(found) <= last:
        found += [record.value for record in reader.read(100, 100)]
    return found


@pytest.mark.parametrize("cuts", [[0], [1], [3], [10], [2, 0, 3], [5, 10]])
def test_what_an_unanswered_publish_left_is_not_published_again(topics: Bus, cuts: list[int | None]) -> None:
    topics.publish([Message("behaviour", 0, b"k", b"0")])  # looks like one of the batch, and is older
    outlet = Outlet(Faltering(topics, cuts), ends(topics, PLACES), threading.Event())  # type: ignore[arg-type]
    batch = [Message("behaviour", n % 2, b"k", b"%d" % n) for n in range(9)]
    batch.append(batch[0])  # the same bytes twice are two messages
    outlet.publish(batch)
    assert values(topics, 0) == [b"0", b"0", b"2", b"4", b"6", b"8", b"0"]
    assert values(topics, 1) == [b"1", b"3", b"5", b"7"]
    assert outlet.ends == ends(topics, PLACES)


def test_a_stop_ends_the_waiting(topics: Bus) -> None:
    stop = threading.Event()
    never: list[int | None] = [0] * 1_000
    outlet = Outlet(Faltering(topics, never), ends(topics, PLACES), stop)  # type: ignore[arg-type]
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(Stopped, match="publishing"):
        outlet.publish([Message("behaviour", 0, b"k", b"v")])
    eventually(stop.is_set)
