"""The events said to stand behind a number are those that make it: they add up to what the row says."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.envelope import Event
from features.attribute import attribute_features
from features.declare import load
from features.kernel.recent import MOST_MARKS
from features.plan import compile_plan
from features.why import CannotSay, Placed, feature_named, why
from tests.features.test_bounds import LOGS, doublings, kept, small, told
from tests.features.test_declare import GROCERY
from tests.features.workshop import AGGREGATES, DAY, HOUR, NOON, folded, histories, plan, sale

MORE = (
    AGGREGATES
    + """
[[aggregate]]
name = "habit"
event = "sale"
value = "amount"
functions = ["sum"]
windows = ["7d", "28d"]
trends = [["7d", "28d"]]
unit = "USD"
meaning = "what was paid, and whether it grows"

[[aggregate]]
name = "part"
event = "sale"
value = "amount"
by = "kind"
match = "kind"
functions = ["share"]
windows = ["7d"]
unit = "USD"
meaning = "this kind's part of what was paid"

[[aggregate]]
name = "basket"
event = "sale"
value = "amount"
functions = ["p10", "p95"]
windows = ["28d"]
ever = true
unit = "USD"
meaning = "what is paid at once"

[[ratio]]
name = "price"
numerator = "paid_sum_28d"
denominator = "bulk_sum_28d"
unit = "USD"
meaning = "paid for a piece"
default = 0
"""
)
PLAN = plan(MORE)
NAMES = [
    feature.name
    for feature in (*PLAN.customer_features, *PLAN.cross_features)
    if not feature.hidden and not feature.function.startswith("fired_")
]
LATER = NOON + 201 * DAY
MINUTE = HOUR // 60


def log_of(events: Sequence[Event]) -> list[Placed]:
    return [(0, position, event) for position, event in enumerate(events)]


@given(histories(), st.sampled_from(NAMES), st.integers(0, 210 * DAY), st.sampled_from(["a", "b", "zzz"]))
def test_the_events_add_up_to_the_value_of_the_row(
    history: list[Event], name: str, after: int, key: str
) -> None:
    log = log_of([*history, *history[::3]])
    found = why(PLAN, name, log, NOON + after, NOON + after, key)
    assert found.agrees, (found.added, found.value)
    assert not found.missing


@given(histories(), st.sampled_from(["7d", "28d", "84d"]))
def test_a_window_holds_what_happened_in_it_and_its_edge_is_off_by_at_most_a_hundredth(
    history: list[Event], window: str
) -> None:
    length = int(window[:-1]) * DAY
    found = why(PLAN, f"paid_count_{window}", log_of(history), LATER, LATER)
    behind = {each.event.id for each in found.contributions}
    sales = [event for event in history if event.type == "sale"]
    assert {event.id for event in sales if event.time >= LATER - length * 0.99} <= behind
    assert behind <= {event.id for event in sales if event.time >= LATER - length * 1.01}
    assert found.since is not None
    assert behind == {event.id for event in sales if event.time >= found.since}


def test_what_does_not_count_is_told_with_its_reason() -> None:
    days = plan(AGGREGATES, lateness="2d")
    events = [
        sale("old", NOON - 40 * DAY, amount=70_000),
        sale("in", NOON - 2 * DAY, amount=20_000),
        sale("gift", NOON - DAY, amount=None),
        sale("in", NOON - 2 * DAY, amount=20_000),
        sale("too late", NOON - 9 * DAY, amount=50_000),
        sale("last", NOON - HOUR, amount=10_000),
        sale("after", NOON + 1),
    ]
    found = why(days, "paid_sum_28d", log_of(events), NOON, NOON)
    assert [each.event.id for each in found.contributions] == ["in", "last"]
    assert [each.part for each in found.contributions] == [2.0, 1.0]
    assert (found.value, found.added, found.agrees) == (3.0, 3.0, True)
    assert found.left_out == {"repeat": 1, "late": 1, "no amount": 1, "outside the window": 1}
    keyed = why(days, "paid_by_kind_count_ever", log_of(events), NOON, NOON, "b")
    assert keyed.left_out == {"another kind": 3, "repeat": 1, "late": 1, "no amount": 1}
    bulk = why(days, "bulk_sum_28d", log_of(events), NOON, NOON)
    assert bulk.left_out["not pieces > 2 && kind != 'x'"] == 4


def test_a_half_life_weighs_what_is_older_less() -> None:
    events = [sale("a", NOON - 14 * DAY, amount=80_000), sale("b", NOON - 1, amount=10_000)]
    found = why(PLAN, "paid_sum_hl14d", log_of(events), NOON, NOON)
    assert [each.weight for each in found.contributions] == pytest.approx([0.5, 1.0])
    assert [each.part for each in found.contributions] == pytest.approx([4.0, 1.0])
    assert found.agrees


def test_one_event_decides_an_extreme_and_a_time() -> None:
    events = [sale(n, NOON - n * DAY, amount=n * 10_000) for n in (3, 1, 2)]
    for name, chosen in [("paid_max_28d", "3"), ("paid_min_28d", "1"), ("paid_since_last", "1")]:
        found = why(PLAN, name, log_of(events), NOON, NOON)
        assert [each.event.id for each in found.contributions if each.part] == [chosen], name
        assert found.agrees


def test_the_event_of_a_percentiles_rank_decides_it_and_the_row_has_the_middle_of_its_bucket() -> None:
    events = [sale(n, NOON - n * HOUR, amount=10_000 * n) for n in range(1, 21)]
    found = why(PLAN, "basket_p95_28d", log_of(events), NOON, NOON)
    (chosen,) = (each for each in found.contributions if each.part)
    assert (chosen.event.id, chosen.value) == ("19", 19.0)
    assert chosen.part == pytest.approx(19, rel=0.025)
    assert found.agrees
    assert len(found.contributions) == 20


def test_a_derived_number_shows_both_its_halves() -> None:
    events = [
        sale(n, NOON + HOUR - n * DAY, amount=10_000 * n, kind="ab"[n % 2], pieces=3) for n in range(1, 10)
    ]
    share = why(PLAN, "part_share_7d", log_of(events), NOON, NOON, "a")
    top, bottom = share.parts
    assert top.added == 2 + 4 + 6
    assert bottom.added == 1 + 2 + 3 + 4 + 5 + 6 + 7
    assert share.value == pytest.approx(12 / 28)
    assert share.agrees
    trend = why(PLAN, "habit_trend_7d_28d", log_of(events), NOON, NOON)
    assert trend.value == pytest.approx(28 / 7 / (45 / 28))
    assert all(part.agrees for part in (*share.parts, *trend.parts))
    assert why(PLAN, "price", log_of(events), NOON, NOON).value == pytest.approx(45 / 27)
    assert why(PLAN, "price", [], NOON, NOON).added == 0


def test_what_has_not_been_read_is_missing_however_the_events_add_up() -> None:
    found = why(PLAN, "paid_sum_7d", log_of([sale("a", NOON - DAY)]), NOON, NOON - 3 * DAY)
    assert found.missing
    assert found.agrees
    nothing = why(PLAN, "paid_last", [], NOON, NOON)
    assert math.isnan(nothing.value)
    assert nothing.agrees


def test_what_is_not_known_is_said_with_the_nearest() -> None:
    with pytest.raises(CannotSay, match=r"did you mean paid_sum_28d\?"):
        feature_named(PLAN, "paid_sum_28")
    with pytest.raises(CannotSay, match="give --offer"):
        why(PLAN, "paid_by_kind_sum_7d", [], NOON, NOON)


def test_an_attribute_has_no_events_behind_it() -> None:
    grocery = compile_plan(load(GROCERY))
    name = attribute_features(grocery.playbook)[0].name
    with pytest.raises(CannotSay, match="an attribute of a batch table"):
        feature_named(grocery, name)


BOUNDED = small()
BOUNDED_NAMES = [
    feature.name
    for feature in (*BOUNDED.customer_features, *BOUNDED.cross_features)
    if not feature.function.startswith("fired_")
]


@given(LOGS, st.sampled_from(BOUNDED_NAMES), st.integers(1, 30 * DAY), st.integers(0, 41))
@settings(max_examples=100)
def test_what_a_state_at_its_bounds_has_let_go_is_said_where_the_events_do_not_add_up(
    history: Sequence[Event], name: str, later: int, kind: int
) -> None:
    log = log_of(history)
    at = max(event.time for event in history) + later
    found = why(BOUNDED, name, log, at, at, f"k{kind}")
    assert found.accounted, (found.added, found.value)
    for each in (found, *found.parts):
        assert each.agrees or each.parts or any(gone.explains for gone in each.let_go)
    state = folded(BOUNDED, history)
    for part in found.parts or (found,):
        let_go = {each.kind: each for each in part.let_go}
        window, levels = part.feature.window_ms, (6 * HOUR, 7 * DAY, 28 * DAY)
        if part.feature.aggregate == "paid" and window is not None:
            assert ("tiles" in let_go) == (doublings(state, levels.index(window)) > 0)
        if "key" in let_go:
            assert math.isnan(part.value)
            assert part.key not in kept(BOUNDED, state, part.feature.aggregate, 42)
        elif part.feature.function == "count":
            assert not math.isnan(part.value)


def test_joined_buckets_are_said_with_what_they_may_be_off_by() -> None:
    log = log_of([sale(n, NOON + n, amount=int(1.08**n)) for n in range(200)])
    found = why(PLAN, "basket_p10_ever", log, LATER, LATER)
    (buckets,) = found.let_go
    assert buckets.what.startswith("2 neighbouring buckets of values are kept as one")
    assert buckets.means == "it is off by at most 5.0%"
    assert found.accounted
    assert found.value == pytest.approx(found.added, rel=0.08)


def test_wider_tiles_a_key_let_go_and_a_sample_are_said_in_words() -> None:
    log = log_of(told(1, 120, 40, 40))
    at = log[-1][2].time + 1
    (tiles,) = why(BOUNDED, "paid_sum_28d", log, at, at).let_go
    assert "times as wide as declared, to keep this customer within 4,000 bytes" in tiles.what
    assert "of the window" in tiles.means
    by_key = {f"k{n}": why(BOUNDED, "few_sum_28d", log, at, at, f"k{n}") for n in range(40)}
    gone = {key: found for key, found in by_key.items() if any(each.kind == "key" for each in found.let_go)}
    assert 0 < len(gone) < 40
    for found in gone.values():
        assert math.isnan(found.value)
        assert "to hold at most 3" in next(each.what for each in found.let_go if each.kind == "key")
    sizes = why(BOUNDED, "sizes_distinct_ever", log, at, at)
    (sample,) = sizes.let_go
    assert not sizes.agrees
    assert sample.means.startswith("it is an estimate")


def test_the_edge_of_a_coarsened_window_is_where_its_wider_tiles_put_it() -> None:
    bounded = small("4kB", "1m")
    log = log_of([sale(n, NOON + n * 5 * MINUTE, kind="a") for n in range(3_000)])
    for later in (1, 17 * MINUTE, 2 * HOUR, 5 * HOUR):
        at = log[-1][2].time + later
        found = why(bounded, "paid_count_7d", log, at, at)
        assert [each.kind for each in found.let_go][:1] == ["tiles"]
        assert found.agrees
        assert found.value == len(found.contributions) > 0


def test_a_repeat_that_came_after_its_id_was_let_go_is_pointed_at() -> None:
    events = [sale(n, NOON + n) for n in range(MOST_MARKS + 40)]
    (ids,) = why(PLAN, "paid_count_ever", log_of(events), LATER, LATER).let_go
    assert "none of the events here did" in ids.means
    found = why(PLAN, "paid_count_ever", log_of([*events, events[0]]), LATER, LATER)
    assert found.value == len(events) + 1
    assert "1 of the events here did" in found.let_go[0].means
    assert found.agrees
