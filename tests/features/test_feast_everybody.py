"""Feast's SDK reads what everybody does as serving reads it: in customers' rows, and of offers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import redis

from features.everybody import Cut, fold_everybody
from features.everybody_bytes import pack_everybody, unpack_everybody
from features.everybody_past import EverybodyPast
from features.everybody_store import Kept, everybody_key, fields_of, seen_at
from features.feast_objects import FeastDoor
from features.feast_store import WATERMARKS_KEY
from features.feast_view import offer_features
from features.plan import Plan
from features.row import cross, row
from features.spine import fold_spine, write_spine
from features.storage import storage_of
from kairos.local import Server
from tests.features.test_everybody import EVERYBODY, PEOPLE, seen, sold
from tests.features.workshop import DAY, HOUR, NOON, RICH_EVENTS, placed, plan

LOG = [
    sold(n, NOON + n * HOUR, PEOPLE[n % 4], amount=10_000 * n, offer="ab"[n % 2], kind="ax"[n % 2])
    for n in range(60)
]
END = LOG[-1].time + 1


@pytest.fixture(scope="module")
def everyone() -> Plan:
    return plan(EVERYBODY, events=RICH_EVENTS)


@pytest.fixture(scope="module")
def door(everyone: Plan, redis_server: Server, tmp_path_factory: pytest.TempPathFactory) -> FeastDoor:
    assert everyone.crowd is not None
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        for partition in range(2):
            mine = [event for event in LOG if PEOPLE.index(event.customer) % 2 == partition]
            blob = fold_everybody(everyone.crowd, None, mine, partition, range(len(mine)))
            since = {} if partition else {"nobody": 3}
            client.hset(everybody_key(partition), mapping=fields_of(everyone.crowd, blob, END, since))
            client.hset(WATERMARKS_KEY, str(partition), END)
    run_dir = tmp_path_factory.mktemp("run")
    return FeastDoor(everyone, project="crowd_test", redis_url=redis_server.url, run_dir=run_dir)


def test_applying_shows_the_view_of_offers_and_again_changes_nothing(
    door: FeastDoor, redis_server: Server, tmp_path: Path
) -> None:
    lines = door.apply()
    assert "+ view customer_features: shop_sum_7d" in lines
    assert "+ view offer_features: popular_share_7d" in lines
    assert "+ service offer_row" in lines
    assert not any("offer_features: own_count_7d" in line for line in lines), "that is a customer's"
    assert door.apply() == []
    first = FeastDoor(door.plan, project="less", redis_url=redis_server.url, run_dir=tmp_path)
    first.apply()
    lines = FeastDoor(plan(), project="less", redis_url=redis_server.url, run_dir=tmp_path).apply()
    assert {"- view offer_features", "- service offer_row"} <= set(lines)


def test_online_values_are_exactly_the_served_ones(door: FeastDoor, everyone: Plan) -> None:
    door.apply()
    for at in (END, END + 3 * DAY):
        everybody = seen(everyone, LOG, at)._replace(read=END)
        expected = row(everyone, None, at, at, everybody)
        assert door.online_rows(["{001}nobody"], at, at).tobytes() == expected.tobytes()
        keys = {"offer": ["a", "b", "never"], "kind": ["a", "x", "never"]}
        table = cross(everyone, None, at, keys, None, everybody)
        chosen = [everyone.cross_features.index(feature) for feature in offer_features(everyone)]
        found = door.offer_rows(keys, at)
        assert found.tobytes() == np.ascontiguousarray(table[:, chosen]).tobytes()
        assert np.isfinite(found[0]).any() == (at == END), "and three days later nobody knows"


def test_past_values_are_as_a_decision_saw_them_or_as_of_their_instant(
    door: FeastDoor, everyone: Plan
) -> None:
    door.apply()
    past = EverybodyPast(everyone, placed(LOG))
    moments = [(PEOPLE[n % 4], NOON + n * HOUR + 1, n) for n in (40, 3, 25)]
    write_spine(door.spine, fold_spine(everyone, placed(LOG), [each[:2] for each in moments]))
    early, late = NOON + 3 * HOUR, NOON + 99 * HOUR
    cuts = [None, Cut(early, early, (1,)).plain, Cut(late, late, (2,)).plain]
    asked = pd.DataFrame(moments, columns=["customer_id", "at", "n"]).assign(
        everybody=np.fromiter(cuts, dtype=object, count=3)
    )
    names = [feature.name for feature in everyone.customer_features]
    found = door.historical_rows(asked, past)[names].to_numpy(dtype=np.float32)
    _, at, n = moments[0]
    expected = row(everyone, None, at, at, seen(everyone, LOG[: n + 1], at))
    shared = [place for place, name in enumerate(names) if name.startswith("shop")]
    assert found[0, shared].tobytes() == expected[shared].tobytes()
    counts = found[:, names.index("shop_count_7d")]
    assert counts[1] == 2, "what was served, though more had happened"
    assert np.isnan(counts[2]), "an instant that was still to come is nobody's to see"
    assert np.isnan(door.historical_rows(asked)[names[shared[0]]]).all(), "nobody said what everybody did"


def test_bytes_hold_all_that_rows_take_in(everyone: Plan) -> None:
    assert everyone.crowd is not None
    assert unpack_everybody(pack_everybody(None), everyone.crowd.digest) is None
    blob = fold_everybody(everyone.crowd, None, LOG, 0, range(len(LOG)))
    key = storage_of(everyone.crowd).stored[0].key
    everybody, _ = seen_at(everyone, [Kept(blob, END, {key: END}, None)], END)
    for offers in (True, False):
        found = unpack_everybody(pack_everybody(everybody, offers=offers), everyone.crowd.digest)
        assert found is not None
        one, other = (row(everyone, None, END, END, each) for each in (found, everybody))
        assert one.tobytes() == other.tobytes()
        assert (found.state is not None) == offers
    assert np.isnan(row(everyone, None, END, END, everybody)[0]), "it is warming"
