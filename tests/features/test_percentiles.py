"""Percentiles: buckets are within their error, and past their bound they are joined, not lost."""

import math
from collections.abc import Sequence
from functools import reduce
from random import Random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from events.envelope import Event
from features.anatomy import cells_of
from features.convert import convert
from features.fold import State, empty, fold_batch, merge, settled
from features.kernel.buckets import BOUNDS, LEAST, MOST_JOINED, ZERO, buckets_of, joined, middle_of
from features.kernel.layout import MISSING, MOST_RECENT
from features.kernel.settled import THINNED
from features.plan import Plan
from features.row import explain, row
from features.storage import storage_of
from tests.features.test_bounds import HEAD, minded, weight
from tests.features.workshop import DAY, HOUR, NOON, folded, plan, restless, sale

BASKET = """
[[aggregate]]
name = "basket"
event = "sale"
value = "amount"
functions = ["p5", "p50", "p95"]
windows = ["7d", "28d"]
ever = true
unit = "USD"
meaning = "what is paid at once"
"""
COUNTED = """
[[aggregate]]
name = "sales"
event = "sale"
functions = ["count"]
windows = ["7d"]
unit = "times"
meaning = "how often"
"""
GAMMA = 41 / 39
NUMBERS = st.one_of(
    st.integers(-(2**53), 2**53),
    st.integers(-300, 300),
    st.sampled_from(BOUNDS[:-1].tolist()).flatmap(lambda n: st.sampled_from([n - 1, n, n + 1, -n])),
)


def error(times: int) -> float:
    """How far a number is from the middle of its bucket at most, as a part of the number."""
    width = GAMMA ** (1 << times)
    return (width - 1) / (width + 1)


def bounded(memory: str = "1MB", most: int = 1, lateness: str = "400d") -> Plan:
    """Bounds are minded after each event, so that a short history meets them."""
    return restless(plan(f'memory = "{memory}"{BASKET}', lateness=lateness), most)


def values(p: Plan, state: State, at: int) -> dict[str, float]:
    return dict(zip((f.name for f in p.customer_features), row(p, state, at, at).tolist(), strict=True))


def spread(seed: int, count: int, days: int, bits: int) -> Sequence[Event]:
    """Sales of any size up to 2^bits, some of nothing, some paid back, every fifth of them late."""
    random, log = Random(seed), []
    for number in range(count):
        time = NOON + days * DAY * number // count
        if random.random() < 0.2:
            time -= random.randrange(days * DAY)
        amount = int(2 ** (random.random() * bits)) * random.choice([1, 1, 1, 1, 0, -1])
        log.append(sale(number, time, amount=amount))
    return log


LOGS = st.builds(
    spread, st.integers(0, 10**6), st.integers(1, 400), st.sampled_from([1, 40]), st.sampled_from([4, 20, 49])
)


def of_rank(numbers: Sequence[int], percent: int) -> int:
    return sorted(numbers)[math.ceil(percent * len(numbers) / 100) - 1]


@given(NUMBERS, st.integers(0, MOST_JOINED))
@settings(max_examples=400)
def test_a_number_is_as_near_to_the_middle_of_its_bucket_as_is_said(number: int, times: int) -> None:
    (key,) = buckets_of(np.array([number])).tolist()
    middle = middle_of(joined(key, times), times)
    assert abs(middle - number) <= (error(times) + 1e-9) * abs(number)
    assert (middle > 0) - (middle < 0) == (number > 0) - (number < 0)
    assert abs(number) > 19 or times or middle == number


@given(st.lists(NUMBERS, max_size=20), st.integers(0, MOST_JOINED))
@settings(max_examples=200)
def test_buckets_are_in_the_order_of_their_numbers_and_keys_above_zero(
    numbers: list[int], times: int
) -> None:
    keys = [joined(key, times) for key in buckets_of(np.array(sorted(numbers), dtype=np.int64)).tolist()]
    assert keys == sorted(keys)
    assert all(0 < key < 2 * ZERO for key in keys)
    assert [joined(key, min(times + 1, MOST_JOINED)) for key in keys] == [
        joined(key, min(times + 1, MOST_JOINED)) for key in buckets_of(np.array(sorted(numbers))).tolist()
    ], "joined again is as joined at once"


