"""What a state lets go to keep within its bounds: keys, values, detail, ids. Nothing else is lost."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.envelope import Event
from features.anatomy import cells_of, marks_of
from features.batch import hash_key
from features.fold import State, decode, empty, fold, fold_batch, merge, settled
from features.kernel.layout import MOST_RECENT
from features.kernel.recent import MOST_MARKS
from features.kernel.settled import COARSENED, FORGOT_MARKS, THINNED, WEIGHT
from features.memory import weights_of
from features.plan import Plan
from features.row import cross, explain, row
from tests.features.oracle import Past
from tests.features.workshop import DAY, HOUR, NOON, folded, plan, restless, sale

ROOT = Path(__file__).parents[2]
HEAD = 4_096
"""Bytes beside the bound and the ids: head, positions, how far families are thinned."""

SMALL = """
[[aggregate]]
name = "few"
event = "sale"
value = "amount"
by = "kind"
match = "kind"
keys = 3
functions = ["count", "last", "since_first", "share"]
windows = ["7d", "28d"]
unit = "USD"
meaning = "paid for few kinds"
default = { share = 0 }

[[aggregate]]
name = "many"
event = "sale"
by = "kind"
match = "kind"
keys = 4096
functions = ["count", "since_last"]
windows = ["28d"]
ever = true
unit = "sales"
meaning = "of many kinds"

[[aggregate]]
name = "sizes"
event = "sale"
value = "pieces"
functions = ["distinct"]
windows = ["7d"]
ever = true
keys = 4
unit = "sizes"
meaning = "different sizes"

