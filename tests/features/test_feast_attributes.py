"""Batch tables in Feast: ordinary views that its SDK reads, and rows that are the ones serving reads."""

from collections.abc import Mapping
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pytest
import redis

from events.identity import mint
from features.attribute import AttributeTable
from features.attribute_history import (
    History,
    Timeline,
    advance,
    history_path,
    loaded_in,
    read_history,
    write_history,
)
from features.attribute_load import load_table
from features.attribute_rows import Rows
from features.attribute_store import RedisAttributeStore
from features.attributes import Held, in_force
from features.declare import load
from features.feast_objects import FeastDoor
from features.feast_store import RedisStateStore
from features.fold import encode
from features.full_row import full_features, full_row
from features.plan import Plan, compile_plan
from features.spine import fold_spine, write_spine
from kairos.local import Server
from tests.features.test_declare_attribute import ATTRIBUTES, with_attributes
from tests.features.workshop import DAY, NOON, folded, placed, sale

PERSON = """
[[attribute_table]]
name = "score"
source = { parquet = "scores.parquet" }
key = { card = "card" }
as_of = "at"
freshness = "10d"
purpose = "risk"
columns = [{ name = "risk", kind = "decimal", unit = "points", meaning = "risk", default = -1 }]
"""
FIRST, SECOND = NOON + 40 * DAY, NOON + 70 * DAY
"""When the tables are loaded: the first time before anything is read, the second time in a running system."""

CUSTOMERS = [mint("card", f"c{n}") for n in range(12)]


