"""One law: states are a commutative monoid, and folding a log is merging its singletons."""

import struct
from collections.abc import Sequence
from functools import reduce
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.envelope import Event
from features.anatomy import cells_of, marks_of
from features.batch import hash_key
from features.fold import (
    FATES,
    Fate,
    State,
    UnknownPlan,
    decode,
    empty,
    encode,
    fold,
    fold_batch,
    merge,
    settled,
)
from features.kernel.layout import MOST_RECENT
from features.kernel.recent import MOST_MARKS
from features.kernel.settled import FORGOT_MARKS
from features.plan import Plan
from features.row import cross, whole_row
from tests.features.workshop import (
    DAY,
    NOON,
    RICH,
    RICH_EVENTS,
    call,
    folded,
    histories,
    plan,
    restless,
    rich,
    rich_histories,
    sale,
)

READ = (
    *("paid_sum_7d", "paid_mean_84d", "paid_min_1h", "paid_max_28d", "paid_last", "paid_since_first"),
    *("paid_sum_hl1d", "paid_mean_hl14d", "paid_count_ever", "lately_count_11d", "lately_trend_1d_30d"),
    *("fading_mean_hl10m", "scored_trend_7d_28d", "unscored_count_28d", "gifts_count_ever"),
    *("notes_distinct_1d", "sizes_distinct_7d", "first_due_max_ever", "calls_a_sale"),
    *("basket_p1_1h", "basket_p50_7d", "basket_p95_90d", "basket_p95_ever", "scores_p99_ever"),
)
TRIGGERS = f"""
[[trigger]]
name = "told"
on = "sale"
meaning = "tells all of it after each sale"
payload = {{ {", ".join(f'{name} = "{name}"' for name in READ)} }}
"""


def body(p: Plan, state: State) -> bytes:
    """The settled bytes but for the positions, which say how the events came and not what they were."""
    whole = settled(p, state)
    (partitions,) = struct.unpack_from("<H", whole.recent, 48)
    return whole.blob[24:48] + whole.blob[50:64] + whole.blob[64 + 12 * partitions :]


def one_by_one(p: Plan, log: Sequence[Event]) -> tuple[bytes, list[Fate]]:
    state = empty(p)
    fates = [fold(p, state, event, 0, position) for position, event in enumerate(log)]
    return state.blob, fates


def cut(p: Plan, log: Sequence[Event], sizes: Sequence[int]) -> tuple[bytes, list[Fate]]:
    """The log folded in pieces of these sizes, and what is left at the end."""
    blob, fates, at = empty(p).blob, [], 0
    for size in (*sizes, len(log)):
        piece = log[at : at + size]
        count = len(piece)
        done = fold_batch(p, [blob], piece, [0] * count, [0] * count, range(at, at + count))
        (blob,) = done.blobs
        fates += [FATES[int(fate)] for fate in done.fates]
        at += count
    return blob, fates


@given(rich_histories(), st.integers(1, 20), st.integers(0, 200 * DAY))
@settings(max_examples=80)
def test_a_state_reads_the_same_whenever_its_recent_events_are_settled(
    log: Sequence[Event], most: int, after: int
) -> None:
    p = rich()
    state, other = folded(p, log), folded(restless(p, most), log)
    at = state.newest + 1 + after
    expected = whole_row(p, settled(p, state), at)
    offers = {match: ["a", "b", "", "help", "price", "never"] for match in p.tables.matches}
    crossed = cross(p, settled(p, state), at, offers, at)
    for each in (state, other):
        np.testing.assert_array_equal(whole_row(p, each, at), expected)
        np.testing.assert_array_equal(cross(p, each, at, offers, at), crossed)


