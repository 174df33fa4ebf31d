"""Counts over everybody are what a plain count over the log says, however it is cut and partitioned."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.codec import encode
from events.envelope import Event, Field, Tick
from features.declare import features_of
from features.everybody import Cut, fold_everybody, fold_records, late_of, merge_everybody
from features.everybody_past import EverybodyPast
from features.feature import SHARED
from features.log import LogReader
from features.plan import Plan
from features.row import Everybody, cross, explain, read_everybody, row
from tests.features.oracle import Past
from tests.features.workshop import AMOUNTS, DAY, HOUR, NOON, RICH_EVENTS, SPANS, bare, folded, plan

EVERYBODY = """
[[aggregate]]
name = "shop"
of = "global"
event = "sale"
value = "amount"
functions = ["count", "sum", "mean", "min", "max"]
windows = ["5m", "1h", "7d"]
trends = [["1h", "7d"]]
unit = "USD"
meaning = "what everybody pays"
default = { mean = 0, trend = 1 }
freshness = "1h"

[[aggregate]]
name = "scored"
of = "global"
event = "sale"
where = "score > 3"
functions = ["count"]
windows = ["1d"]
unit = "sales"
meaning = "sales that everybody scores high"

[[aggregate]]
name = "popular"
of = "offer"
event = "sale"
value = "pieces"
by = "offer"
functions = ["count", "sum", "share"]
windows = ["1h", "7d"]
unit = "pieces"
meaning = "pieces of this offer sold to everybody"
default = { share = 0 }

[[aggregate]]
name = "kinds"
of = "offer_group"
event = "sale"
value = "amount"
by = "kind"
match = "kind"
functions = ["count", "mean", "max"]
windows = ["1d", "28d"]
trends = [["1d", "28d"]]
unit = "USD"
meaning = "sales of this kind to everybody"

[[aggregate]]
name = "paid"
event = "sale"
value = "amount"
functions = ["sum", "mean"]
windows = ["7d"]
unit = "USD"
meaning = "what this customer pays"

[[aggregate]]
name = "own"
of = ["customer", "offer"]
event = "sale"
by = "offer"
functions = ["count"]
windows = ["7d"]
unit = "sales"
meaning = "this customer with this offer"

[[ratio]]
name = "dearer_than_all"
numerator = "paid_mean_7d"
denominator = "shop_mean_7d"
unit = "times"
meaning = "what this customer pays for a thing against everybody"
default = 1

[[ratio]]
name = "mine_of_all"
numerator = "own_count_7d"
denominator = "popular_count_7d"
unit = "share"
meaning = "this customer's part of the offer's sales"
default = 0

[[ratio]]
name = "kinds_of_shop"
numerator = "kinds_count_1d"
denominator = "shop_count_7d"
unit = "share"
meaning = "the kind's part of the shop"
"""
PEOPLE = [f"{{00{n}}}someone" for n in range(4)]
KEYS = {"offer": ["a", "b", "never"], "kind": ["a", "x", "never"]}


@pytest.fixture(scope="module")
def everyone() -> Plan:
    return plan(EVERYBODY, events=RICH_EVENTS)


def sold(ident: int, time: int, customer: str = PEOPLE[0], **fields: Field) -> Event:
    """A sale to one of them."""
    event = bare(ident, time, **fields)
    return Event(event.type, event.id, event.time, customer, event.fields)


@st.composite
def crowds(draw: st.DrawFn, max_size: int = 30) -> Sequence[Event]:
    """Sales to several customers, in any order, ids all different."""
    span = draw(SPANS)
    log = []
    for number in range(draw(st.integers(0, max_size))):
        fields: dict[str, Field] = {
            "amount": draw(AMOUNTS),
            "pieces": draw(st.integers(-1, 9)),
            "kind": draw(st.sampled_from(["a", "b", "x"])),
            "offer": draw(st.sampled_from([None, "a", "b", "c"])),
            "score": draw(st.sampled_from([None, 0, 4, 9])),
        }
        time = NOON + draw(st.integers(0, span))
        log.append(sold(number, time, draw(st.sampled_from(PEOPLE)), **fields))
    return log


def parts_of(plan: Plan, log: Sequence[Event], partitions: int) -> list[bytes | None]:
    """The states of the partitions when each customer's events are in one of them."""
    assert plan.crowd is not None
    blobs: list[bytes | None] = []
    for partition in range(partitions):
        mine = [event for event in log if PEOPLE.index(event.customer) % partitions == partition]
        blobs.append(fold_everybody(plan.crowd, None, mine, partition, range(len(mine))))
    return blobs


