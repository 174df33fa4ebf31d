"""The contenders answer the same question: their values are ours, so that speeds may be compared."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from events.contract import Contracts
from features.declare import Playbook, features_of, load
from features.fold import decode, fold_batch
from features.plan import Plan, compile_plan
from features.row import row
from kairos.bench.contenders.competent import Competent
from kairos.bench.contenders.naive import Change, Naive, flow
from kairos.bench.contenders.plain_row import PlainRow, packed
from kairos.bench.contenders.questions import Questions, Told
from kairos.bench.population import known
from kairos.bench.traffic import ContractTraffic, traffic_of
from kairos.bench.wide_events import Published

WIDE = Path("playbooks/wide")
START = 1_700_000_000_000
CUSTOMERS, EVENTS = 6, 240
SPAN = 40 * 86_400_000


@pytest.fixture(scope="module")
def wide() -> Playbook:
    return load(WIDE)


@pytest.fixture(scope="module")
def plan(wide: Playbook) -> Plan:
    return compile_plan(wide)


@pytest.fixture(scope="module")
def published(wide: Playbook) -> list[Published]:
    """Events of some customers, none of them in the hundredth at a window's edge when the last one comes."""
    traffic = traffic_of(wide, CUSTOMERS, seed=5)
    every = [each for chunk in traffic.events(EVENTS, START, SPAN / EVENTS) for each in chunk]
    newest = {each.key[-7:]: each.time for each in every}
    windows = {window for aggregate in wide.aggregates for window in aggregate.windows}
    return [
        each
        for each in every
        if not any(abs(newest[each.key[-7:]] - each.time - window) < 0.015 * window for window in windows)
    ]


def ours(plan: Plan, published: Sequence[Published], customer: int) -> tuple[dict[str, float], int]:
    """Our row of a customer just after the newest event."""
    traffic = traffic_of(plan.playbook, CUSTOMERS, seed=5)
    mine = [
        e
        for e in known(plan.playbook.contracts, traffic, published)
        if e.customer == traffic.minted(customer)
    ]
    count = len(mine)
    folded = fold_batch(plan, [None], mine, [0] * count, [0] * count, range(count))
    at = max(event.time for event in mine)
    values = row(plan, decode(plan, folded.blobs[0]), at + 1, at + 1)
    return {f.name: float(value) for f, value in zip(plan.customer_features, values, strict=True)}, at


def told(questions: Questions, published: Sequence[Published], customer: int) -> list[Told]:
    """The customer's events as contenders decode them, under one name, whichever id they came with."""
    found = []
    for each in published:
        event = questions.decode(each.value)
        if event is not None and int(event.customer[-7:]) == customer:
            found.append(event._replace(customer="one"))
    return found


def near(a: float, b: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-4)


def touched(questions: Questions, events: Sequence[Told]) -> set[str]:
    """Features of the aggregates that the last event asked, and ratios of two: others may be stale."""
    last = events[-1]
    asked = [
        question
        for question in questions.of[last.type]
        if question.in_row
        and (question.test is None or question.test(last.fields) is True)
        and (question.aggregate.value is None or last.fields.get(question.aggregate.value) is not None)
    ]
    places = {output.place for question in asked for output in question.outputs}
    return {output.name for question in asked for output in question.outputs} | {
        quotient.name
        for question in asked
        for quotient in question.quotients
        if quotient.denominator in places
    }


@pytest.mark.parametrize("customer", range(CUSTOMERS))
def test_competent_values_are_ours(plan: Plan, published: list[Published], customer: int) -> None:
    questions = Questions(plan.playbook)
    events = told(questions, published, customer)
    engine = Competent(questions)
    engine.fold(events[:-1])
    engine.changed()
    engine.fold(events[-1:])
    changed = dict(engine.changed())
    theirs = np.frombuffer(changed["one"]["row"], dtype=np.float32)
    row_features, _ = features_of(plan.playbook)
    values, _ = ours(plan, published, customer)
    asked = touched(questions, events)
    differ = [
        (feature.name, values[feature.name], float(their))
        for feature, their in zip(row_features, theirs, strict=True)
        if feature.name in asked and feature.name in values and not near(values[feature.name], float(their))
    ]
    assert len(asked & set(values)) > 20
    assert differ == []


@pytest.mark.parametrize("customer", range(2))
def test_naive_values_are_ours(plan: Plan, published: list[Published], customer: int) -> None:
    questions = Questions(plan.playbook)
    events = told(questions, published, customer)
    kept: dict[str, float] = {}
    naive = Naive(questions)

    def write(changes: list[Change]) -> None:
        kept.update({field: value for name, field, value in changes if name == "one"})

    flow(naive, events, write)
    values, _ = ours(plan, published, customer)
    asked = touched(questions, events) & set(values)
    asked &= set(kept)  # what is still empty was never written
    differ = [(name, values[name], kept[name]) for name in asked if not near(values[name], kept[name])]
    assert len(asked) > 20
    assert differ == []


def test_a_row_read_plainly_is_ours(plan: Plan, published: list[Published]) -> None:
    questions = Questions(plan.playbook)
    events = told(questions, published, 0)
    engine = Competent(questions)
    engine.fold(events)
    values, at = ours(plan, published, 0)
    theirs = PlainRow(questions).read(packed(engine.customers["one"]), at + 1)
    row_features, _ = features_of(plan.playbook)
    pairs = [
        (f.name, values[f.name], their)
        for f, their in zip(row_features, theirs, strict=True)
        if f.name in values
    ]
    differ = [pair for pair in pairs if not near(pair[1], pair[2])]
    assert len(pairs) == len(values) == 900 + 2 * len(plan.triggers.triggers)
    assert differ == []


def test_traffic_of_any_playbook_is_what_its_contracts_ask(wide: Playbook) -> None:
    contracts: Contracts = load(Path("playbooks/grocery")).contracts
    traffic = ContractTraffic(contracts, 50, "zipf", seed=1)
    chunk = next(iter(traffic.events(500, START, 10.0)))
    events = list(known(contracts, traffic, chunk))  # refuses what breaks a contract
    assert {event.type for event in events} == {
        kind.name for kind in contracts.types.values() if not kind.link
    }
    assert [event.time for event in events] == sorted(event.time for event in events)
    assert len({event.id for event in events}) == 500
    again = next(iter(ContractTraffic(contracts, 50, "zipf", seed=1).events(500, START, 10.0)))
    assert again == chunk
