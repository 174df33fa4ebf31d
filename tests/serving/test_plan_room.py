"""Serving reads states of two plans while a playbook is exchanged, and says what is warming."""

import asyncio
from collections.abc import Iterable
from typing import Any, cast

import msgspec
import pytest

from features.fold import UnknownPlan, empty, encode
from features.row import row
from features.storage import pack, storage_of
from features.triggers import act
from features.warming import PLANS_KEY, WARMING_KEY, Since
from serving.plan_room import PlanRoom
from tests.features.test_convert import FIRST
from tests.features.test_warming import GIFTS
from tests.features.workshop import AGGREGATES, NOON, folded, plan, sale

OLD, NEW = plan(AGGREGATES), plan(FIRST)
EVENTS = [sale(1, NOON, gift=True), sale(2, NOON + 1)]


class Line:
    """A `RedisLine` that holds two hashes."""

    def __init__(self) -> None:
        self.held: dict[str, dict[bytes, bytes]] = {WARMING_KEY: {}, PLANS_KEY: {}}

    async def ask(self, *commands: tuple[str, str]) -> list[list[bytes]]:
        return [list(_flat(command, self.held[key])) for command, key in commands]


def _flat(command: str, pairs: dict[bytes, bytes]) -> Iterable[bytes]:
    for field, value in pairs.items():
        yield field
        if command == "HGETALL":
            yield value


@pytest.mark.parametrize(("ours", "theirs"), [(OLD, NEW), (NEW, OLD)])
def test_states_of_the_plan_before_and_after_are_read(ours: Any, theirs: Any) -> None:
    line = Line()
    room = PlanRoom(cast(Any, line), ours, 1)
    blob = encode(theirs, folded(theirs, EVENTS))
    with pytest.raises(UnknownPlan):
        room.open(blob)
    line.held[PLANS_KEY][theirs.digest.encode()] = pack(storage_of(theirs))
    asyncio.run(room.refresh())
    state, mask = room.open(blob)
    assert state.newest == NOON + 1
    assert mask.names == (set() if ours is OLD else {"gifts_count_28d", "gifts_count_ever"})
    at = NOON + 9
    values = dict(
        zip([f.name for f in ours.customer_features], mask.on_row(row(ours, state, at, at), at), strict=True)
    )
    assert values["paid_count_28d"] == 2
    if ours is NEW:
        assert values["gifts_count_28d"] != values["gifts_count_28d"], "not zero: nobody counted"
    own = encode(ours, folded(ours, EVENTS))
    assert room.open(own)[0].blob == own
    assert not room.open(own)[1].names


def test_what_warms_is_missing_until_the_stream_says_otherwise() -> None:
    line = Line()
    room = PlanRoom(cast(Any, line), NEW, 1)
    blob = encode(NEW, folded(NEW, EVENTS))
    line.held[WARMING_KEY][f"{GIFTS}|0".encode()] = msgspec.json.encode(Since("gifts", 3, NOON, "p"))
    asyncio.run(room.refresh())
    assert room.open(blob)[1].names == {"gifts_count_28d", "gifts_count_ever"}
    line.held[WARMING_KEY][GIFTS.encode()] = str(NOON + 5).encode()
    asyncio.run(room.refresh())
    mask = room.open(blob)[1]
    assert (mask.row > NOON + 4).any()
    assert not (mask.row > NOON + 5).any()


TRIGGERS = """
[[trigger]]
name = "bought"
meaning = "something was bought"
on = "sale"
"""


def test_serving_answers_by_its_own_triggers_while_the_stream_has_others() -> None:
    ours, theirs = plan(triggers=TRIGGERS), plan(triggers=TRIGGERS.replace("bought", "paid_up") + TRIGGERS)
    line = Line()
    room = PlanRoom(cast(Any, line), ours, 1)
    line.held[PLANS_KEY][theirs.digest.encode()] = pack(storage_of(theirs))
    asyncio.run(room.refresh())
    state = empty(theirs)
    act(theirs, state, EVENTS, 0, [0, 1])
    opened, mask = room.open(encode(theirs, state))
    assert not mask.names
    values = dict(
        zip([f.name for f in ours.customer_features], row(ours, opened, NOON + 9, NOON + 9), strict=True)
    )
    assert values["bought_fired_count"] == 2
    assert values["paid_count_28d"] == 2