def test_joined_as_often_as_may_be_a_few_buckets_are_left() -> None:
    bounds = BOUNDS[:-1]
    numbers = np.concatenate((-bounds, [0], bounds))
    keys = {joined(key, MOST_JOINED) for key in buckets_of(numbers).tolist()}
    assert len(keys) == LEAST
    assert buckets_of(np.array([MISSING])).tolist() == [MISSING]


def test_a_percentile_is_that_of_nearest_rank_over_each_window() -> None:
    p = plan(BASKET)
    old = [sale(n, NOON + n, amount=10_000 * n) for n in range(1, 101)]
    new = [sale(f"new {n}", NOON + 20 * DAY + n, amount=5_000_000) for n in range(3)]
    at = NOON + 21 * DAY
    found = values(p, folded(p, [*old, *new]), at)
    for name, expected in {
        "basket_p5_28d": 6,
        "basket_p50_28d": 52,
        "basket_p95_28d": 98,
        "basket_p95_ever": 98,
        "basket_p5_7d": 500,
        "basket_p95_7d": 500,
    }.items():
        assert found[name] == pytest.approx(expected, rel=0.025), name
    later = {value.name: value for value in explain(p, folded(p, old), NOON + 60 * DAY, NOON + 60 * DAY)}
    assert later["basket_p50_28d"].value is None
    assert later["basket_p50_28d"].status == "empty"
    assert later["basket_p50_ever"].status == "known"


@given(LOGS, st.integers(0, 30 * DAY))
@settings(max_examples=60)
def test_past_its_bound_a_histogram_is_less_sharp_and_loses_nothing(log: Sequence[Event], later: int) -> None:
    p = bounded()
    state = settled(p, folded(p, log))
    cells = cells_of(p, state)
    times = max((cell.thin for cell in cells if cell.key == 0), default=0)
    assert bool(state.flags & THINNED) == (times > 0)
    assert sum(cell.key > 0 for cell in cells) <= 160
    assert sum(sum(cell.ever) for cell in cells) == len(log)
    assert [cell.key for cell in cells] == sorted({cell.key for cell in cells})
    at = state.newest + 1 + later
    found, amounts = values(p, state, at), [int(str(event.fields["amount"])) for event in log]
    for percent in (5, 50, 95):
        expected = of_rank(amounts, percent) / 10_000
        assert found[f"basket_p{percent}_ever"] == pytest.approx(expected, rel=error(times) + 1e-6)


def test_so_many_buckets_make_two_of_their_neighbours_one() -> None:
    p = bounded()
    bounds = BOUNDS[100:400].tolist()
    state = folded(p, [sale(n, NOON + n, amount=bounds[n]) for n in range(160)])
    assert not settled(p, state).flags
    state = settled(p, folded(p, [sale(160, NOON + 160, amount=bounds[160])], state))
    cells = [cell for cell in cells_of(p, state) if cell.key]
    assert state.flags & THINNED
    assert len(cells) == 81
    assert sorted(cell.ever[0] for cell in cells)[-80:] == [2] * 80


@given(LOGS, st.lists(st.integers(1, 60), max_size=6), st.sampled_from([1, 3, MOST_RECENT]))
@settings(max_examples=40)
def test_any_batches_give_the_same_bytes_when_bounds_bite(
    log: Sequence[Event], sizes: list[int], most: int
) -> None:
    p = bounded("4kB", most)
    whole = folded(p, log).blob
    blob, at = empty(p).blob, 0
    for size in (*sizes, len(log)):
        piece = log[at : at + size]
        count = len(piece)
        (blob,) = fold_batch(p, [blob], piece, [0] * count, [0] * count, range(at, at + count)).blobs
        at += count
    assert blob == whole
    state = State(blob)
    assert minded(p, state) == weight(p, state) <= 4_000


