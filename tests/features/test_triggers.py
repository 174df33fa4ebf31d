"""Triggers follow the order of the log, whatever the batches, and an answered wait never fires."""

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.envelope import Event, Tick
from features.fold import decode, empty, encode
from features.plan import Plan
from features.remembered import unpack
from features.trigger import WAKES
from features.triggers import Fired, act, next_wake, wake
from tests.features.workshop import DAY, HOUR, NOON, call, plan, sale

TRIGGERS = """
[[trigger]]
name = "bought"
meaning = "each sale of some size"
on = "sale"
when = "event.amount >= 5"

[[trigger]]
name = "big_week"
meaning = "a week of much"
on = "sale"
when = "paid_sum_7d > 100"

[[trigger]]
name = "rare"
meaning = "at most once a week"
on = "call"
cooldown = "7d"

[[trigger]]
name = "unanswered"
meaning = "called and bought nothing"
on = "call"
unless = { event = "sale", within = "2d" }
patience = "1m"

[[trigger]]
name = "unmatched"
meaning = "bought nothing of the kind again"
on = "sale"
when = "event.kind != 'x'"
unless = { event = "sale", within = "3h", same = ["kind"] }
patience = "5s"
"""


def machine(wakes: int = 1_000) -> Plan:
    return plan(triggers=TRIGGERS, lateness="1d", wakes=wakes)


def run(
    log: Sequence[Event | Tick], stops: Sequence[int] = (), wakes: int = 1_000
) -> Iterator[tuple[int, Fired]]:
    """The stream in small: fold, wake at ticks; at each stop the state goes through its bytes."""
    p = machine(wakes)
    state = empty(p)
    for position, item in enumerate(log):
        if isinstance(item, Tick):
            due = next_wake(p, state)
            fired = wake(p, state, item.time)
            assert not fired or (due is not None and due <= item.time)
            assert (next_wake(p, state) or item.time + 1) > item.time
        else:
            fired = act(p, state, [item], 0, [position])
        yield from ((position, each) for each in fired if each.superseded_by is None)
        if position in stops:
            state = decode(p, encode(p, state))


def names(fired: Iterator[tuple[int, Fired]]) -> list[tuple[int, str]]:
    return [(position, each.trigger) for position, each in fired]


@st.composite
def logs(draw: st.DrawFn) -> list[Event | Tick]:
    """Events about in order, some late, with ticks between them that never go back."""
    log: list[Event | Tick] = []
    now = tick = NOON
    for number in range(draw(st.integers(0, 30))):
        now += draw(st.sampled_from([0, 1, HOUR, 5 * HOUR, DAY, 3 * DAY]))
        late = draw(st.sampled_from([0, 0, 0, 1, HOUR, 3 * HOUR, 10 * HOUR, 2 * DAY]))
        match draw(st.integers(0, 3)):
            case 0:
                log.append(call(number, now - late))
            case 1:
                tick = max(tick, now - draw(st.sampled_from([0, 0, HOUR])))
                log.append(Tick(tick))
            case _:
                amount = draw(st.sampled_from([10_000, 70_000, 600_000]))
                log.append(sale(number, now - late, amount=amount, kind=draw(st.sampled_from("abx"))))
    return log


@given(logs(), st.lists(st.integers(0, 30)))
@settings(max_examples=200, deadline=None)
def test_batches_and_stops_change_nothing(log: list[Event | Tick], stops: list[int]) -> None:
    whole = list(run(log))
    assert list(run(log, stops)) == whole
    assert list(run(log, range(len(log)))) == whole
    instances = [each.instance for _, each in whole]
    assert len(set(instances)) == len(instances)


@given(logs())
@settings(max_examples=300, deadline=None)
def test_absence_fires_once_and_never_when_its_answer_is_in_the_log(log: list[Event | Tick]) -> None:
    log = [*log, Tick(NOON + 400 * DAY)]
    expected = []
    newest = -1
    folded: list[tuple[int, Event]] = []
    for position, item in enumerate(log):
        if isinstance(item, Event) and item.time >= newest - DAY:
            newest = max(newest, item.time)
            folded.append((position, item))
    for position, start in folded:
        if start.type != "call":
            continue
        end = start.time + 2 * DAY
        tick = next(
            n
            for n, item in enumerate(log)
            if n > position and isinstance(item, Tick) and item.time >= end + 60_000
        )
        if not any(n < tick and e.type == "sale" and start.time <= e.time <= end for n, e in folded):
            expected.append((tick, start.id, end))
    found = [(n, each.cause, each.time) for n, each in run(log) if each.trigger == "unanswered"]
    assert sorted(found) == sorted(expected)