[[aggregate]]
name = "paid"
event = "sale"
value = "amount"
functions = ["count", "sum", "max"]
windows = ["6h", "7d", "28d"]
half_lives = ["1d"]
ever = true
unit = "USD"
meaning = "paid"
"""
TRIGGERS = """
[[trigger]]
name = "probe"
on = "sale"
payload = { a = "paid_sum_28d", b = "paid_count_6h", c = "sizes_distinct_7d" }
meaning = "tells what is bounded"
"""


def small(memory: str = "4kB", lateness: str = "400d", most: int = 1) -> Plan:
    """Bounds are minded after so many events; after each, so that a short history meets them."""
    return restless(plan(f'memory = "{memory}"{SMALL}', TRIGGERS, lateness), most)


def told(seed: int, count: int, days: int, kinds: int) -> Sequence[Event]:
    """So many sales over these days, one after the other but for every fifth, which comes late."""
    random = Random(seed)
    log = []
    for number in range(count):
        time = NOON + days * DAY * number // count
        if random.random() < 0.2:
            time -= random.randrange(days * DAY)
        amount, pieces, kind = random.randrange(1, 10**6), random.randrange(40), random.randrange(kinds)
        log.append(sale(number, max(time, 0), amount=amount, pieces=pieces, kind=f"k{kind}"))
    return log


LOGS = st.builds(
    told,
    st.integers(0, 10**6),
    st.integers(1, 120),
    st.sampled_from([1, 10, 40, 120]),
    st.sampled_from([4, 40]),
)


def kept(p: Plan, state: State, name: str, keys: int) -> set[str]:
    """Those of the kinds that the family has not let go."""
    (thin,) = [cell.thin for cell in cells_of(p, state) if cell.aggregate == name and cell.key == 0] or [0]
    return {f"k{n}" for n in range(keys) if hash_key(f"k{n}") & (2**64 - 1) < 2 ** (64 - thin)}


def doublings(state: State, level: int) -> int:
    """How often the tiles of the window with this number, of three, have been doubled in width."""
    return min(max(state.degree - (2 - level), 0), 6)


@given(LOGS, st.lists(st.integers(1, 40), max_size=6), st.sampled_from([1, 3, 16, MOST_RECENT]))
@settings(max_examples=40)
def test_any_batches_give_the_same_bytes_when_bounds_bite(
    log: Sequence[Event], sizes: list[int], most: int
) -> None:
    p = small(most=most)
    alone, probes = empty(p), []
    for position, event in enumerate(log):
        done = fold_batch(p, [alone.blob], [event], [0], [0], [position])
        alone = State(done.blobs[0])
        probes += [repr(hit.told) for hit in done.hits.every()]
    blob, found, at = empty(p).blob, [], 0
    for size in (*sizes, len(log)):
        piece = log[at : at + size]
        count = len(piece)
        done = fold_batch(p, [blob], piece, [0] * count, [0] * count, range(at, at + count))
        (blob,) = done.blobs
        found += [repr(hit.told) for hit in done.hits.every()]
        at += count
    assert blob == alone.blob
    assert found == probes
    assert len(blob) <= p.playbook.memory_bytes + HEAD + 16 * len(marks_of(p, alone))


def weight(p: Plan, state: State) -> int:
    """What its cells weigh, counted on the bytes."""
    aggregates = {bank.aggregate.name: bank.aggregate for bank in p.banks}
    found = 0
    for cell in cells_of(p, state):
        if cell.key or not aggregates[cell.aggregate].keyed:
            mine = weights_of(aggregates[cell.aggregate])
            found += mine.cell + mine.tile * (len(cell.tiles) + len(cell.sample))
            found += mine.interval * sum(map(len, cell.halves))
    return found


def minded(p: Plan, state: State) -> int:
    """What the state says that its cells weigh; no cells, nothing."""
    whole = settled(p, state)
    begin = len(whole.recent) + WEIGHT
    return int.from_bytes(whole.blob[begin : begin + 4], "little")


@given(LOGS, LOGS, st.lists(st.integers(1, 40), max_size=3))
@settings(max_examples=40)
def test_the_weight_by_which_the_bound_is_minded_is_that_of_the_bytes(
    log: Sequence[Event], more: Sequence[Event], sizes: list[int]
) -> None:
    p, at = small(), 0
    state = empty(p)
    for size in (*sizes, len(log)):
        state = folded(p, log[at : at + size], state)
        assert minded(p, state) == weight(p, state) <= p.playbook.memory_bytes
        at += size
    other = folded(p, [Event(e.type, f"other {e.id}", e.time, e.customer, e.fields) for e in more])
    both = merge(p, state, other)
    found = weight(p, both)
    assert minded(p, both) == found
    assert found <= p.playbook.memory_bytes
    assert len(both.blob) <= found + HEAD + 16 * len(marks_of(p, both))


@given(LOGS)
@settings(max_examples=60)
def test_a_key_that_is_kept_is_exact_and_one_let_go_reads_as_missing(log: Sequence[Event]) -> None:
    p = small("1MB")
    state = settled(p, folded(p, log))
    at = state.newest + 1
    past, kinds = Past(p, log, at), [f"k{n}" for n in range(41)]
    crossed = cross(p, state, at, {"kind": kinds}, at)
    remaining = {name: kept(p, state, name, 41) for name in ("few", "many")}
    assert len(remaining["many"]) == 41
    assert bool(state.flags & THINNED) == any(cell.thin for cell in cells_of(p, state))
    assert state.degree == 0
    for place, feature in enumerate(p.cross_features):
        for number, kind in enumerate(kinds):
            value = float(crossed[number, place])
            if kind in remaining[feature.aggregate]:
                assert past.agrees(feature, value, kind), (feature, kind, value)
            else:
                assert np.isnan(value), (feature, kind, value)


def test_a_family_lets_go_half_of_its_keys_when_one_more_comes() -> None:
    p = small("1MB")
    state = empty(p)
    for number in range(40):
        fold(p, state, sale(number, NOON + number, kind=f"k{number}"), 0, number)
        living = [cell for cell in cells_of(p, state) if cell.aggregate == "few" and cell.key]
        assert len(living) <= 3
        seen = {f"k{n}" for n in range(number + 1)}
        assert {cell.key for cell in living} == {hash_key(kind) for kind in kept(p, state, "few", 40) & seen}
        assert bool(settled(p, state).flags & THINNED) == (number > 2)


def test_keys_that_time_has_emptied_make_room_without_letting_go() -> None:
    text = SMALL.replace('"count", "last", "since_first", "share"', '"count"').replace(
        "default = { share = 0 }", ""
    )
    p = plan(f'memory = "1MB"{text}')
    log = [sale(n, NOON + 10 * DAY * n, kind=f"k{n}") for n in range(40)]
    state = folded(p, log)
    assert kept(p, state, "few", 40) == {f"k{n}" for n in range(40)}
    assert len([cell for cell in cells_of(p, state) if cell.aggregate == "few"]) == 3
    assert not state.flags


@pytest.mark.parametrize("count", [1, 4, 40])
def test_a_sample_is_exact_up_to_its_bound_and_an_estimate_past_it(count: int) -> None:
    p = small("1MB")
    log = [sale(n, NOON + n, pieces=n % count) for n in range(2 * count)]
    state = folded(p, log)
    (cell,) = [cell for cell in cells_of(p, state) if cell.aggregate == "sizes"]
    assert (cell.thin == 0) == (count <= 4)
    estimated = len(cell.sample) * 2**cell.thin
    assert count > 4 or estimated == count
    values = {value.name: value.value for value in explain(p, state, NOON + 99, NOON + 99)}
    assert values["sizes_distinct_7d"] == values["sizes_distinct_ever"] == estimated


def test_past_its_bound_a_sample_estimates_within_four_standard_errors() -> None:
    text = SMALL.replace("keys = 4\n", "keys = 256\n")
    p = plan(f'memory = "64kB"{text}', lateness="1m")
    random, step = Random(7), 30 * DAY // 30_000
    log = [sale(n, NOON + n * step, pieces=random.randrange(12_000)) for n in range(30_000)]
    state = folded(p, log)
    at = state.newest + 1
    (cell,) = [cell for cell in cells_of(p, state) if cell.aggregate == "sizes"]
    values = {value.name: value for value in explain(p, state, at, at)}
    for name, since in (("sizes_distinct_7d", at - 7 * DAY), ("sizes_distinct_ever", 0)):
        whole = len({event.fields["pieces"] for event in log if event.time >= since})
        sampled = sum(last >= since for _, last in cell.sample)
        assert sampled > 40
        assert values[name].status == "known"
        assert values[name].value == sampled * 2**cell.thin
        assert abs(sampled * 2**cell.thin - whole) < 4 * whole / sampled**0.5
    assert len(cell.sample) <= 256
    assert state.flags & THINNED


@pytest.mark.parametrize(("memory", "least"), [("4kB", 4), ("6kB", 3), ("9kB", 1), ("1MB", 0)])
def test_the_oldest_detail_is_coarsened_first(memory: str, least: int) -> None:
    p = small(memory, "1m")
    state, before = empty(p), 0
    log = [sale(n, NOON + n * 5 * 60_000, amount=n, kind="a") for n in range(3_000)]
    windows = (6 * HOUR, 7 * DAY, 28 * DAY)
    for begin in range(0, len(log), 100):
        state = folded(p, log[begin : begin + 100], state)
        wides = [(w // 100).bit_length() - 1 + doublings(state, n) for n, w in enumerate(windows)]
        (cell,) = [cell for cell in cells_of(p, state) if cell.aggregate == "paid"]
        for tile in cell.tiles:
            assert tile.start % (1 << wides[tile.level]) == 0
        for level, wide in enumerate(wides):
            longest = windows[level] + (1 << wides[min(level + 1, 2)])
            assert sum(tile.level == level for tile in cell.tiles) <= (longest >> wide) + 2
        assert bool(state.flags & COARSENED) == (state.degree > 0)
        assert state.degree >= before
        before = state.degree
    assert least <= state.degree <= 8


@given(LOGS, st.integers(0, 30 * DAY))
@settings(max_examples=250)
def test_a_coarsened_window_lies_between_those_of_its_edges(log: Sequence[Event], later: int) -> None:
    p = small()
    state = folded(p, log)
    at = state.newest + 1 + later
    values = dict(zip((f.name for f in p.customer_features), row(p, state, at, at).tolist(), strict=True))
    found = Past(p, log, at).pairs("paid", None)
    for level, (length, window) in enumerate({"6h": 6 * HOUR, "7d": 7 * DAY, "28d": 28 * DAY}.items()):
        factor = 0.005 * 2 ** doublings(state, level)
        inner, outer = (
            [value for time, value in found if at - time <= window * (1 + sign * factor)] for sign in (-1, 1)
        )
        assert len(inner) <= values[f"paid_count_{length}"] <= len(outer)
        assert sum(inner) / 10_000 <= values[f"paid_sum_{length}"] * (1 + 1e-6)
        assert values[f"paid_sum_{length}"] <= sum(outer) / 10_000 * (1 + 1e-6)
    assert values["paid_count_ever"] == len(found), "what has no window stays exact"


@given(LOGS, LOGS)
@settings(max_examples=40)
def test_merging_minds_the_bounds_and_commutes(one: Sequence[Event], two: Sequence[Event]) -> None:
    p = small()
    a = folded(p, one)
    b = folded(p, [Event(e.type, f"other {e.id}", e.time, e.customer, e.fields) for e in two])
    both = merge(p, a, b)
    assert both.blob == merge(p, b, a).blob
    assert len(both.blob) <= p.playbook.memory_bytes + HEAD + 16 * len(marks_of(p, both))
    assert both.degree >= max(a.degree, b.degree)
    assert both.flags & (a.flags | b.flags) == a.flags | b.flags
    at = both.newest + 1
    values = dict(zip((f.name for f in p.customer_features), row(p, both, at, at).tolist(), strict=True))
    assert values["paid_count_ever"] == len(one) + len(two)


def test_merging_past_ids_says_nothing_was_forgotten_whichever_comes_first() -> None:
    p = small(lateness="1d")
    full = folded(p, [sale(f"new {n}", NOON + 9 * DAY + n) for n in range(MOST_MARKS)])
    old = folded(p, [sale(f"old {n}", NOON + n) for n in range(5)])
    assert merge(p, full, old).blob == merge(p, old, full).blob
    assert not merge(p, full, old).flags & FORGOT_MARKS
    more = folded(p, [sale("more", NOON + 9 * DAY)])
    for merged in (merge(p, full, more), merge(p, more, full)):
        assert merged.flags & FORGOT_MARKS


def fill(p: Plan, count: int, made: Callable[[int], Event]) -> State:
    """A state of so many events, in pieces of ten thousand."""
    state = empty(p)
    for begin in range(0, count, 10_000):
        state = folded(p, [made(n) for n in range(begin, min(count, begin + 10_000))], state)
    return decode(p, state.blob)


@pytest.mark.parametrize(
    ("what", "made"),
    [
        ("keys", lambda n: sale(n, NOON + n, kind=f"k{n}", pieces=n)),
        ("events", lambda n: sale(n, NOON + n * 40_000, kind="a", amount=n)),
        ("burst", lambda n: sale(n, NOON, kind=f"k{n % 7}", amount=n, pieces=n)),
    ],
)
def test_a_hundred_thousand_of_anything_keep_within_the_bounds(
    what: str, made: Callable[[int], Event]
) -> None:
    p = small("16kB", "1d")
    state = fill(p, 100_000, made)
    assert len(state.blob) <= 16_000 + HEAD + 16 * MOST_MARKS
    assert bool(state.flags & THINNED) == (what != "events")
    assert state.flags & FORGOT_MARKS
    at = state.newest + 1
    values = dict(zip((f.name for f in p.customer_features), row(p, state, at, at).tolist(), strict=True))
    assert values["paid_count_ever"] == 100_000
    living = {cell.key for cell in cells_of(p, state) if cell.aggregate == "many" and cell.key}
    kinds = [f"k{n}" for n in range(2_000)]
    column = [f.name for f in p.cross_features].index("many_count_ever")
    numbers = cross(p, state, at, {"kind": kinds}, at)[:, column]
    if what == "keys":
        assert living
        for kind, number in zip(kinds, numbers.tolist(), strict=True):
            assert number == 1.0 if hash_key(kind) in living else np.isnan(number)
    if what == "burst":
        assert numbers[:7].tolist() == [100_000 // 7 + (n < 100_000 % 7) for n in range(7)]


def answer() -> str:
    """What a history that is too large comes to."""
    p = small()
    state = folded(p, told(1, 120, 40, 40))
    crossed = cross(p, state, state.newest + HOUR, {"kind": ["k1", "k2", "k3"]}, state.newest)
    numbers = row(p, state, state.newest + HOUR, state.newest)
    whole = blake2b(state.blob + numbers.tobytes() + crossed.tobytes()).digest()
    return f"{state.degree} {whole.hex()}"


def test_compiled_and_as_plain_python_the_same_bytes_and_numbers_come_out() -> None:
    script = "from tests.features import test_bounds as t; print(t.answer())"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == answer()
