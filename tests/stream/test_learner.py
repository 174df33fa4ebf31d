"""Learning depends on the log alone: not on speeds, batches or crashes."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
import pytest
import redis

from events.bus import Record
from events.codec import encode
from events.envelope import Event, Tick
from events.identity import mint, partition_of
from models.catalogue import Catalogue
from models.online import OnlineModel, online_key
from models.scorers.river_propensity import RiverPropensity
from stream.counters import Counters
from stream.learning import KEY, LearningStage
from stream.lease import Guard, LeaseLost, nobody_else
from stream.outcomes import Learner, LearnerState
from stream.taps import Poll
from tests.stream.kiosk import (
    DAY,
    HOUR,
    MONDAY,
    PARTITIONS,
    decision_event,
    learning_log,
    outcome_event,
    polls_of,
)


class NoBus:
    def last(self, topic: str, partition: int) -> int:
        return -1


def stage(catalogue: Catalogue, state: "redis.Redis", guard: Guard = nobody_else) -> LearningStage:
    packed: Any = state.get(KEY)
    learner = Learner(catalogue, msgspec.msgpack.decode(packed, type=LearnerState) if packed else None)
    bus: Any = NoBus()
    counters = Counters(state, "learner")
    return LearningStage(learner, state, counters, bus, PARTITIONS, threading.Event(), guard)


def online(state: "redis.Redis", placement: str = "feed") -> OnlineModel:
    packed: Any = state.get(online_key(placement))
    return msgspec.msgpack.decode(packed, type=OnlineModel)


def kept(state: "redis.Redis") -> tuple[LearnerState, Any]:
    """All that the learner left to go on from; what the attribution remembers has no order."""
    packed: Any = state.get(KEY)
    found = msgspec.msgpack.decode(packed, type=LearnerState)
    return msgspec.structs.replace(found, attribution=b""), msgspec.msgpack.decode(found.attribution)


@pytest.fixture(scope="module")
def logs(catalogue: Catalogue) -> list[list[Record]]:
    return learning_log(catalogue, days=6, decisions_a_day=12)


def take(one: LearningStage, polls: Sequence[Poll]) -> None:
    for poll in polls:
        one.take([poll])


def test_speeds_and_batches_change_nothing(
    catalogue: Catalogue, logs: list[list[Record]], state: "redis.Redis"
) -> None:
    found = set()
    for polls in (
        polls_of(logs, 1),
        polls_of(logs, 1_000),
        [*polls_of(logs[:1], 7), Poll("behaviour", 1, logs[1], None)],
        [Poll("behaviour", 1, logs[1], None), *polls_of(logs[:1], 3)],
    ):
        state.flushall()
        one = stage(catalogue, state)
        take(one, polls)
        one.close()
        found.add(online(state).bytes)
        assert online(state).learned_to == MONDAY + 6 * DAY
    assert len(found) == 1
    model = RiverPropensity.restore(found.pop())
    # The last day's windows are still open, but for what was converted in them.
    assert model.positives > 10
    assert model.count > 12 * 3 * 4


def test_a_crash_anywhere_learns_nothing_twice_and_leaves_nothing_out(
    catalogue: Catalogue, logs: list[list[Record]], state: "redis.Redis"
) -> None:
    polls = polls_of(logs, 5)
    take(stage(catalogue, state), polls)
    whole, left = online(state), kept(state)
    for cut in range(1, len(polls), 3):
        state.flushall()
        take(stage(catalogue, state), polls[:cut])
        again = stage(catalogue, state)
        applied = again._learner.applied
        after = [applied.get(partition, -1) for partition in range(PARTITIONS)]
        take(again, polls_of(logs, 4, after))
        assert online(state) == whole, cut
        assert kept(state) == left, cut


def test_who_has_lost_the_lease_writes_nothing_any_more(
    catalogue: Catalogue, logs: list[list[Record]], state: "redis.Redis"
) -> None:
    gone: list[str] = []

    def guard() -> None:
        if gone:
            raise LeaseLost(gone[0])

    polls = polls_of(logs, 5)
    one = stage(catalogue, state, guard)
    take(one, polls[: len(polls) // 2])
    held = {key: state.dump(key) for key in state.scan_iter()}
    assert KEY.encode() in held
    gone.append("learner is held by somebody else")
    for poll in polls[len(polls) // 2 :]:
        with suppress(LeaseLost):
            one.take([poll])
    with pytest.raises(LeaseLost):
        one.close()
    assert {key: state.dump(key) for key in state.scan_iter()} == held


def test_learned_to_moves_on_when_there_was_nothing_to_learn(
    catalogue: Catalogue, state: "redis.Redis"
) -> None:
    one = stage(catalogue, state)
    for n in range(3):
        for partition in range(PARTITIONS):
            tick = Record("behaviour", partition, n, b"", encode(Tick(MONDAY + n)))
            one.take([Poll("behaviour", partition, [tick], None)])
        assert online(state).learned_to == MONDAY + n
        assert online(state).n == 0


def test_an_outcome_waits_for_its_decision_and_the_tick_for_every_partition(
    catalogue: Catalogue, state: "redis.Redis"
) -> None:
    customer = mint("card", "1")
    mine = partition_of(customer, PARTITIONS)
    decision = decision_event(catalogue, customer, "r", MONDAY, 1)
    offer = str(decision.fields["offers"]).split(",")[0]
    one = stage(catalogue, state)

    def read(partition: int, position: int, item: Event | Tick) -> None:
        one.take(
            [
                Poll(
                    "behaviour",
                    partition,
                    [Record("behaviour", partition, position, b"", encode(item))],
                    None,
                )
            ]
        )

    read(mine, 0, outcome_event(decision.id, offer, customer, MONDAY + HOUR))
    read(mine, 1, Tick(MONDAY + 2 * HOUR))
    assert state.get(online_key("feed")) is None
    read(1 - mine, 0, Tick(MONDAY + 2 * HOUR))
    assert online(state).n == 0
    read(mine, 2, decision)
    for partition, position in ((mine, 3), (1 - mine, 1)):
        read(partition, position, Tick(MONDAY + 3 * HOUR))
    assert online(state).n == 1, "the conversion is certain before the window closes"
    for partition, position in ((mine, 4), (1 - mine, 2)):
        read(partition, position, Tick(MONDAY + DAY))
    assert online(state).n == 3, "and silence once it has"


def test_a_model_learns_from_the_placement_it_is_named_after(
    catalogue: Catalogue, state: "redis.Redis", logs: list[list[Record]]
) -> None:
    one = stage(catalogue, state)
    take(one, polls_of(logs, 100))
    assert sorted(one._learner.models) == ["feed"], "push uses the model of the feed"
    assert state.get(online_key("push")) is None
    counted = {name.decode(): int(value) for name, value in state.hgetall("kairos:counters:learner").items()}
    assert counted["learned"] == counted["learned.feed"] == online(state).n
    assert counted["positives"] > 0
    assert counted["learned_to_ms"] == MONDAY + 6 * DAY