def test_each_event_fires_where_only_the_event_is_asked() -> None:
    log = [sale(1, NOON, amount=60_000), sale(2, NOON + 1, amount=60_000), sale(3, NOON + 2, amount=40_000)]
    fired = [each for _, each in run(log) if each.trigger == "bought"]
    assert [each.cause for each in fired] == ["1", "2"]
    assert fired[0].payload == {"amount": 6.0, "pieces": 1, "kind": "a"}
    assert (fired[0].customer, fired[0].time) == ("{001}someone", NOON)


def test_a_condition_over_features_fires_only_as_it_turns_true() -> None:
    log = [
        sale(1, NOON, amount=900_000),
        sale(2, NOON + HOUR, amount=900_000),
        sale(3, NOON + 2 * HOUR, amount=900_000),
        sale(4, NOON + 20 * DAY, amount=10_000),
        sale(5, NOON + 21 * DAY, amount=1_200_000),
    ]
    fired = [each for _, each in run(log) if each.trigger == "big_week"]
    assert [each.cause for each in fired] == ["2", "5"]
    assert fired[0].payload["paid_sum_7d"] == 180.0, "the event itself counts"


def test_cooldown_is_of_event_time() -> None:
    log = [
        call(1, NOON),
        call(2, NOON + 7 * DAY - 1),
        call(3, NOON + 7 * DAY),
        call(4, NOON + 6 * DAY + HOUR),
    ]
    assert [each.cause for _, each in run(log) if each.trigger == "rare"] == ["1", "3"]


def test_an_answer_ends_only_waits_that_agree() -> None:
    log: list[Event | Tick] = [
        sale(1, NOON, kind="a"),
        sale(2, NOON + HOUR, kind="b"),
        sale(3, NOON + 2 * HOUR, kind="a"),
        Tick(NOON + 2 * DAY),
    ]
    assert [each.cause for _, each in run(log) if each.trigger == "unmatched"] == ["2", "3"]


def test_patience_waits_for_answers_still_on_their_way() -> None:
    end = NOON + 2 * DAY
    early = [call(1, NOON), Tick(end + 59_999), sale(2, end), Tick(end + 60_000)]
    late = [call(1, NOON), Tick(end + 60_000), sale(2, end), Tick(end + DAY)]
    assert "unanswered" not in [name for _, name in names(run(early))]
    assert [name for n, name in names(run(late)) if n == 1] == ["unanswered"]


def test_waits_are_bounded_and_the_one_due_last_is_given_up() -> None:
    log: list[Event | Tick] = [call(n, NOON + n) for n in range(WAKES + 10)]
    fired = [each for _, each in run([*log, Tick(NOON + 9 * DAY)], wakes=WAKES) if each.trigger[0] == "u"]
    assert [each.cause for each in fired] == [str(n) for n in range(WAKES)]


def test_an_instance_is_of_its_trigger_customer_and_event() -> None:
    def one(event: Event) -> set[str]:
        return {each.instance for _, each in run([event])}

    same = one(call(1, NOON))
    assert same == one(call(1, NOON))
    assert not same & one(call(2, NOON))
    assert not same & one(call(1, NOON, customer="{002}other"))


@pytest.mark.parametrize("kind", ["sale", "call"])
def test_nothing_is_remembered_of_triggers_that_do_not_concern_the_event(kind: str) -> None:
    p = plan(triggers="")
    state = empty(p)
    event = sale(1, NOON) if kind == "sale" else call(1, NOON)
    assert act(p, state, [event], 0, [0]) == []
    assert state.memory == b""
    assert next_wake(p, state) is None


SOON = """
[[trigger]]
name = "soon"
meaning = "called and bought nothing soon"
on = "call"
unless = { event = "sale", within = "3h" }
patience = "1m"
"""


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(0, 40))
def test_a_late_start_finds_its_end_among_however_many_there_were(sales: list[int], start: int) -> None:
    """Of ends few are remembered; a start older than all of them counts as answered when there were more."""
    p = plan(triggers=SOON, lateness="1d")
    state, half = empty(p), HOUR // 2
    log = [sale(n, NOON + at * half) for n, at in enumerate(sorted(sales))]
    log.append(call(99, NOON + start * half))
    for position, event in enumerate(log):
        assert act(p, state, [event], 0, [position]) == []
    held = sorted(sales)[-16:]
    assert [len(each.held) for each in unpack(state.memory).entries.values() if each.held] == (
        [len(held)] if held else []
    )
    answered = any(start <= at <= start + 6 for at in sales) or (len(held) == 16 and start <= held[0])
    assert [each.cause for each in wake(p, state, NOON + 400 * DAY)] == ([] if answered else ["99"])
