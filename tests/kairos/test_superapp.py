"""The super-app's simulated customers: the same for the same seed, and good citizens of their playbook."""

import json
import re
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from events.bus import Bus
from events.codec import parse_cloudevent
from events.contract import Contracts, load_contracts
from features.declare import load
from kairos.description import counts_of
from kairos.superapp import world
from kairos.superapp.diary import Published
from kairos.superapp.life import events, midnight, write_register
from kairos.superapp.simulation import TOPICS, Simulation

SEED, CUSTOMERS, DAYS = 3, 60, 40


@pytest.fixture(scope="module")
def contracts() -> Contracts:
    found, faults = load_contracts(world.FOLDER)
    assert not faults
    return found


@pytest.fixture(scope="module")
def lived() -> list[Published]:
    return list(events(SEED, CUSTOMERS, DAYS))


def test_the_same_seed_gives_the_same_bytes_in_order_of_sending(lived: list[Published]) -> None:
    assert list(events(SEED, CUSTOMERS, DAYS)) == lived
    assert list(events(SEED + 1, CUSTOMERS, DAYS)) != lived
    assert [each.sent for each in lived] == sorted(each.sent for each in lived)
    assert midnight(0) <= lived[0].time
    assert lived[-1].sent < midnight(DAYS)


def test_every_event_keeps_its_contract(lived: list[Published], contracts: Contracts) -> None:
    seen: Counter[str] = Counter()
    for each in lived:
        raw = contracts.validate(parse_cloudevent(each.value), None)
        seen[raw.type] += 1
        assert (each.topic, each.time) == (contracts.types[raw.type].topic, raw.time)
        assert each.key.decode() in [value for _, value in raw.ids]
    assert set(seen) == set(contracts.types), "every type of event happens"


def test_an_id_is_linked_before_it_acts_and_nobody_is_two(
    lived: list[Published], contracts: Contracts
) -> None:
    card_of: dict[tuple[str, str], str] = {}
    domains: dict[str, set[str]] = {}
    for each in lived:
        raw = contracts.validate(parse_cloudevent(each.value), None)
        ids = dict(raw.ids)
        if raw.link:
            (other,) = [pair for pair in raw.ids if pair[0] != "card"]
            assert card_of.setdefault(other, ids["card"]) == ids["card"]
        card = ids.get("card") or card_of[raw.ids[0]]
        domains.setdefault(card, set()).add(each.topic)
    assert len(domains) > CUSTOMERS * 0.9
    assert sum(len(seen) == 4 for seen in domains.values()) > CUSTOMERS / 5, "some are in all four domains"


def test_few_are_late_and_few_come_twice(lived: list[Published]) -> None:
    late = sum(each.sent - each.time > 60_000 for each in lived)
    twice = len(lived) - len({each.value for each in lived})
    assert 0.002 < late / len(lived) < 0.04
    assert 0.001 < twice / len(lived) < 0.01
    assert max(each.sent - each.time for each in lived) < 86_400_000, "within the playbook's lateness"


def test_a_second_start_goes_on_where_the_first_stopped(bus: Bus, tmp_path: Path) -> None:
    bus.ensure(dict.fromkeys(TOPICS, 2))
    place = tmp_path / "simulation.json"

    def simulation() -> Simulation:
        return Simulation(bus, 2, place, customers=5, seed=1, days=2)

    steps = simulation().steps(3_600_000)
    first = [next(steps) for _ in range(20)]
    assert [fed.until for fed in first] == [midnight(0) + 3_600_000 * n for n in range(1, 21)]
    rest = list(simulation().steps(3_600_000))
    assert (rest[0].until, rest[-1].until) == (midnight(0) + 3_600_000 * 21, midnight(2))
    whole = list(events(1, 5, 2))
    assert first[-1].published + rest[-1].published == len(whole)
    assert json.loads(place.read_text())["until"] == midnight(2)
    assert list(simulation().steps()) == []


def test_the_register_knows_every_card(tmp_path: Path) -> None:
    write_register(SEED, CUSTOMERS, DAYS, tmp_path / "customers.parquet")
    table = pq.read_table(tmp_path / "customers.parquet").to_pydict()
    assert len(set(table["card_token"])) == CUSTOMERS
    assert {True, False} == set(table["consent"])


def test_it_has_a_thousand_features_and_sixty_triggers() -> None:
    playbook = load(world.FOLDER)
    counts = counts_of(playbook)
    assert counts["row_features"] + counts["cross_features"] == 1_000
    assert counts["triggers"] == 60
    assert all(each.meaning.strip() for each in playbook.triggers)


def test_what_happens_is_what_the_playbook_speaks_of(lived: list[Published], contracts: Contracts) -> None:
    merchants: set[tuple[str, str]] = set()
    genres, categories = set(), set()
    for each in lived:
        fields = contracts.validate(parse_cloudevent(each.value), None).fields
        if "merchant" in fields:
            merchants.add((str(fields["merchant_type"]), str(fields["merchant"])))
        genres |= {fields["genre"]} if fields.get("genre") else set()
        categories |= {fields["category"]} if fields.get("category") else set()
    assert merchants <= {(kind, name) for kind, names in world.MERCHANTS.items() for name in names}
    assert genres == set(world.GENRES)
    assert categories == set(world.CATEGORIES)


def test_its_page_shows_the_triggers_as_they_are() -> None:
    page = (world.FOLDER.parents[1] / "docs" / "superapp.md").read_text()
    triggers = (world.FOLDER / "triggers.toml").read_text()
    shown = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert len(shown) == 3
    assert all(each in triggers for each in shown)
    declared = set(re.findall(r'^name = "(\w+)"', triggers, re.MULTILINE))
    rows = page.split("| to see | read |")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", rows)) <= declared
    assert {"1,000 features", "60 moments"} <= set(re.findall(r"1,000 features|60 moments", page))