@given(rich_histories(), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_any_order_settles_to_the_same_bytes(log: Sequence[Event], random: Random) -> None:
    p = rich()
    shuffled = list(log)
    random.shuffle(shuffled)
    assert body(p, folded(p, log)) == body(p, folded(p, shuffled))


@given(rich_histories())
@settings(max_examples=60)
def test_a_log_is_the_merge_of_its_singletons(log: Sequence[Event]) -> None:
    p = rich()
    singletons = [folded(p, [event]) for event in log]
    merged = reduce(lambda a, b: merge(p, a, b), singletons, empty(p))
    assert body(p, merged) == body(p, folded(p, log))


@given(rich_histories(8), rich_histories(8), rich_histories(8))
@settings(max_examples=60)
def test_merge_is_associative_and_commutative(
    one: Sequence[Event], two: Sequence[Event], three: Sequence[Event]
) -> None:
    p = rich()
    parts = [
        folded(p, [Event(e.type, f"{n}:{e.id}", e.time, e.customer, e.fields) for e in log])
        for n, log in enumerate((one, two, three))
    ]
    before = [encode(p, part) for part in parts]
    a, b, c = parts
    assert encode(p, merge(p, a, merge(p, b, c))) == encode(p, merge(p, merge(p, a, b), c))
    assert encode(p, merge(p, a, b)) == encode(p, merge(p, b, a))
    assert encode(p, merge(p, a, empty(p))) == encode(p, settled(p, a))
    assert [encode(p, part) for part in parts] == before, "merge changed what it was given"


@given(rich_histories(), st.lists(st.integers(0, 19)))
@settings(max_examples=60)
def test_batches_and_stops_change_nothing(log: Sequence[Event], stops: list[int]) -> None:
    p = rich()
    state = empty(p)
    for position, event in enumerate(log):
        fold(p, state, event, 0, position)
        if position in stops:
            state = decode(p, encode(p, state))
    assert encode(p, state) == encode(p, folded(p, log))


@given(
    rich_histories(),
    st.lists(st.integers(0, 19), max_size=8),
    st.lists(st.integers(1, 9), max_size=8),
    st.sampled_from([1, 2, 5, MOST_RECENT]),
)
@settings(max_examples=100)
def test_a_log_in_batches_of_any_sizes_with_late_and_repeated_events_gives_the_same_bytes(
    log: Sequence[Event], again: list[int], sizes: list[int], most: int
) -> None:
    p = restless(plan(RICH, lateness="1d", events=RICH_EVENTS), most)
    told = list(log)
    for number in again:
        if number < len(log):
            told.insert((7 * number) % (len(told) + 1), log[number])
    assert cut(p, told, sizes) == cut(p, told, []) == one_by_one(p, told)


@given(
    st.lists(rich_histories(8), min_size=2, max_size=4),
    st.randoms(use_true_random=False),
    st.sampled_from([2, 5, MOST_RECENT]),
)
@settings(max_examples=60)
def test_customers_mixed_in_one_batch_are_each_as_alone(
    logs: Sequence[Sequence[Event]], random: Random, most: int
) -> None:
    p = restless(rich(TRIGGERS), most)
    before = [folded(p, log[: len(log) // 2]) for log in logs]
    rest = [log[len(log) // 2 :] for log in logs]
    owners = [owner for owner, log in enumerate(rest) for _ in log]
    random.shuffle(owners)
    coming = [iter(enumerate(log, start=len(logs[n]) // 2)) for n, log in enumerate(rest)]
    positions, events = zip(*(next(coming[owner]) for owner in owners), strict=True) if owners else ((), ())
    blobs: list[bytes | None] = [state.blob for state in before]
    blobs.append(None)
    mixed = fold_batch(p, blobs, events, owners, [0] * len(events), positions)
    assert mixed.blobs == [*(folded(p, log).blob for log in logs), empty(p).blob]
    for owner, state in enumerate(before):
        mine = [n for n, each in enumerate(owners) if each == owner]
        alone = fold_batch(
            p, [state.blob], rest[owner], [0] * len(mine), [0] * len(mine), [positions[n] for n in mine]
        )
        told = {hit.event: repr(hit.told) for hit in mixed.hits.every()}
        same = {hit.event: repr(hit.told) for hit in alone.hits.every()}
        assert [told.get(n) for n in mine] == [same.get(number) for number in range(len(mine))]


@given(rich_histories(), st.lists(st.integers(1, 9), max_size=4), st.sampled_from([2, 5, MOST_RECENT]))
@settings(max_examples=80)
def test_what_triggers_read_after_an_event_is_the_row_of_a_state_folded_up_to_there(
    log: Sequence[Event], sizes: list[int], most: int
) -> None:
    p = restless(rich(TRIGGERS), most)
    names = [feature.name for feature in p.customer_features]
    columns = [names.index(name) for name in p.triggers.triggers[0].told]
    assert len(columns) == len(READ)
    state, alone, at = empty(p), empty(p), 0
    for size in (*sizes, len(log)):
        piece = log[at : at + size]
        count = len(piece)
        done = fold_batch(p, [state.blob], piece, [0] * count, [0] * count, range(at, at + count))
        told = {hit.event: hit.told for hit in done.hits.every()}
        for number, event in enumerate(piece):
            fold(p, alone, event, 0, at + number)
            assert (number in told) == (event.type == "sale")
            if number in told:
                expected = whole_row(p, alone, alone.newest + 1)[columns]
                np.testing.assert_array_equal(told[number], expected)
        at += count
        state = State(done.blobs[0])


@given(histories(), st.integers(0, 24))
@settings(max_examples=100, deadline=None)
def test_reading_a_piece_of_log_again_changes_nothing(log: Sequence[Event], back: int) -> None:
    state = folded(plan(), log)
    before = encode(plan(), state)
    for position in range(max(0, len(log) - back), len(log)):
        assert fold(plan(), state, log[position], 0, position) is Fate.BEHIND
    assert encode(plan(), state) == before


@given(histories(), st.lists(st.integers(0, 24), max_size=10))
@settings(max_examples=100, deadline=None)
def test_repeats_change_nothing_but_the_position(log: Sequence[Event], again: list[int]) -> None:
    state = folded(plan(), log)
    before = body(plan(), state)
    for position, number in enumerate((n for n in again if n < len(log)), start=len(log)):
        assert fold(plan(), state, log[number], 0, position) is Fate.REPEAT
        assert state.applied == {0: position}
    assert body(plan(), state) == before


def test_the_same_id_of_another_type_is_another_event() -> None:
    state = folded(plan(), [sale("1", NOON)])
    other = Event("call", "1", NOON, "{001}someone", {"reason": "help"})
    assert fold(plan(), state, other, 0, 1) is Fate.FOLDED


def test_of_two_at_one_instant_the_id_decides_which_came_last() -> None:
    p = plan()
    for number in range(8):
        one, two = sale(number, NOON, amount=1), sale(f"other {number}", NOON, amount=2)
        assert body(p, folded(p, [one, two])) == body(p, folded(p, [two, one]))
        assert body(p, merge(p, folded(p, [one]), folded(p, [two]))) == body(p, folded(p, [one, two]))


def test_an_event_past_lateness_is_late_and_one_within_lands_where_it_belongs() -> None:
    p = plan(lateness="1d")
    state = folded(p, [sale("1", NOON)])
    assert fold(p, state, sale("2", NOON - DAY - 1), 0, 1) is Fate.LATE
    assert fold(p, state, sale("3", NOON - DAY), 0, 2) is Fate.FOLDED
    assert state.newest == NOON
    assert fold(p, state, sale("3", NOON - DAY), 0, 3) is Fate.REPEAT


def test_an_id_is_forgotten_after_lateness_whether_or_not_the_state_was_settled_since() -> None:
    p = plan(lateness="1d")
    for stop in (False, True):
        state = folded(p, [sale("1", NOON), sale("2", NOON + 2 * DAY)])
        if stop:
            state = settled(p, decode(p, encode(p, state)))
        assert fold(p, state, sale("1", NOON + 2 * DAY), 0, 2) is Fate.FOLDED


def test_an_event_of_no_concern_leaves_no_trace() -> None:
    state = empty(plan())
    assert fold(plan(), state, Event("kairos.decision", "1", NOON, "c", {}), 0, 7) is Fate.IRRELEVANT
    assert state.applied == {}
    assert state.newest == -1


def test_positions_of_partitions_are_kept_apart() -> None:
    state = empty(plan())
    fold(plan(), state, sale("1", NOON), 0, 5)
    assert fold(plan(), state, sale("2", NOON), 1, 3) is Fate.FOLDED
    assert fold(plan(), state, sale("3", NOON), 0, 5) is Fate.BEHIND
    assert state.applied == {0: 5, 1: 3}


def test_states_of_different_plans_do_not_merge() -> None:
    other = plan(lateness="2d")
    with pytest.raises(UnknownPlan):
        merge(plan(), empty(plan()), empty(other))


def test_a_quiet_year_leaves_no_tiles_and_no_keys() -> None:
    p = plan()
    state = folded(p, [sale("1", NOON, kind="a"), sale("2", NOON + 390 * DAY, kind="b")])
    cells = cells_of(p, state)
    assert [tile.numbers[0] for cell in cells if cell.aggregate == "paid" for tile in cell.tiles] == [1]
    by_kind = {cell.key for cell in cells if cell.aggregate == "paid_by_kind"}
    assert by_kind == {hash_key("a"), hash_key("b")}, "ever keeps its keys"
    state = folded(p, [call("1", NOON), sale("2", NOON + 390 * DAY, kind="b")])
    assert not [cell for cell in cells_of(p, state) if cell.aggregate == "calls_by_reason"]


def test_old_detail_is_coarsened_so_that_tiles_are_bounded_whatever_happens() -> None:
    p = plan()
    log = [sale(n, NOON + n * DAY // 96) for n in range(96 * 100)]
    state = folded(p, log)

    def levels() -> list[int]:
        tiles = [tile.level for tile in cells_of(p, state)[0].tiles]
        return [tiles.count(level) for level in range(4)]

    before = levels()
    assert all(0 < count <= 200 for count in before), before
    assert len(cells_of(p, state)[0].halves[0]) <= 41
    late = sale("late", log[-1].time - 60 * DAY)
    assert fold(p, state, late, 0, len(log)) is Fate.FOLDED
    assert sum(levels()) <= sum(before), "a late event lands in the tile that its age asks for"


def test_ids_are_remembered_up_to_a_bound_and_the_state_says_so() -> None:
    p = plan()
    log = [sale(n, NOON + n) for n in range(MOST_MARKS + 200)]
    state = folded(p, log)
    assert marks_of(p, state)[0][0] == NOON + 200
    assert len(marks_of(p, state)) == MOST_MARKS
    assert state.flags & FORGOT_MARKS
    assert fold(p, state, log[-1], 0, len(log)) is Fate.REPEAT
    assert not folded(p, log[:MOST_MARKS]).flags & FORGOT_MARKS
