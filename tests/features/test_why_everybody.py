"""The events behind what is counted over everybody: those that count, and that they add up."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.envelope import Event
from features.declare import features_of
from features.why import CannotSay, Placed, sides_of, why
from tests.features.test_everybody import EVERYBODY, PEOPLE, crowds, sold
from tests.features.workshop import HOUR, NOON, RICH_EVENTS, plan


def placed(log: Sequence[Event], partitions: int = 2) -> list[Placed]:
    counts = [0] * partitions
    found = []
    for event in log:
        partition = PEOPLE.index(event.customer) % partitions
        found.append((partition, counts[partition], event))
        counts[partition] += 1
    return found


@given(crowds(max_size=12), st.sampled_from(["a", "x", "never"]))
@settings(max_examples=25)
def test_whatever_the_log_the_events_add_up_to_every_value(log: Sequence[Event], key: str) -> None:
    p = plan(EVERYBODY, lateness="2h", events=RICH_EVENTS)
    at = max((event.time for event in log), default=NOON) + 1
    mine = [(0, n, event) for n, event in enumerate(log) if event.customer == PEOPLE[0]]
    for features in features_of(p.playbook):
        for feature in features:
            if sides_of(p, feature)[1] and abs(feature.window_ms or 0) <= 8 * 24 * HOUR:
                found = why(p, feature.name, mine, at, at, key, placed(log))
                assert found.agrees, (feature.name, found.added, found.value)


def test_the_events_are_everybodys_and_those_too_late_are_said() -> None:
    p = plan(EVERYBODY, lateness="1h", events=RICH_EVENTS)
    log = [
        sold(1, NOON, PEOPLE[0], offer="a"),
        sold(2, NOON - 2 * HOUR, PEOPLE[0], offer="a"),
        sold(3, NOON - 2 * HOUR, PEOPLE[1], offer="a"),
        sold(4, NOON, PEOPLE[1], offer="b"),
        sold(5, NOON + 5, PEOPLE[1], offer="a"),
    ]
    found = why(p, "popular_count_7d", [], NOON + 5, NOON + 5, "a", placed(log))
    assert [each.event.id for each in found.contributions] == ["3", "1"]
    assert found.left_out == {"late": 1, "another offer": 1}
    assert found.value == found.added == 2
    found = why(p, "mine_of_all", [(0, 0, log[0])], NOON + 5, NOON + 5, "a", placed(log))
    assert [part.value for part in found.parts] == [1, 2]
    assert (found.value, found.agrees) == (0.5, True)
    assert sides_of(p, found.feature) == (True, True)
    with pytest.raises(CannotSay, match="give --offer"):
        why(p, "popular_count_7d", [], NOON + 5, NOON + 5, None, placed(log))
