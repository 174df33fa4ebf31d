"""The wide playbook is what its module writes, a thousand features wide, and its events are good ones."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from events.codec import parse_cloudevent
from features.declare import Playbook, features_of, load
from features.declare_fields import event_names
from features.expression import compile_expression
from features.plan import compile_plan
from features.trigger import FIRED_COUNT, FIRED_SINCE
from kairos.bench import wide, wide_triggers, wide_world
from kairos.bench.wide_events import START_MS, STEP_MS, TYPES, Skew, WideEvents, events
from models.catalogue import faults_of


@pytest.fixture(scope="module")
def playbook() -> Playbook:
    return load(wide.FOLDER)


@pytest.mark.parametrize("name", list(wide.files()))
def test_what_is_committed_is_what_the_module_writes(name: str) -> None:
    assert (wide.FOLDER / name).read_text(encoding="utf-8") == wide.files()[name]


def test_it_writes_where_it_is_told(tmp_path: Path) -> None:
    assert wide.main([str(tmp_path / "there")]) == 0
    assert {path.name for path in (tmp_path / "there").iterdir()} == set(wide.files())


def test_it_is_a_thousand_features_wide(playbook: Playbook) -> None:
    every, cross = ([f for f in features if not f.hidden] for features in features_of(playbook))
    row = [feature for feature in every if feature.function not in (FIRED_COUNT, FIRED_SINCE)]
    assert (len(row), len(cross)) == (900, 100)
    assert len(every) == len(row) + 2 * len(playbook.triggers)
    functions = {feature.function for feature in (*row, *cross)}
    assert functions == {
        *("count", "sum", "mean", "min", "max", "last", "since_last", "since_first"),
        *("distinct", "share", "trend", "ratio"),
    }
    assert {feature.match for feature in cross} == {
        *("category", "merchant", "merchant_type", "topic", "reason", "offer")
    }
    assert len(playbook.aggregates) == 80
    assert not faults_of(wide.FOLDER, every, cross)


@pytest.mark.parametrize("skew", ["uniform", "zipf"])
def test_events_keep_their_contracts_and_touch_some_ten_aggregates(playbook: Playbook, skew: Skew) -> None:
    drawn = WideEvents(7, 500, skew)
    columns = drawn.columns(3_000)
    published = drawn.published(columns)
    twin = WideEvents(7, 500, skew)
    decoded = twin.decoded(twin.columns(3_000))
    conditions = {
        each.name: compile_expression(each.where, event_names(playbook.contracts, each.event))
        for each in playbook.aggregates
        if each.where is not None
    }
    touched = []
    for message, event in zip(published, decoded, strict=True):
        raw = playbook.contracts.validate(parse_cloudevent(message.value), None)
        assert (raw.type, raw.id, raw.time, raw.fields) == (event.type, event.id, event.time, event.fields)
        assert message.topic == playbook.contracts.types[raw.type].topic
        assert message.time == raw.time
        touched.append(
            sum(
                each.event == event.type
                and (each.name not in conditions or conditions[each.name].test(event.fields))
                and (each.by is None or event.fields[each.by] is not None)
                for each in playbook.aggregates
            )
        )
    assert 9.5 < np.mean(touched) < 11
    shares = Counter(event.type for event in decoded)
    for kind, share in wide_world.SHARES.items():
        assert shares[kind] / 3_000 == pytest.approx(share, abs=0.03)


def test_events_are_the_same_for_the_same_seed_and_skewed_when_asked() -> None:
    one = list(events(3, 45_000, 1_000, "zipf"))
    assert [each.value for each in one] == [each.value for each in events(3, 45_000, 1_000, "zipf")]
    assert one != list(events(4, 45_000, 1_000, "zipf"))
    assert [each.time for each in one] == [START_MS + n * STEP_MS for n in range(45_000)]
    assert len({parse_cloudevent(each.value).id for each in one}) == 45_000
    busiest = np.sort(np.bincount(WideEvents(3, 1_000, "zipf").columns(45_000).customers))[::-1]
    assert 0.1 < busiest[0] / 45_000 < 0.3
    even = np.bincount(WideEvents(3, 1_000).columns(45_000).customers)
    assert even.max() < 90


def test_all_ids_of_a_customer_are_linked(playbook: Playbook) -> None:
    drawn = WideEvents(1, 20)
    links = [playbook.contracts.validate(parse_cloudevent(each.value), None) for each in drawn.links()]
    assert [raw.ids for raw in links] == [
        [(kind, drawn.id_of(customer, kind)) for kind in ("app", "card", "phone")] for customer in range(20)
    ]
    assert all(raw.link for raw in links)
    assert len(TYPES) == len(playbook.contracts.types) - 1
    columns = drawn.columns(4, whose=[3, 3, 1, 0])
    assert columns.customers.tolist() == [3, 3, 1, 0]
    assert drawn.decoded(columns)[0].customer == drawn.minted(3)


def test_triggers_are_drawn_for_it_without_a_fault_and_share_conditions(tmp_path: Path) -> None:
    wide_triggers.write(tmp_path, 120)
    drawn = load(tmp_path)
    assert len(drawn.triggers) == 120
    sorts = Counter(map(wide_triggers.sort_of, drawn.triggers))
    assert set(sorts) == {"edge", "edge_of", "event", "sequence", "absence", "wake", "nth", "family"}
    assert 0.35 < (sorts["edge"] + sorts["edge_of"]) / 120 < 0.65
    plan = compile_plan(drawn)
    assert len(plan.triggers.tables.clauses_at) - 1 < 120
    assert wide_triggers.triggers(120).startswith(wide_triggers.triggers(40))
    assert wide_triggers.triggers(40) != wide_triggers.triggers(40, seed=5)
