"""When values of a new aggregate may be read: once backfilled, or a whole window later."""

import msgspec
import numpy as np
import pytest

from features.row import explain, row
from features.storage import pack, storage_of
from features.warming import NEVER, Mask, Record, Since, mask_of, quiet_until, record_of
from tests.features.test_convert import FIRST, RENAMED, WIDENED
from tests.features.workshop import AGGREGATES, DAY, NOON, folded, plan, sale

RATIO = """
[[ratio]]
name = "generosity"
numerator = "gifts_count_28d"
denominator = "paid_count_28d"
unit = "share"
meaning = "presents among purchases"
default = 0
"""
NEW = plan(FIRST + RATIO)
OLD = plan(AGGREGATES)
(GIFTS,) = set(storage_of(NEW).keys) - set(storage_of(OLD).keys)
BEGAN = NOON


def since(*positions: int, ms: int = BEGAN) -> dict[str, dict[int, Since]]:
    return {GIFTS: {n: Since("gifts", position, ms, "p") for n, position in enumerate(positions)}}


def missing(mask: Mask, at: int) -> set[str]:
    return {f.name for f, when in zip(NEW.customer_features, mask.row, strict=True) if when > at}


def test_a_window_is_known_once_a_whole_one_has_passed_the_rest_never_by_itself() -> None:
    record = Record(since(10, 20), {}, {})
    mask = mask_of(NEW, record, 2)
    everything = {"gifts_count_28d", "gifts_count_ever", "generosity"}
    assert mask.names == everything
    for days, left in [
        (0, everything),
        (28, everything),
        (28.29, {"gifts_count_ever"}),
        (999, {"gifts_count_ever"}),
    ]:
        assert missing(mask, BEGAN + int(days * DAY)) == left, days
    assert missing(mask_of(NEW, Record(since(10, ms=-1), {}, {}), 1), NOON + 999 * DAY) == everything
    assert missing(mask_of(NEW, Record(since(10), {}, {}), 2), NOON + 999 * DAY) == everything, (
        "one has not begun"
    )


def test_backfilled_is_known_from_then_on_and_not_before() -> None:
    mask = mask_of(NEW, Record(since(10, 20), {GIFTS: BEGAN + DAY}, {}), 2)
    assert missing(mask, BEGAN + DAY - 1) == {"gifts_count_28d", "gifts_count_ever", "generosity"}
    assert missing(mask, BEGAN + DAY) == set()


def test_what_was_always_there_is_never_warming() -> None:
    mask = mask_of(NEW, Record({}, {}, {}), 2)
    assert not mask.names
    values = row(NEW, folded(NEW, [sale(1, NOON)]), NOON + 1, NOON + 1)
    assert mask.on_row(values, NOON + 1) is values


def test_a_state_of_another_plan_lacks_what_that_plan_did_not_keep() -> None:
    nothing, known = Record({}, {}, {}), Record(since(5, 5), {GIFTS: 7}, {})
    lacks = {"gifts_count_28d", "gifts_count_ever", "generosity"}
    assert missing(mask_of(NEW, nothing, 2, storage_of(OLD)), NEVER - 1) == lacks
    assert missing(mask_of(NEW, known, 2, storage_of(OLD)), 7) == set(), "it was backfilled: nothing happened"
    old = mask_of(OLD, nothing, 2, storage_of(plan(WIDENED)))
    assert old.names == {"bulk_sum_7d", "bulk_sum_28d", "bulk_sum_hl14d"}
    assert not mask_of(OLD, nothing, 2, storage_of(plan(RENAMED))).names


def test_missing_is_said_in_rows_cross_rows_and_to_people() -> None:
    mask = mask_of(NEW, Record(since(1), {}, {}), 1)
    state, at = folded(NEW, [sale(1, NOON, gift=True)]), NOON + 1
    values = row(NEW, state, at, at)
    masked = mask.on_row(np.append(values, np.float32(7)), at)
    names = [feature.name for feature in NEW.customer_features]
    assert {names[n] for n in np.flatnonzero(np.isnan(masked[:-1]) & ~np.isnan(values))} == mask.names
    assert masked[-1] == 7, "an attribute behind the row stays"
    told = {each.name: each for each in mask.on_values(explain(NEW, state, at, at), at)}
    assert (told["gifts_count_28d"].value, told["gifts_count_28d"].status) == (None, "missing")
    assert told["paid_count_28d"].status == "known"
    crossed = Mask(mask.row, np.array([0, NEVER]), frozenset("b")).on_cross(np.ones((3, 2), np.float32), at)
    assert np.isnan(crossed).tolist() == [[False, True]] * 3


TRIGGERS = """
[[trigger]]
name = "old_ones"
meaning = "reads what was always there"
on = "sale"
when = "paid_count_28d > 3"

[[trigger]]
name = "giver"
meaning = "reads a window that is new"
on = "sale"
when = "paid_count_28d > 3 && gifts_count_28d > 1"

[[trigger]]
name = "to_givers"
meaning = "asks of everybody what is new"
on = "call"
audience = "gifts_count_28d > 1"

[[trigger]]
name = "generous"
meaning = "reads what is made of it"
on = "sale"
when = "generosity > 0.5"

[[trigger]]
name = "tenth_gift"
meaning = "counts what it is about, from now on"
on = "sale"
when = "event.gift"
nth = 10
"""


def test_a_trigger_that_reads_what_is_warming_is_quiet_for_as_long() -> None:
    p = plan(FIRST + RATIO, TRIGGERS)
    (hidden,) = (each for each in storage_of(p).stored if each.name == "tenth_gift_nth")
    begun = {hidden.key: {0: Since(hidden.name, 3, BEGAN, "p")}}
    record = Record(since(10) | begun, {}, {})
    (window,) = {when for when in mask_of(NEW, record, 1).row.tolist() if 0 < when < NEVER}
    assert window > BEGAN + 28 * DAY
    reading = dict.fromkeys(("giver", "to_givers", "generous"), window)
    assert quiet_until(p, record, 1) == reading | {"tenth_gift": NEVER}
    assert quiet_until(p, record, 2) == dict.fromkeys([*reading, "tenth_gift"], NEVER), "one has not begun"
    filled = Record(record.since, {GIFTS: BEGAN + DAY, hidden.key: BEGAN + 2 * DAY}, {})
    assert quiet_until(p, filled, 1) == dict.fromkeys(reading, BEGAN + DAY) | {"tenth_gift": BEGAN + 2 * DAY}
    assert quiet_until(p, Record({}, {}, {}), 1) == {}


@pytest.mark.parametrize("known", [None, 5])
def test_what_redis_holds_is_what_was_told(known: int | None) -> None:
    told = {f"{GIFTS}|1".encode(): msgspec.json.encode(Since("gifts", 4, 9, "p"))}
    if known is not None:
        told[GIFTS.encode()] = str(known).encode()
    record = record_of(told, {OLD.digest.encode(): pack(storage_of(OLD))})
    assert record.since == {GIFTS: {1: Since("gifts", 4, 9, "p")}}
    assert record.storages == {OLD.digest: storage_of(OLD)}
    assert record.lacking(1) == ({GIFTS: Since("gifts", 4, 9, "p")} if known is None else {})
    assert record.lacking(0) == {}