@pytest.fixture(scope="module")
def plan() -> Plan:
    return compile_plan(load(with_attributes(ATTRIBUTES + PERSON)))


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def store(redis_server: Server, plan: Plan, run_dir: Path) -> RedisAttributeStore:
    """Tables loaded twice, with rows that come, change and go."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    store = RedisAttributeStore(redis_server.url, "feast_attributes")
    household, score = plan.playbook.attributes
    random = Random(3)
    for counted, until in ((None, FIRST), (SECOND, SECOND)):
        rows = Rows()
        for n in random.sample(range(10), 8):
            for _ in range(random.randrange(1, 4)):
                as_of = NOON + random.randrange(until - NOON)
                age = random.choice(["19-24", "25-34", "65+", None])
                values = (age, random.randrange(9), random.random(), random.choice([True, False, None]))
                rows.good.append((f"c{n}", as_of, values))
        rows.count = len(rows.good)
        _load(household, rows, run_dir, store, counted)
    scores = Rows(good=[(f"c{n}", NOON + n * DAY, (n / 4,)) for n in range(6)], count=6)
    _load(score, scores, run_dir, store, FIRST)
    return store


def _load(
    table: AttributeTable, rows: Rows, run_dir: Path, store: RedisAttributeStore, counted: int | None
) -> None:
    load_table(table, rows, run_dir=run_dir, store=store, counts_from=lambda customers: counted)


@pytest.fixture(scope="module")
def door(redis_server: Server, plan: Plan, run_dir: Path, store: RedisAttributeStore) -> FeastDoor:
    opened = FeastDoor(plan, project="feast_attributes", redis_url=redis_server.url, run_dir=run_dir)
    lines = opened.apply()
    assert "+ view household: age" in lines
    assert "+ view household: household_as_of" in lines
    assert "+ view score: risk" in lines
    assert "+ view customer_features: household_age" in lines
    assert opened.apply() == []
    return opened


def test_the_sdk_reads_plain_values_of_ordinary_views(
    door: FeastDoor, store: RedisAttributeStore, plan: Plan
) -> None:
    held = store.read_many(plan.playbook.attributes, CUSTOMERS)
    names = ["age", "size", "income", "owner", "household_as_of", "household_since"]
    answer = door.store.get_online_features(
        features=[f"household:{name}" for name in names],
        entity_rows=[{"customer_id": customer} for customer in CUSTOMERS],
    ).to_dict()
    known = 0
    for n, each in enumerate(held):
        found = tuple(answer[name][n] for name in names)
        if not each.versions[0]:
            assert found == (None,) * 6
            continue
        newest = each.versions[0][0]
        gone = newest.as_of < 0
        assert found == (*newest.values, None if gone else newest.as_of, newest.since)
        known += not gone
    assert known >= 6


def test_online_rows_are_exactly_the_served_rows(
    door: FeastDoor, redis_server: Server, store: RedisAttributeStore, plan: Plan
) -> None:
    states = {customer: folded(plan, [sale(1, NOON, customer)]) for customer in CUSTOMERS[:5]}
    saved = RedisStateStore(redis_server.url, "feast_attributes")
    saved.write_many([(c, encode(plan, state), state.newest) for c, state in states.items()])
    saved.close()
    held = store.read_many(plan.playbook.attributes, CUSTOMERS)
    seen = set()
    for at in (NOON + 1, FIRST, SECOND - 1, SECOND, SECOND + 30 * DAY, SECOND + 100 * DAY):
        ours = [full_row(plan, states.get(c), h, at, at) for c, h in zip(CUSTOMERS, held, strict=True)]
        theirs = door.online_rows(CUSTOMERS, at, at)
        assert theirs.tobytes() == np.array(ours).tobytes()
        seen |= {row[-5:].tobytes() for row in theirs}
    assert len(seen) >= 15


def timelines(plan: Plan, run_dir: Path) -> Mapping[str, Mapping[str, Timeline]]:
    return {
        table.name: read_history(history_path(run_dir, table.name), table).timelines
        for table in plan.playbook.attributes
    }


def test_past_rows_hold_what_counted_just_before_each_instant_of_a_spine(
    door: FeastDoor, plan: Plan, run_dir: Path
) -> None:
    past = timelines(plan, run_dir)
    log = [sale(n, NOON + n * DAY, customer) for n, customer in enumerate(CUSTOMERS)]
    random = Random(4)
    moments = [(random.choice(CUSTOMERS), NOON + random.randrange(100 * DAY)) for _ in range(80)]
    edges = [
        (customer, version.since + late)
        for customer, timeline in past["household"].items()
        for version in timeline
        for late in (-1, 0)
    ]
    moments += [*edges, *moments[:7]]
    write_spine(door.spine, fold_spine(plan, placed(log), moments))
    asked = pd.DataFrame(moments, columns=["customer_id", "at"])
    found = door.historical_rows(asked)
    names = [feature.name for feature in full_features(plan)]
    values = found[names].to_numpy(dtype=np.float32)
    assert len(values) == len(moments), "as many rows as asked, repeated ones too"
    known = 0
    for (customer, at), value in zip(moments, values, strict=True):
        versions = tuple(past[table.name].get(customer, ()) for table in plan.playbook.attributes)
        # Only what counts at the instant: `in_force` of a whole timeline has nothing it cannot say.
        held = Held((0, FIRST), tuple(tuple(v for v in each if v.since <= at)[::-1] for each in versions))
        state = folded(plan, [event for event in log if event.customer == customer and event.time < at])
        expected = full_row(plan, state, held, at, at)
        assert value.tobytes() == expected.tobytes(), (customer, at)
        version = in_force(held.versions[0], 0, at)[1]
        assert version is None or version.as_of < at, "never a row that was not known yet"
        known += version is not None
    assert known > 60


def test_a_table_that_is_declared_no_more_leaves_the_registry(
    redis_server: Server, tmp_path: Path, plan: Plan
) -> None:
    first = FeastDoor(plan, project="gone", redis_url=redis_server.url, run_dir=tmp_path)
    first.apply()
    household, _ = plan.playbook.attributes
    timeline = advance((), [(NOON, ("65+", 1, 2.0, None)), (NOON + 1, ("65+", 1, 2.5, None))], None)
    path = history_path(tmp_path, "household")
    write_history(path, household, History({CUSTOMERS[0]: timeline}, 3))
    text = (
        ATTRIBUTES.replace('kind = "decimal"', 'kind = "integer"').replace("0.5", "1").replace("90d", "30d")
    )
    fewer = compile_plan(load(with_attributes(text)))
    second = FeastDoor(fewer, project="gone", redis_url=redis_server.url, run_dir=tmp_path)
    lines = second.apply()
    assert "- view score" in lines
    assert "- view customer_features: score_risk" in lines
    assert "~ view household: income from Float64 to Int64" in lines
    assert "~ view household: from freshness 90d to 30d" in lines
    assert second.apply() == []
    found = read_history(path, fewer.playbook.attributes[0])
    assert [version.values[2] for version in found.timelines[CUSTOMERS[0]]] == [2, None]
    assert (found.loaded, loaded_in(path)) == (3, 3)
    log = fold_spine(fewer, [], [(CUSTOMERS[0], NOON + 1)])
    write_spine(second.spine, log)
    asked = pd.DataFrame({"customer_id": [CUSTOMERS[0]], "at": [NOON + 1]})
    assert second.historical_rows(asked)["household_income"].tolist() == [2.0], "Feast reads the new columns"
    assert [view.name for view in second.store.list_feature_views(allow_cache=False)] == [
        "customer_state",
        "household",
    ]