@given(LOGS, LOGS, st.sampled_from(["4kB", "1MB"]))
@example(spread(0, 1, 1, 4), spread(74, 184, 40, 20), "4kB").via("a tile reached back over finer ones")
@settings(max_examples=40)
def test_merging_minds_the_bounds_and_commutes(
    one: Sequence[Event], two: Sequence[Event], memory: str
) -> None:
    p = bounded(memory)
    a = folded(p, one)
    b = folded(p, [Event(e.type, f"other {e.id}", e.time, e.customer, e.fields) for e in two])
    both = merge(p, a, b)
    assert both.blob == merge(p, b, a).blob
    assert minded(p, both) == weight(p, both) <= p.playbook.memory_bytes
    times = max(cell.thin for cell in cells_of(p, both))
    keys = [cell.key for cell in cells_of(p, both)]
    assert keys == sorted({joined(key, times) if key else 0 for key in keys})
    assert sum(sum(cell.ever) for cell in cells_of(p, both)) == len(one) + len(two)


@given(st.lists(LOGS, min_size=3, max_size=3), st.randoms(use_true_random=False))
@settings(max_examples=12)
def test_past_the_bound_on_its_buckets_a_histogram_keeps_to_the_whole_law(
    logs: list[Sequence[Event]], random: Random
) -> None:
    """Which buckets are together follows from all events alone; past a customer's bytes it also hangs on when
    they were too many."""
    p = bounded()
    log = [
        Event(e.type, f"{part} {e.id}", e.time, e.customer, e.fields)
        for part, events in enumerate(logs)
        for e in events
    ]
    a, b, c = (folded(p, [e for e in log if e.id.startswith(f"{part} ")]) for part in range(3))
    together = merge(p, merge(p, a, b), c)
    assert together.blob == merge(p, a, merge(p, b, c)).blob
    singletons = [folded(p, [event]) for event in log]
    random.shuffle(singletons)
    whole = settled(p, folded(p, log))
    alone = cells_of(p, reduce(lambda one, other: merge(p, one, other), singletons))
    assert alone == cells_of(p, whole) == cells_of(p, together)


def test_whatever_is_paid_a_customer_keeps_within_the_bound() -> None:
    p = bounded("4kB", MOST_RECENT, "1m")
    log = spread(7, 20_000, 28, 49)
    state = folded(p, sorted(log, key=lambda event: event.time))
    assert len(state.blob) <= 4_000 + HEAD + 16 * 32 * 3
    assert sum(sum(cell.ever) for cell in cells_of(p, state)) == len(log)


@given(LOGS, st.integers(0, 30 * DAY))
@settings(max_examples=40)
def test_recent_events_are_read_as_if_they_were_settled(log: Sequence[Event], later: int) -> None:
    p = bounded(most=MOST_RECENT)
    state = folded(p, log)
    at = state.newest + 1 + later
    sharp = not settled(p, state).flags & THINNED
    for name, value in values(p, settled(p, state), at).items():
        assert not sharp or values(p, state, at)[name] == pytest.approx(value, nan_ok=True), name


def test_what_is_kept_is_that_of_any_percentile_of_the_value_and_of_nothing_else() -> None:
    def key(text: str) -> str:
        (stored,) = storage_of(plan(text)).stored
        return stored.key

    assert key(BASKET) == key(BASKET.replace('"p95"', '"p99"').replace("basket", "cart"))
    assert key(BASKET) != key(BASKET.replace('"p5", "p50", "p95"', '"count"'))
    assert key(BASKET) != key(BASKET.replace('"28d"', '"56d"'))


def test_a_playbook_that_changes_carries_histograms_over_joined_ones_too() -> None:
    p = bounded()
    other = plan('memory = "1MB"' + BASKET.replace('"p5", "p50", "p95"', '"p95", "p7"') + COUNTED)
    for bits in (8, 49):
        state = folded(p, spread(3, 400, 40, bits))
        joined_at_all = settled(p, state).flags & THINNED
        assert bool(joined_at_all) == (bits == 49)
        taken = State(convert(storage_of(p), other, state.blob))
        at = state.newest + 1
        found = values(p, settled(p, state), at)
        for name, value in values(other, taken, at).items():
            assert name not in found or value == found[name], name
        assert [cell.key for cell in cells_of(p, state)] == [cell.key for cell in cells_of(other, taken)]


def test_a_constant_customer_reads_the_same_at_every_percentile() -> None:
    p = plan(BASKET)
    state = folded(p, [sale(n, NOON + n * HOUR, amount=99_900) for n in range(40)])
    found = {value for name, value in values(p, state, NOON + 40 * HOUR).items() if name.endswith("_28d")}
    assert len(found) == 1
    assert found.pop() == pytest.approx(9.99, rel=0.025)