def seen(plan: Plan, log: Sequence[Event], at: int, partitions: int = 1) -> Everybody:
    assert plan.crowd is not None
    return read_everybody(plan, merge_everybody(plan.crowd, parts_of(plan, log, partitions)), at, at)


@given(crowds(), st.integers(0, 100), st.integers(1, 4))
@settings(max_examples=150)
def test_every_value_is_what_a_count_over_the_log_says(
    log: Sequence[Event], after: int, partitions: int
) -> None:
    everyone = plan(EVERYBODY, events=RICH_EVENTS)
    at = max((event.time for event in log), default=NOON) + 1 + after * HOUR
    everybody = seen(everyone, log, at, partitions)
    past = Past(everyone, log, at)
    features = features_of(everyone.playbook)
    plain = row(everyone, None, at, at, everybody)
    for feature, value in zip((f for f in features[0] if not f.hidden), plain.tolist(), strict=True):
        if feature.of in SHARED:
            assert past.agrees(feature, value, None), feature.name
    table = cross(everyone, None, at, KEYS, at, everybody)
    for place in range(3):
        for feature, value in zip(
            (f for f in features[1] if not f.hidden), table[place].tolist(), strict=True
        ):
            if feature.of in SHARED and feature.function != "ratio":
                key = KEYS[str(feature.match)][place]
                assert past.agrees(feature, value, key), (feature.name, key)


@given(crowds(), st.data())
@settings(max_examples=60)
def test_any_partitions_merge_to_the_same_values(log: Sequence[Event], data: st.DataObject) -> None:
    everyone = plan(EVERYBODY, events=RICH_EVENTS)
    assert everyone.crowd is not None
    at = max((event.time for event in log), default=NOON) + 1
    expected = seen(everyone, log, at)
    blobs = parts_of(everyone, log, data.draw(st.integers(2, 4)))
    merged = merge_everybody(everyone.crowd, data.draw(st.permutations(blobs)))
    found = read_everybody(everyone, merged, at, at)
    assert found.row.tobytes() == expected.row.tobytes()
    one, other = (cross(everyone, None, at, KEYS, at, each) for each in (found, expected))
    assert one.tobytes() == other.tobytes()


@given(crowds(), st.data())
@settings(max_examples=60)
def test_however_the_log_is_cut_and_read_again_the_bytes_are_the_same(
    log: Sequence[Event], data: st.DataObject
) -> None:
    crowd = plan(EVERYBODY, lateness="3h", events=RICH_EVENTS).crowd
    assert crowd is not None
    whole = fold_everybody(crowd, None, log, 3, range(len(log)))
    blob: bytes | None = None
    done = 0
    while done < len(log):
        begin = data.draw(st.integers(0, done))  # a crash reads on from an earlier position
        end = data.draw(st.integers(done + 1, len(log)))
        blob = fold_everybody(crowd, blob, log[begin:end], 3, range(begin, end))
        done = end
    assert blob is None or blob == whole


