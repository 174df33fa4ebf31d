"""The life of the simulated customers, day after day, as what four domains publish."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from events.contract import load_contracts
from kairos.superapp import world
from kairos.superapp.diary import DAY, Diary, Published
from kairos.superapp.paying import pay
from kairos.superapp.person import Person
from kairos.superapp.shopping import shop
from kairos.superapp.watching import watch

REGISTER = "customers.parquet"


def events(seed: int, customers: int, days: int, *, folder: Path = world.FOLDER) -> Iterator[Published]:
    """What the domains publish, in the order of sending: the same bytes for the same seed, customers, days.

    What happens on the last day and is sent behind its midnight is not published any more.
    """
    contracts, _ = load_contracts(folder)
    diary = Diary(contracts)
    people = [Person.draw(seed, number, days) for number in range(1, customers + 1)]
    for number in range(days):
        start, end = midnight(number), midnight(number + 1)
        day = world.START + timedelta(days=number)
        for person in people:
            if person.pay_from <= number < person.pay_until:
                pay(person, diary, number, day, start)
            if person.watch_from <= number < person.watch_until:
                watch(person, diary, number, day, start)
            if person.shop_from <= number < person.shop_until:
                shop(person, diary, number, day, start)
        yield from diary.until(end)


def midnight(number: int) -> int:
    """The instant (ms) at which the day of that number begins, on the playbook's clocks."""
    day = world.START + timedelta(days=number)
    return int(datetime.combine(day, time(), world.TIMEZONE).timestamp() * 1000)


def write_register(seed: int, customers: int, days: int, path: Path) -> None:
    """Write the batch table of attributes.toml for the customers of `events`, known since the day before."""
    known = datetime.fromtimestamp((midnight(0) - DAY) / 1000, world.TIMEZONE)
    people = [Person.draw(seed, number, days) for number in range(1, customers + 1)]
    ages = ("18-24", "25-34", "35-49", "50-64", "65+")
    rows = [
        {
            "card_token": person.id_of("card"),
            "known_at": known,
            "consent": person.consent,
            "age": ages[person.number * 7 % len(ages)],
            "tier": "gold" if person.salary > 3_000 else "silver" if person.salary > 2_300 else "basic",
            "joined_year": 2018 + person.number % 9 if person.pay_from == 0 else date(2026, 1, 1).year,
        }
        for person in people
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
