"""Triggers follow the order of the log: what they tell is what a plain oracle says, however it is cut."""

from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from events.envelope import Event, Tick
from features.fold import decode, empty, encode
from features.kernel.layout import MOST_RECENT
from features.plan import Plan
from features.state import State
from features.triggers import Fired, act, next_wake, wake
from tests.features.trigger_oracle import Oracle, Told, Undecided
from tests.features.trigger_shop import STEP, call, look, sale, shop, shop_logs
from tests.features.workshop import DAY, NOON, restless

Log = Sequence[Event | Tick]
CUSTOMER = "{001}someone"
SETTLING = st.sampled_from([1, 2, 5, MOST_RECENT])


def pieces(log: Log, cuts: Sequence[int]) -> Iterator[tuple[int, list[Event] | Tick]]:
    """The log as it is read: ticks alone, events in runs that end at ticks and before these positions."""
    run: list[Event] = []
    for position, item in enumerate(log):
        if run and (position in cuts or isinstance(item, Tick)):
            yield position - len(run), run
            run = []
        if isinstance(item, Tick):
            yield position, item
        else:
            run.append(item)
    if run:
        yield len(log) - len(run), run


def read(p: Plan, log: Log, cuts: Sequence[int] = ()) -> tuple[list[list[Fired]], State]:
    """What the engine tells of each piece, and the state at the end, which goes through its bytes at each."""
    state, told = empty(p), []
    for begin, piece in pieces(log, cuts):
        if isinstance(piece, Tick):
            due = next_wake(p, state)
            told.append(wake(p, state, piece.time, customer=CUSTOMER))
            assert not told[-1] or (due is not None and due <= piece.time)
            left = next_wake(p, state)
            assert left is None or left > piece.time
        else:
            told.append(act(p, state, piece, 0, range(begin, begin + len(piece))))
        state = decode(p, encode(p, state))
    return told, state


def flat(told: Sequence[Sequence[Fired]]) -> list[Fired]:
    return [each for some in told for each in some]


def expected(p: Plan, log: Log) -> tuple[list[list[Told]], Oracle]:
    """What the oracle tells of each item; examples that the specification leaves open are passed over."""
    oracle = Oracle(p)
    try:
        told = [oracle.tick(each.time) if isinstance(each, Tick) else oracle.read(each) for each in log]
    except Undecided:
        assume(False)
    return told, oracle


def shown(each: Told) -> Any:
    """What can be compared: numbers to six places."""
    payload = None
    if each.payload is not None:
        payload = {
            name: round(value, 6) if isinstance(value, float) else value
            for name, value in sorted(each.payload.items())
        }
    return (*each[:4], payload)


def as_told(found: Sequence[Fired], wanted: Sequence[Told], instances: dict[str, Fired]) -> list[Told]:
    """What the engine tells in the oracle's words, no more of payloads; `instances`: the firings so far."""
    told = []
    silent = {each[:3] for each in wanted if each.payload is None}
    for each in found:
        if each.superseded_by is None:
            assert each.instance not in instances, f"{each} has the identity of {instances[each.instance]}"
            instances[each.instance] = each
            payload = None if (each.trigger, each.time, each.cause) in silent else each.payload
            told.append(Told(each.trigger, each.time, each.cause, None, payload))
        else:
            assert each.cause == each.superseded_by
            first = instances[each.instance]
            told.append(Told(first.trigger, first.time, first.cause, each.superseded_by, None))
    return told


@given(shop_logs(), SETTLING)
@settings(max_examples=300)
def test_each_event_and_each_tick_tells_what_the_specification_says(log: Log, most: int) -> None:
    p = restless(shop(), most)
    wanted, _ = expected(p, log)
    found, _ = read(p, log, range(len(log)))
    instances: dict[str, Fired] = {}
    for item, mine, its in zip(log, found, wanted, strict=True):
        told = as_told(mine, its, instances)
        assert sorted(map(repr, map(shown, told))) == sorted(map(repr, map(shown, its))), item


@given(shop_logs(), st.lists(st.integers(1, 30), max_size=6), SETTLING)
@settings(max_examples=150)
def test_a_log_in_batches_of_any_sizes_fires_the_same_and_leaves_the_same_bytes(
    log: Log, cuts: list[int], most: int
) -> None:
    p = restless(shop(), most)
    one_by_one, state = read(p, log, range(len(log)))
    for sizes in ([], cuts):
        told, other = read(p, log, sizes)
        assert flat(told) == flat(one_by_one)
        assert encode(p, other) == encode(p, state)


@given(shop_logs(), st.integers(0, 30))
@settings(max_examples=60)
def test_reading_a_piece_of_log_again_fires_nothing(log: Log, back: int) -> None:
    p = shop()
    _, state = read(p, log)
    before = encode(p, state)
    again = [(n, each) for n, each in enumerate(log) if isinstance(each, Event)][-back:]
    assert act(p, state, [each for _, each in again], 0, [n for n, _ in again]) == []
    assert encode(p, state) == before


