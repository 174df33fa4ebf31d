"""Every kind of declaration, at random instants, equals a plain computation over the raw events."""

from collections.abc import Mapping, Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from events.envelope import Event
from features.batch import FEW
from features.fold import State, empty
from features.kernel.layout import MOST_RECENT
from features.plan import Plan
from features.row import cross, explain, row
from tests.features.oracle import Past
from tests.features.workshop import DAY, HOUR, NOON, bare, call, folded, restless, rich, rich_histories

KEYS: Mapping[str, Sequence[str]] = {
    "kind": ["a", "b", "x", "", "never"],
    "reason": ["help", "price", "help", "never", ""],
    "label": ["a", "b", "", "a", "never"],
    "offer": ["b", "a", "", "never", "a"],
}
LATER = st.one_of(st.integers(0, 12 * 60_000), st.integers(0, 2 * HOUR), st.integers(0, 130 * DAY))


def check(p: Plan, state: State, log: Sequence[Event], at: int) -> None:
    past, numbers = Past(p, log, at), row(p, state, at, at)
    assert len(numbers) == len(p.customer_features)
    for feature, value in zip(p.customer_features, numbers.tolist(), strict=True):
        assert past.agrees(feature, value, None), (feature, value)
    crossed = cross(p, state, at, KEYS, at)
    assert crossed.shape == (5, len(p.cross_features))
    for place, feature in enumerate(p.cross_features):
        for offer, key in enumerate(KEYS[feature.match or ""]):
            value = float(crossed[offer, place])
            assert past.agrees(feature, value, key), (feature, key, value)


@given(
    rich_histories(),
    st.lists(LATER, min_size=1, max_size=3),
    st.lists(st.integers(0, 19), max_size=5),
    st.sampled_from([1, 3, MOST_RECENT]),
)
@settings(max_examples=120)
def test_every_kind_equals_the_oracle(
    log: Sequence[Event], later: list[int], again: list[int], most: int
) -> None:
    p = restless(rich(), most)
    told = list(log)
    for number in again:
        if number < len(log):
            told.insert((7 * number) % (len(told) + 1), log[number])
    state = folded(p, told)
    for each in sorted(later):
        check(p, state, log, max((event.time for event in log), default=NOON) + 1 + each)


def test_an_unknown_condition_is_not_true_however_many_events_there_are() -> None:
    p = rich()
    for count in (1, FEW - 1, FEW, 3 * FEW):
        scores = [None, 3, 4, 9, 2**53 - 1][:count] + [None] * (count - 5)
        log = [
            bare(n, NOON + n, score=score, gift=[None, True, False][n % 3]) for n, score in enumerate(scores)
        ]
        at = NOON + DAY
        values = {value.name: value.value for value in explain(p, folded(p, log), at, at)}
        assert values["unscored_count_28d"] == scores.count(3)
        assert values["gifts_count_ever"] == len([n for n in range(count) if n % 3 == 1])
        high = [score for score in scores if score is not None and score > 3]
        if high:
            assert values["scored_mean_7d"] == np.float32(sum(high) / len(high))


def test_each_value_has_its_own_limit_of_age() -> None:
    p = rich()
    state = folded(p, [bare(1, NOON, label="a", offer="b"), call(2, NOON)])
    at = NOON + 3 * DAY
    for age in (HOUR, HOUR + 1, 2 * DAY, 2 * DAY + 1):
        stale = {f.name for f in p.customer_features if f.freshness_ms < age}
        assert {value.name for value in explain(p, state, at, at - age) if value.status == "missing"} == stale
        names = [feature.name for feature in p.customer_features]
        assert {n for n, v in zip(names, row(p, state, at, at - age), strict=True) if np.isnan(v)} >= stale
        limits = {"lately_count_5m": HOUR, "lately_trend_1d_30d": HOUR, "paid_count_1h": 2 * DAY}
        for name, limit in limits.items():
            assert (name in stale) == (age > limit), name
        crossed = cross(p, state, at, {"offer": ["b"]}, at - age)[0]
        columns = {feature.name: place for place, feature in enumerate(p.cross_features)}
        assert np.isnan(crossed[columns["offer_of_all"]]) == (age > HOUR), "the tighter of its two"
        assert np.isnan(crossed[columns["bought_count_ever"]]) == (age > 2 * DAY)


def test_a_derived_value_says_whether_it_was_computed() -> None:
    p = rich()
    at = NOON + DAY

    def status(*log: Event) -> tuple[str, float | None]:
        values = {value.name: value for value in explain(p, folded(p, log), at, at)}
        return values["calls_a_sale"].status, values["calls_a_sale"].value

    assert status(call(1, NOON)) == ("empty", -1.0)
    assert status(bare(1, NOON)) == ("known", 0.0)
    assert status(bare(1, NOON), call(2, NOON)) == ("known", 1.0)
    assert {v.status for v in explain(p, empty(p), at, at)} == {"empty"}
    assert {v.status for v in explain(p, None, at, at)} == {"unseen"}


def test_a_field_that_a_whole_batch_lacks_is_unknown_and_folds_on() -> None:
    plan = rich()
    events = [bare(n, NOON + n, amount=10_000, label="a") for n in range(2 * FEW)]
    names = [feature.name for feature in plan.customer_features]
    values = row(plan, folded(plan, events), NOON + HOUR, NOON + HOUR)
    assert values[names.index("gifts_count_ever")] == 0
    assert values[names.index("lately_count_1d")] == 2 * FEW
