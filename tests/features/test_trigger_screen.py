"""What is plainly untrue is told without reading a cell; whatever is true is found all the same."""

from features.fold import empty, fold_log
from features.row import whole_row
from features.state import State
from tests.features.workshop import DAY, HOUR, NOON, call, plan, restless, sale

HOT = """
[[trigger]]
name = "hot"
meaning = "so many within the hour"
on = "sale"
when = "paid_count_1h >= 3"
repeats = true

[[trigger]]
name = "back"
meaning = "bought again after some days"
on = "call"
when = "paid_since_last >= 2"
repeats = true
"""


def fires(step: int, count: int, most: int) -> list[bool]:
    """Of sales so far apart after which the trigger fires, settled after so many."""
    p = restless(plan(triggers=HOT), most)
    state, found = empty(p), []
    for n in range(count):
        hits = fold_log(p, state, [sale(n, NOON + n * step)], 0, [n]).hits.every()
        found.append(bool(hits))
    return found


def rows(step: int, count: int) -> list[bool]:
    """The same by the row just after each."""
    p = plan(triggers=HOT)
    state, found = empty(p), []
    names = [feature.name for feature in p.customer_features]
    for n in range(count):
        fold_log(p, state, [sale(n, NOON + n * step)], 0, [n])
        row = whole_row(p, State(state.blob), NOON + n * step + 1)
        found.append(bool(row[names.index("paid_count_1h")] >= 3))
    return found


def test_a_count_over_a_window_fires_wherever_the_row_has_it() -> None:
    seen = set()
    for step in (1, HOUR // 4, HOUR // 3, HOUR // 2 - 1, HOUR // 2, HOUR // 2 + 10_000, HOUR):
        wanted = rows(step, 8)
        seen.add(any(wanted))
        for most in (1, 2, 5, 32):
            assert fires(step, 8, most) == wanted, (step, most)
    assert seen == {True, False}


def test_since_last_fires_from_its_day_on_and_not_before() -> None:
    p = plan(triggers=HOT)
    for later, fired in ((2 * DAY - 2, False), (2 * DAY - 1, True), (2 * DAY, True)):
        state = empty(p)
        events = [sale(0, NOON), call(1, NOON + later)]
        hits = fold_log(p, state, events, 0, range(2)).hits.every()
        assert bool(hits) == fired, later
