"""Every kind of declaration, at random instants, equals a plain computation over the raw events."""

from collections.abc import Mapping, Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from events.envelope import Event
from features.batch import FEW
from features.fold import Fate, State, fold_batch, empty
from features.fold import FATES
from features.plan import Plan
from features.row import cross, explain, row, whole_row
from tests.features.oracle import agrees
from tests.features.workshop import DAY, HOUR, NOON, folded, rich, rich_histories, sale

KEYS: Mapping[str, Sequence[str]] = {
    "kind": ["a", "b", "x", "", "never"],
    "reason": ["help", "price", "help", "never", ""],
    "label": ["a", "b", "", "a", "never"],
    "offer": ["b", "a", "", "never", "a"],
}
LATER = st.one_of(st.integers(0, 12 * 60_000), st.integers(0, 2 * HOUR), st.integers(0, 130 * DAY))


def check(p: Plan, state: State, log: Sequence[Event], at: int) -> None:
    numbers = row(p, state, at, at)
    assert len(numbers) == len(p.customer_features)
    for feature, value in zip(p.customer_features, numbers.tolist(), strict=True):
        assert agrees(p, feature, value, log, at, None), (feature, value)
    crossed = cross(p, state, at, KEYS, at)
    assert crossed.shape == (5, len(p.cross_features))
    for place, feature in enumerate(p.cross_features):
        for offer, key in enumerate(KEYS[feature.match or ""]):
            value = float(crossed[offer, place])
            assert agrees(p, feature, value, log, at, key), (feature, key, value)


@given(rich_histories(), st.lists(LATER, min_size=1, max_size=3), st.lists(st.integers(0, 19), max_size=5))
@settings(max_examples=120)
def test_every_kind_equals_the_oracle(log: Sequence[Event], later: list[int], again: list[int]) -> None:
    p = rich()
    told = list(log)
    for number in again:
        if number < len(log):
            told.insert((7 * number) % (len(told) + 1), log[number])
    state = folded(p, told)
    for each in sorted(later):
        check(p, state, log, max((event.time for event in log), default=NOON) + 1 + each)
