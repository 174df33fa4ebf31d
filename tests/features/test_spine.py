"""Past states are those of the log cut before the instant, also where the log is out of order."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from events.envelope import Event, Tick
from features.fold import decode
from features.row import row
from features.spine import fold_spine, write_spine
from tests.features.workshop import NOON, folded, histories, placed, plan, sale


@given(histories(15), st.lists(st.integers(0, 210 * 86_400_000), max_size=8), st.booleans())
@settings(max_examples=100, deadline=None)
def test_states_are_those_of_the_cut_log(log: Sequence[Event], offsets: list[int], ordered: bool) -> None:
    p = plan()
    if ordered:
        log = sorted(log, key=lambda event: event.time)
    spine = [("{001}someone", NOON + offset) for offset in offsets]
    spine += [("{001}someone", event.time) for event in log[:5]]
    answers = list(fold_spine(p, placed([Tick(NOON), *log]), spine))
    assert [(customer, at) for customer, at, _ in answers] == sorted(set(spine))
    for _, at, blob in answers:
        cut = folded(p, [event for event in log if event.time < at])
        assert row(p, decode(p, blob), at, at).tobytes() == row(p, cut, at, at).tobytes()


def test_customers_nobody_asked_for_and_customers_without_events(tmp_path: Path) -> None:
    p = plan()
    log = [sale(1, NOON, "{001}a"), sale(2, NOON, "{002}b")]
    answers = list(fold_spine(p, placed(log), [("{002}b", NOON + 1), ("{003}c", NOON)]))
    assert [(customer, at) for customer, at, _ in answers] == [("{002}b", NOON + 1), ("{003}c", NOON)]
    assert decode(p, answers[1][2]).newest == -1
    assert write_spine(tmp_path / "deep" / "spine.parquet", answers) == 2
    table = pq.read_table(tmp_path / "deep" / "spine.parquet")
    assert str(table.schema.field("event_timestamp").type) == "timestamp[us, tz=UTC]"
    assert table["event_timestamp"].cast("int64").to_pylist() == [(NOON + 1) * 1000, NOON * 1000]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["spine.parquet"]