def test_what_is_too_late_for_its_partition_does_not_count() -> None:
    everyone = plan(EVERYBODY, lateness="1h", events=RICH_EVENTS)
    times = [NOON, NOON - HOUR, NOON - HOUR - 1, NOON + HOUR, NOON - 1]
    assert late_of([each - NOON for each in times], -1, HOUR).tolist() == [False, False, True, False, True]
    log = [sold(n, time) for n, time in enumerate(times)]
    everybody = seen(everyone, log, NOON + 2 * HOUR)
    names = [feature.name for feature in everyone.customer_features]
    assert row(everyone, None, everybody.at, 0, everybody)[names.index("shop_count_7d")] == 3


def test_many_offers_are_kept_to_the_bound_and_what_was_let_go_is_missing() -> None:
    few = plan(EVERYBODY.replace('by = "offer"\nfunctions = ["count", "sum"', 'by = "offer"\nkeys = 16\n'
               'functions = ["count", "sum"'), events=RICH_EVENTS)  # fmt: skip
    log = [sold(n, NOON + n, offer=f"o{n}") for n in range(1_000)]
    everybody = seen(few, log, NOON + 2_000)
    names = [feature.name for feature in few.cross_features]
    keys = {"offer": [f"o{n}" for n in range(1_000)], "kind": ["a"] * 1_000}
    table = cross(few, None, everybody.at, keys, everybody.at, everybody)
    counts = table[:, names.index("popular_count_7d")]
    assert 4 <= (counts == 1).sum() <= 16
    assert np.isnan(counts).sum() == 1_000 - (counts == 1).sum(), "never a zero that is none"
    assert np.isnan(table[:, names.index("popular_share_7d")]).sum() == np.isnan(counts).sum()


def test_a_customers_own_numbers_stand_against_everybodys(everyone: Plan) -> None:
    log = [sold(n, NOON + n, PEOPLE[n % 2], amount=10_000 * (n + 1), offer="a") for n in range(4)]
    mine = folded(everyone, [event for event in log if event.customer == PEOPLE[1]])
    at = NOON + 10
    everybody = seen(everyone, log, at, 2)
    values = dict(zip(
        [f.name for f in everyone.customer_features],
        row(everyone, mine, at, at, everybody).tolist(), strict=True,
    ))  # fmt: skip
    assert (values["paid_mean_7d"], values["shop_mean_7d"]) == (3.0, 2.5)
    assert values["dearer_than_all"] == pytest.approx(1.2)
    crossed = dict(zip(
        [f.name for f in everyone.cross_features],
        cross(everyone, mine, at, {"offer": ["a"], "kind": ["a"]}, at, everybody)[0].tolist(), strict=True,
    ))  # fmt: skip
    assert (crossed["own_count_7d"], crossed["popular_count_7d"], crossed["mine_of_all"]) == (2, 4, 0.5)
    assert crossed["kinds_of_shop"] == 1


def test_missing_is_said_when_everybody_was_not_read_for_long_or_only_later(everyone: Plan) -> None:
    log = [sold(1, NOON, offer="a")]
    shown = [feature.name for feature in everyone.customer_features]
    fresh = {"shop_count_7d", "dearer_than_all"}

    def missing(everybody: Everybody | None, at: int, watermark: int | None) -> set[str]:
        told = explain(everyone, None, at, watermark, everybody)
        assert all(each.value is None for each in told if each.status == "missing")
        numbers = row(everyone, None, at, watermark, everybody)
        assert np.array_equal([np.nan if each.value is None else each.value for each in told], numbers, True)
        return {each.name for each in told if each.status == "missing"}

    at = NOON + HOUR + 2
    everybody = seen(everyone, log, at)
    assert missing(everybody, at, at) == set()
    assert missing(None, at, at) == {"scored_count_1d", *(n for n in shown if n.startswith("shop"))} | fresh
    old = everybody._replace(read=at - HOUR - 1)
    assert missing(old, at, at) == {n for n in shown if n.startswith("shop")} | fresh, "others live longer"
    assert missing(everybody._replace(at=at + 1), at, at) == missing(None, at, at), "nothing of later"
    assert "dearer_than_all" in missing(everybody, at, None), "its other half is the customer's own"
    assert "shop_count_7d" not in missing(everybody, at, None)
    table = cross(everyone, None, at, {"offer": ["a"], "kind": ["a"]}, at, None)
    crossed = [feature.name for feature in everyone.cross_features]
    assert {name for name, value in zip(crossed, table[0], strict=True) if np.isnan(value)} == {
        name for name in crossed if name != "own_count_7d"
    }


