"""What a batch table says at an instant is what somebody who had only been told so far would say."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from features.attribute import Plain
from features.attribute_fields import fields_of, fields_to_write, held_of
from features.attribute_history import (
    History,
    Timeline,
    advance,
    loaded_in,
    read_history,
    schema_of,
    write_history,
)
from features.attributes import Held, attribute_values, explain_attributes, in_force, nothing_held
from features.declare import load
from features.full_row import full_features, full_row
from features.plan import compile_plan
from features.row import row
from tests.features.test_declare_attribute import ATTRIBUTES, with_attributes
from tests.features.workshop import DAY, NOON, folded, sale

PLAN = compile_plan(load(with_attributes()))
(TABLE,) = PLAN.playbook.attributes

Row = tuple[int, tuple[Plain | None, ...]]


class Load(NamedTuple):
    """The rows that a table has of one customer when it is loaded at `counted`; None: before anything."""

    counted: int | None
    rows: list[Row]


ROWS = st.dictionaries(
    st.integers(0, 60),
    st.tuples(
        st.sampled_from(["19-24", "25-34", "65+", None]),
        st.none() | st.integers(-3, 9),
        st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32),
        st.none() | st.booleans(),
    ),
    max_size=4,
).map(lambda rows: sorted(rows.items()))


@st.composite
def loads(draw: st.DrawFn) -> Sequence[Load]:
    """A few loads of a table that forgets, corrects and brings rows back; the first maybe before anything."""
    found = []
    counted = draw(st.none() | st.integers(0, 30))
    for _ in range(draw(st.integers(1, 5))):
        found.append(Load(counted, draw(ROWS)))
        counted = (counted or 0) + draw(st.integers(1, 20))
    return found


def told(history: Sequence[Load], at: int) -> tuple[str, Row | None]:
    """The plainest reading: of what was loaded by then, the row with the newest as-of before the instant."""
    loaded = [each for each in history if each.counted is None or each.counted <= at]
    if not loaded:
        return "missing", None
    known: dict[int, tuple[Plain | None, ...]] = {}
    for each in loaded:
        known = known | dict(each.rows) if each.rows else {}
    before = [as_of for as_of in known if as_of < at]
    return ("row", (max(before), known[max(before)])) if before else ("none", None)


def timeline_of(history: Sequence[Load]) -> Timeline:
    timeline: Timeline = ()
    for each in history:
        timeline = advance(timeline, each.rows, each.counted)
    return timeline


@given(loads(), st.integers(0, 150))
@settings(max_examples=400)
def test_a_value_is_the_newest_that_was_known_by_then(history: Sequence[Load], at: int) -> None:
    timeline = timeline_of(history)
    assert advance(timeline, history[-1].rows, history[-1].counted) == timeline, "again changes nothing"
    assert all(a.since < b.since for a, b in pairwise(timeline))
    first = history[0].counted or 0
    expected, its_row = told(history, at)
    found, version = in_force(timeline[::-1], first, at)
    if len(timeline) > 1 and at < timeline[0].since and at >= first:
        # Of a whole timeline nothing was dropped: there was no row yet.
        found, version = "none", None
    assert (found, None if version is None else (version.as_of, version.values)) == (expected, its_row)


@given(loads(), st.integers(0, 150))
def test_two_versions_online_say_the_same_or_that_they_cannot_say(history: Sequence[Load], at: int) -> None:
    timeline = timeline_of(history)
    fields = fields_to_write(TABLE, timeline[-2:][::-1]) if timeline else {}
    loaded = str(history[0].counted or 0).encode()
    held = held_of([TABLE], [fields.get(name) for name in fields_of([TABLE])], [loaded])
    assert held.versions == (timeline[-2:][::-1],)
    expected, its_row = told(history, at)
    found, version = in_force(held.versions[0], held.loaded[0], at)
    if found == "missing":
        assert expected == "missing" or at < timeline[-2].since
    else:
        assert (found, None if version is None else (version.as_of, version.values)) == (expected, its_row)


@given(st.lists(loads(), max_size=4))
def test_a_history_reads_as_it_was_written(histories: Sequence[Sequence[Load]]) -> None:
    timelines = {f"{{00{n}}}c": timeline_of(each) for n, each in enumerate(histories)}
    history = History({customer: each for customer, each in timelines.items() if each}, 7)
    path = Path(with_attributes()) / "deep" / "history.parquet"
    write_history(path, TABLE, history)
    assert read_history(path, TABLE) == history
    assert loaded_in(path) == 7
    assert [each.name for each in path.parent.iterdir()] == ["history.parquet"]
    assert str(schema_of(TABLE).field("event_timestamp").type) == "timestamp[us, tz=UTC]"


def held(*versions: tuple[int, int, tuple[Plain | None, ...]], loaded: int | None = 0) -> Held:
    timeline = tuple(each for since, *dated in versions for each in advance((), [tuple(dated)], since))
    return Held((loaded,), (timeline,))


def test_known_missing_empty_and_too_old_are_told_apart() -> None:
    values = ("25-34", 4, 30_000.5, False)
    known = held((NOON + 1, NOON, values))
    np.testing.assert_array_equal(attribute_values(PLAN, known, NOON + 1), np.float32([1, 4, 30_000.5, 0]))
    np.testing.assert_array_equal(attribute_values(PLAN, known, NOON), np.float32([np.nan, 2, 0.5, 1]))
    assert attribute_values(PLAN, known, NOON + 90 * DAY)[1] == 4
    assert np.isnan(attribute_values(PLAN, known, NOON + 90 * DAY + 1)).all(), "older than 90 days"
    np.testing.assert_array_equal(
        attribute_values(PLAN, nothing_held([TABLE], [5]), 5), np.float32([np.nan, 2, 0.5, 1])
    )
    for never in (nothing_held([TABLE]), nothing_held([TABLE], [6])):
        assert np.isnan(attribute_values(PLAN, never, 5)).all(), "not loaded yet"
    unknown = held((NOON + 1, NOON, ("80+", None, None, None)))
    assert np.isnan(attribute_values(PLAN, unknown, NOON + 1)).all(), "a row that does not know"


def test_people_read_the_age_of_the_row_and_the_category() -> None:
    told = explain_attributes(PLAN, held((NOON + 1, NOON, ("25-34", None, 3.5, True))), NOON + DAY)
    shown = [(each.feature.name, each.value, each.text, each.status, each.age_ms) for each in told]
    assert shown == [
        ("household_age", 1.0, "25-34", "known", DAY),
        ("household_size", None, None, "missing", DAY),
        ("household_income", 3.5, None, "known", DAY),
        ("household_owner", 1.0, None, "known", DAY),
    ]
    told = explain_attributes(PLAN, nothing_held([TABLE], [0]), NOON)
    assert [(each.value, each.status, each.age_ms) for each in told][:2] == [
        (None, "empty", None),
        (2.0, "empty", None),
    ]
    told = explain_attributes(PLAN, held((1, 0, ("25-34", 1, 3.5, True))), NOON)
    assert {(each.value, each.status, each.age_ms) for each in told} == {(None, "missing", NOON)}


def test_the_whole_row_is_behaviour_then_attributes() -> None:
    state = folded(PLAN, [sale(1, NOON)])
    known = held((NOON, NOON - 1, ("65+", 1, 2.0, False)))
    whole = full_row(PLAN, state, known, NOON + 1, NOON + 1)
    alone = row(PLAN, state, NOON + 1, NOON + 1)
    assert whole.dtype == np.float32
    assert whole.tobytes() == alone[: len(whole) - 4].tobytes() + np.float32([2, 1, 2, 0]).tobytes()
    assert [feature.name for feature in full_features(PLAN)][-4:] == [
        f"household_{name}" for name in ("age", "size", "income", "owner")
    ]
    assert not np.isnan(full_row(PLAN, None, known, NOON + 1, None)[-4:]).any(), "a table needs no log"
    plain = compile_plan(load(with_attributes("")))
    assert (
        full_row(plain, state, Held((), ()), NOON + 1, NOON + 1).tobytes()
        == row(plain, state, NOON + 1, NOON + 1).tobytes()
    )


def test_a_column_that_came_later_is_not_known_yet(tmp_path: Path) -> None:
    timeline = advance((), [(10, ("65+", 1, 2.0, False)), (20, ("65+", 2, 2.0, None))], None)
    fields = fields_to_write(TABLE, timeline[::-1])
    path = tmp_path / "history.parquet"
    write_history(path, TABLE, History({"{001}c": timeline}, None))
    cats = '  { name = "cats", kind = "integer", unit = "cats", meaning = "cats" },'
    (later,) = load(with_attributes(ATTRIBUTES.replace("\n]\n", f"\n{cats}\n]\n"))).attributes
    found = held_of([later], [fields.get(name) for name in fields_of([later])], [b"0"])
    assert [version.values[-1] for version in found.versions[0]] == [None, None]
    read = read_history(path, later).timelines["{001}c"]
    assert [version.values for version in read] == [("65+", 1, 2.0, False, None), ("65+", 2, 2.0, None, None)]


OTHER_KINDS = (
    ATTRIBUTES[: ATTRIBUTES.index("columns")]
    + """columns = [
  { name = "age", kind = "decimal", unit = "years", meaning = "age of the head" },
  { name = "size", kind = "category", meaning = "persons", categories = ["1"], default = "1" },
  { name = "income", kind = "integer", unit = "USD", meaning = "income a year" },
  { name = "owner", kind = "decimal", unit = "of 1", meaning = "their part of their home" },
]
"""
)


def test_a_column_of_another_kind_is_not_known_until_the_next_load() -> None:
    fields = fields_to_write(TABLE, advance((), [(10, ("65+", 1, 2.0, True))], None))
    plan = compile_plan(load(with_attributes(OTHER_KINDS)))
    values = [fields.get(name) for name in fields_of(plan.playbook.attributes)]
    found = held_of(plan.playbook.attributes, values, [b"0"])
    np.testing.assert_array_equal(attribute_values(plan, found, 11), np.float32([np.nan, np.nan, 2, 1]))


@given(loads(), st.integers(0, 150))
def test_what_is_unpacked_for_an_instant_is_enough_for_it(history: Sequence[Load], at: int) -> None:
    timeline = timeline_of(history)
    fields = fields_to_write(TABLE, timeline[-2:][::-1]) if timeline else {}
    values = [fields.get(name) for name in fields_of([TABLE])]
    whole, part = (held_of([TABLE], values, [b"0"], instant) for instant in (None, at))
    assert in_force(part.versions[0], 0, at) == in_force(whole.versions[0], 0, at)