@given(shop_logs(), shop_logs(8))
@settings(max_examples=60)
def test_an_instance_is_of_its_trigger_and_what_began_it_whatever_came_before(log: Log, before: Log) -> None:
    p = shop()
    moved = [
        Tick(NOON - DAY)
        if isinstance(each, Tick)
        else Event(each.type, f"before {each.id}", each.time - 10 * DAY, each.customer, each.fields)
        for each in before
    ]

    def instances(log: Log) -> dict[tuple[str, int, str], str]:
        fired = [each for each in flat(read(p, log)[0]) if each.superseded_by is None]
        return {(each.trigger, each.time, each.cause): each.instance for each in fired}

    alone, behind = instances(log), instances([*moved, *log])
    assert {each: behind[each] for each in alone.keys() & behind} == {
        each: alone[each] for each in alone.keys() & behind
    }
    assert len({*alone.values()}) == len(alone)


def causes(log: Log, trigger: str) -> list[str]:
    return [each.cause for each in flat(read(shop(), log)[0]) if each.trigger == trigger]


def told_of(log: Log, trigger: str) -> list[tuple[str, int, str | None]]:
    """(cause, steps since noon, superseded by) of what one trigger tells."""
    told = [each for each in flat(read(shop(), log)[0]) if each.trigger == trigger]
    first = {each.instance: each.cause for each in told if each.superseded_by is None}
    return [(first[each.instance], (each.time - NOON) // STEP, each.superseded_by) for each in told]


def test_an_edge_up_and_down_inside_one_batch_is_not_lost() -> None:
    log = [sale(1, NOON, 60), sale(2, NOON + 7 * STEP), sale(3, NOON + 8 * STEP, 60)]
    assert causes(log, "big_hour") == ["1", "3"]


def test_an_absence_never_fires_when_its_answer_is_in_the_log_before_the_tick() -> None:
    end = NOON + 2 * STEP
    start, answer, other = look(1, NOON, "a"), sale(2, end, 1, "a"), sale(2, end, 1, "b")
    due, later = Tick(end + 60_000), Tick(NOON + DAY)
    assert told_of([start, answer, later], "looked_in_vain") == []
    assert told_of([start, Tick(end + 59_999), answer, later], "looked_in_vain") == []
    assert told_of([answer, start, later], "looked_in_vain") == []
    assert told_of([start, other, later], "looked_in_vain") == [("1", 2, None)]
    assert told_of([start, due, answer, later], "looked_in_vain") == [("1", 2, None), ("1", 2, "2")]


def test_of_more_instants_than_are_kept_the_one_due_last_is_given_up() -> None:
    log: list[Event | Tick] = [look(n, NOON + n * STEP // 2, str(n)) for n in range(20)]
    due, first = Tick(NOON + DAY), [str(n) for n in range(16)]
    assert causes([*log, due], "looked_in_vain") == first
    assert causes([*log[:9:-1], *log[:10], due], "looked_in_vain") == first


def test_patience_counts_for_what_is_due_last() -> None:
    log: list[Event | Tick] = [sale(n, NOON + n, 1, "sold") for n in range(2)]
    log += [look(n, NOON - n, str(n)) for n in range(13)]
    assert causes([*log, Tick(NOON + DAY)], "quiet") == ["time"]
    # Its wait is over before the look at the sales, but it is patient for a minute.
    log.append(look("patient", NOON + 2 * STEP - 30_000))
    assert causes([*log, Tick(NOON + DAY)], "quiet") == ["time"]
    assert causes([*log, Tick(NOON + DAY)], "looked_in_vain") == [str(n) for n in range(12, -1, -1)]


def test_of_more_events_than_are_remembered_the_oldest_help_no_more() -> None:
    log = [look(n, NOON + n, str(n)) for n in range(17)]
    bought = [sale(20 + n, NOON + STEP + n, 1, str(n)) for n in range(17)]
    assert causes([*log, *bought], "looked_and_bought") == [str(20 + n) for n in range(1, 17)]


def test_an_event_that_has_helped_to_fire_is_used_up_and_so_are_those_like_it() -> None:
    log = [look(1, NOON, "a"), look(2, NOON, "a"), look(3, NOON, "b")]
    bought = [sale(n, NOON + n, 1, "a") for n in (4, 5)]
    assert causes([*log, *bought, sale(6, NOON + 6, 1, "b")], "looked_and_bought") == ["4", "6"]


def test_an_event_that_helped_where_nothing_could_fire_helps_again() -> None:
    paid = [(0, 6), (1, 1), (2, 6), (3, 1), (1 + 2 * STEP, 1)]
    log = [sale(number, NOON + at, amount) for number, (at, amount) in enumerate(paid)]
    assert causes(log, "dear_then_cheap") == ["1", "4"]


def test_a_sequence_is_of_what_was_read_before_and_happened_before() -> None:
    looked, end = look(1, NOON), NOON + 2 * STEP
    assert causes([looked, sale(2, end)], "looked_and_bought") == ["2"]
    assert causes([looked, sale(2, end + 1)], "looked_and_bought") == []
    assert causes([looked, sale(2, NOON - 1)], "looked_and_bought") == []
    assert causes([sale(2, end), looked], "looked_and_bought") == []


def test_a_late_answer_supersedes_once_and_nothing_fires_again() -> None:
    log: Log = [
        look(1, NOON, "a"),
        Tick(NOON + 3 * STEP),
        sale(2, NOON + STEP, 1, "a"),
        sale(3, NOON + STEP + 1, 1, "a"),
        Tick(NOON + DAY),
    ]
    told = [each for each in flat(read(shop(), log)[0]) if each.trigger == "looked_in_vain"]
    assert [each.superseded_by for each in told] == [None, "2"]
    assert told[0].instance == told[1].instance


def test_a_late_event_that_undoes_an_edge_supersedes_it_and_a_later_one_does_not() -> None:
    up, late, later = call(1, NOON + 3, minutes=1), call(2, NOON + 3, minutes=9), call(3, NOON + 4, minutes=9)
    assert told_of([up, late, later], "unknown_is_not_true") == [("1", 0, None), ("1", 0, "2")]
    assert told_of([up, later, late], "unknown_is_not_true") == [("1", 0, None)]


def test_what_has_ended_since_is_not_superseded() -> None:
    up, down = call(1, NOON + 3, minutes=1), call(2, NOON + 4, minutes=9)
    late_up, late_down = call(3, NOON + 2, minutes=1), call(4, NOON + 2, minutes=9)
    assert told_of([up, down, late_up, late_down], "unknown_is_not_true") == [("1", 0, None), ("3", 0, None)]


def test_an_absence_is_superseded_by_its_answer_and_not_as_its_condition_falls() -> None:
    calls = [call(1, NOON - 3 * STEP), call(2, NOON)]
    log: Log = [*calls, Tick(NOON + 3 * STEP), sale(3, NOON + 6 * STEP), call(4, NOON - STEP)]
    assert told_of(log, "called_twice") == [("2", 1, None)]
    answer = sale(5, NOON + STEP, 60)
    assert told_of([*log, answer], "called_twice") == [("2", 1, None), ("2", 1, "5")]


def test_a_late_one_that_counts_supersedes_the_nth() -> None:
    log = [sale(1, NOON, 1, "a"), sale(2, NOON + STEP, 1, "a")]
    late = [sale(3, NOON + STEP, 1, "a"), sale(4, NOON, 1, "b"), sale(5, NOON + 1, 1, "a")]
    assert told_of([*log, *late], "second_of_kind") == [("2", 1, None), ("2", 1, "5")]


def test_time_alone_makes_true_at_its_instant_and_once() -> None:
    log = [sale(1, NOON, 1), sale(2, NOON + STEP, 1)]
    early, due = Tick(NOON + 4 * STEP + 59_999), Tick(NOON + 9 * STEP)
    assert told_of([*log, early], "lapsing") == []
    assert told_of([*log, early, due, Tick(NOON + DAY)], "lapsing") == [("time", 4, None)]
    assert told_of([*log, due, sale(3, NOON + 2 * STEP, 1)], "lapsing") == [
        ("time", 4, None),
        ("time", 4, "3"),
    ]


def test_cooldown_and_dates_are_of_event_time() -> None:
    log = [sale(n, NOON + at, 6) for n, at in enumerate((0, 2 * STEP - 1, 2 * STEP, STEP))]
    assert causes(log, "dear") == ["0", "2"]
    season = [(4 * STEP - 1, 60), (7 * STEP, 1), (8 * STEP, 60), (11 * STEP, 1), (14 * STEP, 60)]
    assert causes([sale(at, NOON + at, paid) for at, paid in season], "in_season") == [str(8 * STEP)]


def test_what_is_unknown_makes_nothing_true() -> None:
    assert causes([call(1, NOON, minutes=9)], "unknown_is_not_true") == []
    assert causes([call(1, NOON, minutes=2)], "unknown_is_not_true") == ["1"]


def test_a_trigger_reads_what_others_have_fired_at_this_very_event() -> None:
    log = [sale(1, NOON, 1), sale(2, NOON, 6), sale(3, NOON, 1), call(4, NOON)]
    assert causes(log, "reads_ahead") == ["2", "3"]
    again = sale(5, NOON + 2 * STEP, 6)
    assert causes([*log, again, call(6, NOON + 2 * STEP)], "dear_lately") == ["6"]