def test_a_row_does_not_wait_for_its_customer_to_tell_what_everybody_did(everyone: Plan) -> None:
    log = [sold(1, NOON, offer="a")]
    told = {
        each.name: each for each in explain(everyone, None, NOON + 5, NOON + 5, seen(everyone, log, NOON + 5))
    }
    assert (told["shop_count_5m"].value, told["shop_count_5m"].status) == (1, "known")
    assert told["scored_count_1d"].status == "empty", "nobody scored: that is no secret of an unseen customer"
    assert told["paid_sum_7d"].status == "unseen"


@given(crowds(), st.integers(1, 3))
@settings(max_examples=40)
def test_the_past_is_what_was_seen_then(log: Sequence[Event], partitions: int) -> None:
    everyone = plan(EVERYBODY, lateness="3h", events=RICH_EVENTS)
    assert everyone.crowd is not None
    placed = []
    counts = [0] * partitions
    for event in log:
        partition = PEOPLE.index(event.customer) % partitions
        placed.append((partition, counts[partition], event))
        counts[partition] += 1
    past = EverybodyPast(everyone, placed)
    at = max((event.time for event in log), default=NOON) + 1
    blobs: dict[int, bytes] = {}
    cuts = []
    for partition, position, event in placed:
        blobs[partition] = fold_everybody(
            everyone.crowd, blobs.get(partition), [event], partition, [position]
        )
        state = merge_everybody(everyone.crowd, blobs.values())
        assert state is not None
        applied = tuple(state.applied.get(each, -1) for each in range(partitions))
        cuts.append((Cut(at, at, applied), read_everybody(everyone, state, at, at)))
    for cut, expected in [*cuts, *cuts[::-1]]:
        found = past.served(cut)
        assert found is not None
        assert found.row.tobytes() == expected.row.tobytes()


@given(crowds(max_size=15))
@settings(max_examples=40)
def test_before_an_instant_counts_just_what_happened_before_it(log: Sequence[Event]) -> None:
    everyone = plan(EVERYBODY, events=RICH_EVENTS)
    past = EverybodyPast(everyone, [(PEOPLE.index(e.customer), n, e) for n, e in enumerate(log)])
    instants = sorted(event.time for event in log)
    for at in [*instants, *instants[::-1]]:
        found = past.before(at)
        assert found is not None
        expected = seen(everyone, [event for event in log if event.time < at], at)
        assert found.row.tobytes() == expected.row.tobytes()
        assert row(everyone, None, at, at, found).tobytes() == row(everyone, None, at, at, expected).tobytes()


def test_a_plan_that_counts_nobody_else_has_no_past_of_everybody() -> None:
    past = EverybodyPast(plan(), [])
    assert past.served(Cut(NOON, NOON, (3,))) is None
    assert past.before(NOON + DAY) is None


@given(crowds())
@settings(max_examples=40)
def test_records_read_as_columns_come_to_what_their_events_do(log: Sequence[Event]) -> None:
    crowd = plan(EVERYBODY, lateness="3h", events=RICH_EVENTS).crowd
    assert crowd is not None
    items: list[Event | Tick] = [*log, *(Event("call", "c", NOON, PEOPLE[0], {"reason": "x"}), Tick(NOON))]
    half = len(log) // 2
    blob = fold_everybody(crowd, None, log[:half], 1, range(half)) if half else None
    records = [encode(item) for item in items[half:]]
    found = fold_records(LogReader(crowd), blob, records, 1, range(half, half + len(records)))
    assert found == fold_everybody(crowd, None, log, 1, range(len(log)))
