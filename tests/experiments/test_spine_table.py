"""Tables for training on the past: one row a moment, and examples that stand on recomputed rows."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from experiments import spine_table
from experiments.attribution import Example
from features.attribute_history import History
from features.attribute_past import AttributePast
from features.attributes import Version
from features.declare import load
from features.fold import empty, encode
from features.full_row import full_features, full_row
from features.plan import Plan, compile_plan
from models.record import DecisionRecord
from models.scorer import Floats

GROCERY = Path(__file__).parents[2] / "playbooks" / "grocery"
ANNE, BEN = "{001}aaaaaaaaaaaa", "{002}bbbbbbbbbbbb"


@pytest.fixture(scope="module")
def plan() -> Plan:
    return compile_plan(load(GROCERY))


class Served(DecisionRecord, frozen=True, array_like=True, kw_only=True):
    """A record whose row is as many times `seed` as it has slots; what the table does not read is blank."""

    def features(self) -> Floats:
        return np.full(self.slots, self.seed, dtype=np.float32)


def served(plan: Plan, customer: str, at: int, value: int, digest: str = "") -> DecisionRecord:
    blank: dict[str, Any] = dict.fromkeys(field.name for field in msgspec.structs.fields(Served))
    moment = {"customer": customer, "at": at, "plan": digest or plan.digest}
    return Served(**blank | moment | {"seed": value, "slots": len(full_features(plan))})


def test_a_moment_is_asked_for_once_and_moments_come_in_order_of_time(plan: Plan) -> None:
    records = [served(plan, BEN, 30, 3), served(plan, ANNE, 20, 2), served(plan, ANNE, 20, 2)]
    table = spine_table.moments(records, plan)
    assert table[spine_table.KEY].to_numpy().tolist() == [[ANNE, 20], [BEN, 30]]
    names = [feature.name for feature in full_features(plan)]
    held = spine_table.values(table, names)
    assert held.dtype == np.float32
    assert held[:, 0].tolist() == [2, 3]
    assert spine_table.moments([], plan).shape == (0, len(spine_table.ASKED) + len(names))


def test_a_decision_of_another_plan_is_named(plan: Plan) -> None:
    with pytest.raises(spine_table.OtherPlan, match="found plan 0123"):
        spine_table.moments([served(plan, ANNE, 20, 2, digest="0123")], plan)


def example(customer: str, at: int, names: tuple[str, ...], x: list[float]) -> Example:
    return Example("d", customer, "soup", at, names, np.array(x, dtype=np.float32), 1, "feed")


def test_examples_stand_on_the_table_and_keep_the_rest() -> None:
    table = pd.DataFrame({"customer_id": [ANNE, BEN], "at": [20, 30], "b": [0.5, np.nan], "a": [7.0, 8.0]})
    given = [
        example(BEN, 30, ("a", "hour", "b"), [1, 2, 3]),
        example(ANNE, 20, ("hour", "b", "a"), [4, 5, 6]),
    ]
    standing = spine_table.stand_on(given, table, ["a", "b"])
    np.testing.assert_array_equal(standing[0].x, np.array([8, 2, np.nan], dtype=np.float32))
    np.testing.assert_array_equal(standing[1].x, np.array([4, 0.5, 7], dtype=np.float32))
    assert given[0].x.tolist() == [1, 2, 3], "what was recorded is left alone"
    with pytest.raises(spine_table.NotAsked, match="at 21"):
        spine_table.stand_on([example(ANNE, 21, ("a", "b"), [1, 2])], table, ["a", "b"])


def test_rows_of_states_are_the_rows_serving_computes(plan: Plan) -> None:
    blob = encode(plan, empty(plan))
    found = spine_table.rows_of(plan, [(BEN, 30, blob), (ANNE, 20, blob)], [(ANNE, 20), (BEN, 30)])
    never = AttributePast.none(plan)
    np.testing.assert_array_equal(found[0], full_row(plan, empty(plan), never.held(ANNE, 20), 20, 20))
    assert found.shape == (2, len(full_features(plan)))
    assert spine_table.rows_of(plan, [], []).shape == (0, len(full_features(plan)))
    form = Version(19, 18, ("65+", None, None, True, None, None, "2"))
    past = AttributePast((History({ANNE: (form,)}, 0),))
    told = spine_table.rows_of(plan, [(ANNE, at, blob) for at in (18, 19)], [(ANNE, 18), (ANNE, 19)], past)
    names = [feature.name for feature in full_features(plan)]
    assert told[:, names.index("household_age")].tolist()[1] == 5.0
    assert told[:, names.index("household_kids")].tolist() == [0.0, 2.0], "not before it counts"
