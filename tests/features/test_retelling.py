"""A log told again in large pieces passes through the states of a log told record by record."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from events.envelope import Event, Tick
from features.fold import decode, empty, encode
from features.plan import Plan
from features.retelling import END, Retelling, Ticks
from features.spine import fold_spine
from features.triggers import act, next_wake, wake
from tests.features.workshop import DAY, HOUR, NOON, call, placed, plan, sale

TRIGGERS = """
[[trigger]]
name = "left"
meaning = "bought, and no call within two days"
on = "sale"
unless = { event = "call", within = "2d" }
patience = "1h"

[[trigger]]
name = "fading"
meaning = "bought before, and nothing for five days"
on = "sale"
when = "paid_count_7d < 1"
wake = "7d"
patience = "1s"
"""

SOMEONE = "{001}someone"


def watched() -> Plan:
    return plan(triggers=TRIGGERS)


@st.composite
def logs(draw: st.DrawFn) -> list[Event | Tick]:
    """Sales and calls of one customer, a little out of order, and a clock that runs behind them."""
    log: list[Event | Tick] = []
    time, clock = NOON, NOON - DAY
    for n in range(draw(st.integers(1, 14))):
        time += draw(st.integers(0, 4 * DAY))
        early = draw(st.sampled_from([0, 0, 0, HOUR]))
        log.append((sale if draw(st.booleans()) else call)(n, time - early))
        for _ in range(draw(st.integers(0, 2))):
            clock = max(clock, time - draw(st.integers(-9 * DAY, 2 * DAY)))
            log.append(Tick(clock))
    return log


def plainly(p: Plan, log: Sequence[Event | Tick]) -> list[bytes]:
    """The state after every record, one by one."""
    state, watermark, states = empty(p), -1, []
    for position, item in enumerate(log):
        if isinstance(item, Event):
            act(p, state, [item], 0, [position])
        elif item.time > watermark:
            watermark = item.time
            due = next_wake(p, state)
            if due is not None and due <= watermark:
                wake(p, state, watermark, {}, SOMEONE)
        states.append(encode(p, state))
    return states


def ticks_of(log: Sequence[Event | Tick]) -> Ticks:
    return Ticks((position, item.time) for position, item in enumerate(log) if isinstance(item, Tick))


@given(logs(), st.lists(st.integers(0, 40), max_size=3))
@settings(max_examples=150, deadline=None)
def test_pieces_pass_through_the_states_of_every_record(log: list[Event | Tick], cuts: list[int]) -> None:
    p = watched()
    expected = plainly(p, log)
    telling = Retelling(p, SOMEONE, 0, ticks_of(log))
    events = [(position, item) for position, item in enumerate(log) if isinstance(item, Event)]
    begin = 0
    for cut in [*sorted(cuts), END]:
        piece = [each for each in events[begin:] if each[0] <= cut]
        begin += len(piece)
        telling.read(piece)
        if piece:
            assert encode(p, telling.state) == expected[piece[-1][0]]
    for position in telling.looks():
        assert encode(p, telling.state) == expected[position]
    assert encode(p, telling.state) == expected[-1]


@given(logs())
@settings(max_examples=60, deadline=None)
def test_a_spine_knows_what_the_clock_had_fired(log: list[Event | Tick]) -> None:
    """Asked at the very instant of an event, as a decision is: the state the log had come to before."""
    p = watched()
    log = sorted(log, key=lambda item: item.time)
    expected = plainly(p, log)
    asked = {item.time for item in log if isinstance(item, Event)}
    for _, at, blob in fold_spine(p, placed(log), [(SOMEONE, at) for at in asked]):
        first = next(n for n, item in enumerate(log) if isinstance(item, Event) and item.time >= at)
        assert blob == (expected[first - 1] if first else encode(p, empty(p)))


def test_a_spine_does_not_look_past_its_instant() -> None:
    p = watched()
    log: list[Event | Tick] = [sale(1, NOON), Tick(NOON + DAY), Tick(NOON + 3 * DAY)]
    spine = [(SOMEONE, NOON + 2 * DAY), (SOMEONE, NOON + 3 * DAY)]
    before, after = (decode(p, blob) for _, _, blob in fold_spine(p, placed(log), spine))
    assert next_wake(p, before) == NOON + 2 * DAY + HOUR
    assert next_wake(p, after) == NOON + 7 * DAY + 1_000
