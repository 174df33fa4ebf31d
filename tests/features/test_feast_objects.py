"""Feast is real: its SDK reads the row serving reads, online and for any past instant of a spine."""

from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pytest
import redis

from events.envelope import Event
from features import feast_difference
from features.declare import load
from features.feast_difference import FieldsCollide, refuse_collisions
from features.feast_objects import FeastDoor, NotInSpine
from features.feast_store import RedisStateStore
from features.fold import encode
from features.plan import compile_plan
from features.row import row
from features.spine import fold_spine, write_spine
from kairos.local import Server
from tests.features.test_percentiles import BASKET
from tests.features.workshop import AGGREGATES, DAY, HOUR, NOON, call, folded, placed, plan, playbook, sale

END = NOON + 120 * DAY
ASKED = AGGREGATES + BASKET


def history() -> list[Event]:
    random = Random(7)
    log: list[Event] = []
    for number in range(1_500):
        customer = f"{{{random.randrange(8):03d}}}c{random.randrange(4)}"
        time = NOON + random.randrange(120 * DAY)
        if random.random() < 0.2:
            log.append(call(number, time, random.choice(["help", "price"]), customer))
        else:
            log.append(
                sale(number, time, customer, amount=random.randrange(1, 900_000), kind=random.choice("abx"))
            )
    # About in order, as a log is.
    return sorted(log, key=lambda event: event.time + random.randrange(HOUR))


@pytest.fixture(scope="module")
def door(redis_server: Server, tmp_path_factory: pytest.TempPathFactory) -> FeastDoor:
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    opened = FeastDoor(
        plan(ASKED), project="feast_test", redis_url=redis_server.url, run_dir=tmp_path_factory.mktemp("run")
    )
    opened.apply()
    return opened


def test_online_values_are_exactly_the_served_row(door: FeastDoor, redis_server: Server) -> None:
    p = plan(ASKED)
    log = history()
    customers = sorted({event.customer for event in log})
    states = {c: folded(p, [event for event in log if event.customer == c]) for c in customers}
    store = RedisStateStore(redis_server.url, "feast_test")
    store.write_many([(c, encode(p, state), state.newest) for c, state in states.items()])
    store.close()
    asked = [*customers, "{001}nobody"]
    for at in (END, END + 3 * DAY, END + 100 * DAY):
        expected = np.array([row(p, states.get(c), at, at) for c in asked])
        found = door.online_rows(asked, at, at)
        assert found.dtype == np.float32
        assert found.tobytes() == expected.tobytes()
    assert np.isnan(door.online_rows(asked, END, None)).all(), (
        "the log was never read: every value is missing"
    )


def test_past_values_are_exactly_the_rows_of_the_log_cut_before_the_instant(door: FeastDoor) -> None:
    p = plan(ASKED)
    log = history()
    random = Random(8)
    customers = [*sorted({event.customer for event in log}), "{001}nobody"]
    moments = [(random.choice(customers), NOON + random.randrange(130 * DAY)) for _ in range(150)]
    busy = log[700]
    moments += [(busy.customer, busy.time), (busy.customer, busy.time + 1), *moments[:10]]
    assert write_spine(door.spine, fold_spine(p, placed(log), moments)) == len(set(moments))
    asked = pd.DataFrame(moments, columns=["customer_id", "at"]).assign(label=range(len(moments)))
    found = door.historical_rows(asked)
    assert list(found["label"]) == list(range(len(moments))), "as many rows as asked, in their order"
    values = found[[feature.name for feature in p.customer_features]].to_numpy(dtype=np.float32)
    for (customer, at), value in zip(moments, values, strict=True):
        cut = folded(p, [event for event in log if event.customer == customer and event.time < at])
        assert value.tobytes() == row(p, cut, at, at).tobytes()
    with pytest.raises(NotInSpine, match="nobody"):
        door.historical_rows(pd.DataFrame({"customer_id": ["{001}nobody"], "at": [NOON + 1]}))


def test_applying_again_changes_nothing_and_a_change_is_shown(
    redis_server: Server, tmp_path: Path, door: FeastDoor
) -> None:
    assert door.apply() == []
    first = FeastDoor(plan(ASKED), project="again", redis_url=redis_server.url, run_dir=tmp_path)
    lines = first.apply()
    assert f"+ view customer_features: {plan(ASKED).customer_features[0].name}" in lines
    assert first.apply() == []
    changed = compile_plan(load(playbook(ASKED.replace('"84d"', '"56d"'))))
    second = FeastDoor(changed, project="again", redis_url=redis_server.url, run_dir=tmp_path)
    lines = second.apply()
    assert "- view customer_features: paid_sum_84d" in lines
    assert "+ view customer_features: paid_sum_56d" in lines
    assert any(line.startswith("~") for line in lines)
    assert second.apply() == []
    assert second.online_rows(["{001}nobody"], NOON, NOON).shape == (1, len(changed.customer_features))


def test_two_features_that_share_a_field_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_collisions(plan(ASKED))
    monkeypatch.setattr(feast_difference, "field_of", lambda view, feature: feature[:4].encode())
    with pytest.raises(FieldsCollide, match="rename one"):
        refuse_collisions(plan(ASKED))
