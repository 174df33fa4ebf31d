"""The past that triggers are tried on: the log of a running stack, a file of what domains published, or a
simulation.

What domains published goes through the very admission that intake does, with who is who kept here, so nothing
is written anywhere. Its log's clock ticks as a live one does, `SLACK_MS` behind the newest event.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

import redis

from events.bus import Record, UnknownTopic, connect
from events.codec import YEAR_10000, BadEvent, decode, encode
from events.contract import Contracts
from events.envelope import Event, Tick
from events.faults import Refusal, nearest
from events.identity import Id, Identities, is_customer, mint
from events.topics import BEHAVIOUR
from features.attribute import AttributeTable
from features.attribute_history import History, advance
from features.attribute_past import AttributePast
from features.attribute_rows import check_rows
from features.attribute_source import read_source
from features.plan import Plan
from kairos.history import everything
from kairos.settings import Settings
from kairos.superapp.life import REGISTER, events, write_register
from stream.admission import Admission
from stream.clock import SLACK_MS, STEP_MS, SourceClock
from stream.counters import Counters
from stream.taps import Poll

SEED: Final = 1

LOOKED_THROUGH: Final = 20_000
"""Known ids among which the nearest is looked for, when one is not known."""

_TOGETHER: Final = 2_000
_LONGEST_TICK: Final = 32


class NoPast(Refusal):
    """There is no log to try a trigger on, or not the customer in it; the message says what to do."""

    exit_code = 2


class PastLog(NamedTuple):
    """A log of topic `behaviour`, ticks and all, read a partition at a time.

    `lookup` answers the customer of a minted id or `kind:value`, None when it is unknown: of a log that is
    made as it is read, once it has been. `known` are ids for hints.
    """

    what: str
    partitions: int
    read: Callable[[int], Iterator[Record]]
    lookup: Callable[[str], str | None]
    known: Callable[[], Iterable[str]]
    past: AttributePast


@contextmanager
def open_past(
    settings: Settings, plan: Plan, *, file: Path | None, simulate: int | None, days: int
) -> Iterator[PastLog]:
    """The log of `file`, of so many simulated customers of the super-app, or else of the running stack.

    Errors: `NoPast`; those of the bus when no stack runs.
    """
    contracts = plan.playbook.contracts
    if file is not None:
        yield _made(f"{file}", contracts, lambda: _lines(file), AttributePast.none(plan))
    elif simulate is not None:
        what = f"{simulate:,} simulated customers, {days} days"
        lived = lambda: ((each.topic, each.value) for each in events(SEED, simulate, days))  # noqa: E731
        yield _made(what, contracts, lived, _register(plan, simulate, days))
    else:
        bus = connect(settings.bus, timeout_s=settings.wait_s)
        try:
            partitions = bus.partitions(BEHAVIOUR)
        except UnknownTopic as error:
            bus.close()
            raise NoPast(f"{settings.bus}: expected the log of a stack that has run; {error}") from error
        with redis.Redis.from_url(settings.redis) as client:
            try:
                yield PastLog(
                    *("the log of the running stack", partitions),
                    lambda partition: everything(bus, BEHAVIOUR, [partition]),
                    *(Identities(client).lookup, lambda: _known_ids(client)),
                    AttributePast.read(plan, settings.run_dir),
                )
            finally:
                bus.close()


def is_tick(record: Record) -> Tick | None:
    """The tick that the record is, None for an event; only what is as short as a tick is decoded."""
    item = decode(record.value) if len(record.value) < _LONGEST_TICK else None
    return item if isinstance(item, Tick) else None


class _People:
    """Who is who, as `events.identity.Identities` says it, kept here."""

    def __init__(self) -> None:
        self.customers: dict[Id, str] = {}

    def resolve_many(self, ids: Sequence[Id]) -> list[str]:
        return [self.customers.setdefault(each, mint(*each)) for each in ids]

    def link(self, ids: Sequence[Id]) -> str:
        ids = sorted(set(ids))
        owners = {self.customers[each] for each in ids if each in self.customers}
        if len(owners) > 1:
            raise BadEvent("identity_conflict", "customer", "ids of one customer", ", ".join(sorted(owners)))
        customer = next(iter(owners), None) or mint(*ids[0])
        self.customers.update(dict.fromkeys(ids, customer))
        return customer

    def lookup(self, reference: str) -> str | None:
        if is_customer(reference):
            return reference
        kind, _, value = reference.partition(":")
        return self.customers.get((kind, value))

    def known(self) -> Iterator[str]:
        return (f"{kind}:{value}" for kind, value in self.customers)


def _made(
    what: str, contracts: Contracts, published: Callable[[], Iterable[tuple[str, bytes]]], past: AttributePast
) -> PastLog:
    people = _People()
    read = lambda partition: _admitted(contracts, people, published())  # noqa: E731
    return PastLog(what, 1, read, people.lookup, people.known, past)


def _admitted(
    contracts: Contracts, people: _People, published: Iterable[tuple[str, bytes]]
) -> Iterator[Record]:
    """What intake would write to `behaviour`, and when its clock would tick."""
    nowhere = Counters(SimpleNamespace(hgetall=lambda key: {}), "")
    clock = SourceClock([("log", 0)], by_marks=True)
    admission = Admission(contracts, people, 1, clock, nowhere)
    position, read, newest, ticked = 0, 0, -1, -1
    coming = iter(published)
    while some := list(islice(coming, _TOGETHER)):
        records = [Record(topic, 0, read + n, b"", value) for n, (topic, value) in enumerate(some)]
        read += len(records)
        # A past may be that of a simulation: nothing of it comes from the future.
        polls = [Poll("log", 0, records, None)]
        for message in admission.process(polls, YEAR_10000 - 1_000_000_000):
            if message.topic != BEHAVIOUR:
                continue
            item = decode(message.value)
            time = item.time if isinstance(item, Event) else -1
            if newest - SLACK_MS >= ticked + STEP_MS and time > newest:
                ticked = newest - SLACK_MS
                yield Record(BEHAVIOUR, 0, position, b"tick", encode(Tick(ticked)))
                position += 1
            if time >= 0:
                newest = max(newest, time)
                yield Record(BEHAVIOUR, 0, position, message.key, message.value)
                position += 1
    if newest >= 0:
        yield Record(BEHAVIOUR, 0, position, b"tick", encode(Tick(newest)))


def _lines(file: Path) -> Iterator[tuple[str, bytes]]:
    """A line each: a CloudEvent as a domain published it."""
    try:
        with file.open("rb") as lines:
            for line in lines:
                if line.strip():
                    yield "log", line.strip()
    except OSError as error:
        raise NoPast(f"--log: expected a file of CloudEvents, one a line, found {error}") from error


def _register(plan: Plan, customers: int, days: int) -> AttributePast:
    """What the register of simulated customers says of them."""
    tables = plan.playbook.attributes
    with tempfile.TemporaryDirectory() as folder:
        write_register(SEED, customers, days, Path(folder) / REGISTER)
        return AttributePast(tuple(_history(table, Path(folder)) for table in tables))


def _history(table: AttributeTable, folder: Path) -> History:
    """The rows of the table, known to everybody from the beginning; nothing where it is another table."""
    try:
        rows = check_rows(table, read_source(table, folder, {}), YEAR_10000 - 1)
    except Refusal:
        return History({}, None)
    return History(
        {mint(table.id_kind, key): advance((), [(as_of, values)], None) for key, as_of, values in rows.good},
        0,
    )


def _known_ids(client: Any) -> Iterator[str]:
    for raw in client.scan_iter(match="kairos:id:*", count=5_000):
        yield raw.decode().removeprefix("kairos:id:")


def known_customer(log: PastLog, reference: str) -> str:
    """The customer meant. Errors: `NoPast` with the nearest known id."""
    customer = log.lookup(reference)
    if customer is None:
        known = list(islice(log.known(), LOOKED_THROUGH))
        guess = nearest(reference, known)
        other = f"give a minted id, or kind:value such as {known[0]}" if known else "no id is known here"
        hint = f"did you mean {guess}?" if guess else other
        raise NoPast(f"--customer: expected a known one, found {reference!r}; {hint}")
    return customer
