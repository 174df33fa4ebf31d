"""A playbook changes under running states: what stays is carried over to the byte, what is new is empty."""

from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.envelope import Event
from features.convert import cells_of, convert, digest_of, graft, only
from features.fold import BlobDamaged, UnknownPlan, decode, encode
from features.row import row
from features.settle import settle
from features.storage import pack, storage_of, unpack
from features.triggers import act
from tests.features.workshop import AGGREGATES, DAY, NOON, folded, histories, plan, sale

LATER = NOON + 201 * DAY
ADDED = """
[[aggregate]]
name = "gifts"
event = "sale"
where = "gift"
functions = ["count"]
windows = ["28d"]
ever = true
unit = "times"
meaning = "presents"
"""
RENAMED = AGGREGATES.replace('name = "bulk"', 'name = "stockpile"').replace(
    "pieces bought in bulk", "hoarding"
)
REMOVED = (
    AGGREGATES.replace(AGGREGATES[AGGREGATES.index('[[aggregate]]\nname = "bulk"') :], "")
    + (AGGREGATES[AGGREGATES.index('[[aggregate]]\nname = "calls"') :])
)
WIDENED = AGGREGATES.replace(
    'functions = ["sum"]\nwindows = ["7d", "28d"]', 'functions = ["sum"]\nwindows = ["7d", "56d"]'
)
FIRST = ADDED + AGGREGATES
"""The same and more, in another order."""


def names(text: str) -> set[str]:
    return {feature.name for feature in plan(text).customer_features}


def test_the_changes_are_what_their_names_say() -> None:
    assert names(FIRST) > names(AGGREGATES)
    assert names(REMOVED) == {name for name in names(AGGREGATES) if not name.startswith("bulk_")}
    assert names(WIDENED) - names(AGGREGATES) == {"bulk_sum_56d"}
    keys = [set(storage_of(plan(text)).keys) for text in (AGGREGATES, RENAMED, REMOVED, WIDENED, FIRST)]
    same, renamed, removed, widened, added = keys
    assert same == renamed
    assert len(same - removed) == len(removed ^ same) == 1
    assert len(widened - same) == len(same - widened) == 1
    assert len(added - same) == 1
    assert added > same


@pytest.mark.parametrize("text", [RENAMED, REMOVED, WIDENED, FIRST])
@settings(max_examples=25)
@given(history=histories())
def test_what_both_store_reads_the_same_and_goes_on_as_if_it_had_always_been(
    text: str, history: list[Event]
) -> None:
    old, new = plan(AGGREGATES), plan(text)
    before, after = history[: len(history) // 2], history[len(history) // 2 :]
    state = decode(new, convert(storage_of(old), new, encode(old, folded(old, before))))
    state = folded(new, after, state) if before else folded(new, after)
    whole, ours = row(new, folded(new, history), LATER, LATER), row(new, state, LATER, LATER)
    carried = {each.name for each in storage_of(new).stored if each.key in storage_of(old).keys}
    same = [feature.aggregate in carried for feature in new.customer_features]
    np.testing.assert_array_equal(whole[same], ours[same])


@settings(max_examples=25)
@given(history=histories())
def test_there_and_back_is_the_same_to_the_byte(history: list[Event]) -> None:
    old = plan(AGGREGATES)
    blob = encode(old, folded(old, history))
    for text in (RENAMED, FIRST):
        new = plan(text)
        there = convert(storage_of(old), new, blob)
        assert digest_of(there) == new.digest
        assert convert(storage_of(new), old, there) == settle(old.settling, blob)
    assert convert(storage_of(old), old, blob) == blob, "of the same cells recent events stay as they came"


@settings(max_examples=25)
@given(history=histories())
def test_what_is_new_folded_apart_and_merged_is_what_it_would_have_been(history: list[Event]) -> None:
    """The law makes a backfill: cells folded from the log, added to a state that has all the others."""
    old, new = plan(AGGREGATES), plan(FIRST)
    warming = set(storage_of(new).keys) - set(storage_of(old).keys)
    whole = folded(new, history)
    converted = decode(new, convert(storage_of(old), new, encode(old, folded(old, history))))
    side = only(new, encode(new, whole), warming)
    assert graft(new, encode(new, converted), side) == settle(new.settling, encode(new, whole))
    assert cells_of(only(new, encode(new, whole), ())) == 0
    stripped = convert(storage_of(new), new, encode(new, whole), warming)
    assert graft(new, stripped, side) == settle(new.settling, encode(new, whole))


TRIGGER = """
[[trigger]]
name = "{name}"
meaning = "{meaning}"
on = "sale"
unless = {{ event = "call", within = "{within}" }}
"""


def test_a_trigger_that_is_the_same_goes_on_waiting() -> None:
    old = plan(AGGREGATES, TRIGGER.format(name="quiet", meaning="no call", within="1d"))
    state = folded(old, [])
    event = sale("a", NOON)
    act(old, state, [event], 0, [0])
    blob = encode(old, state)
    reworded = plan(FIRST, TRIGGER.format(name="quiet", meaning="nobody called", within="1d"))
    changed = plan(FIRST, TRIGGER.format(name="quiet", meaning="no call", within="2d"))
    assert decode(reworded, convert(storage_of(old), reworded, blob)).memory == state.memory != b""
    assert decode(changed, convert(storage_of(old), changed, blob)).memory == b""


def test_bytes_that_are_not_what_they_say_are_refused() -> None:
    old, new = plan(AGGREGATES), plan(FIRST)
    storage = unpack(pack(storage_of(old)))
    assert storage == storage_of(old)
    blob = encode(old, folded(old, [sale("a", NOON)]))
    with pytest.raises(BlobDamaged):
        convert(storage, new, blob[:-1])
    with pytest.raises(BlobDamaged):
        digest_of(b"K1" + blob)
    with pytest.raises(UnknownPlan):
        convert(storage_of(new), old, blob)
    older = msgspec.structs.replace(storage, layout=storage.layout - 1)
    with pytest.raises(UnknownPlan, match="version"):
        convert(older, new, blob)


def test_keys_do_not_depend_on_the_order_of_declarations() -> None:
    assert set(storage_of(plan(FIRST)).keys) == set(storage_of(plan(AGGREGATES + ADDED)).keys)
    twice = AGGREGATES + ADDED + ADDED.replace("gifts", "presents")
    keys = [each.key for each in storage_of(plan(twice)).stored]
    assert len(keys) == len(set(keys))
    assert all(a != b for a, b in pairwise(sorted(keys)))


@given(st.sampled_from(['"amount > 3.0"', '"pieces > 3"']))
def test_a_condition_is_part_of_what_is_stored(where: str) -> None:
    changed = AGGREGATES.replace("\"pieces > 2 && kind != 'x'\"", where)
    assert set(storage_of(plan(changed)).keys) != set(storage_of(plan(AGGREGATES)).keys)
