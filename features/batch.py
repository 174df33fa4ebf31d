"""Events as columns: what the compiled fold takes of many events at once."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import mmh3
import numpy as np
from numpy.typing import NDArray

from events.envelope import Event
from features.expression import Expression
from features.given import Attributes, GivenRows, given_rows
from features.kernel.buckets import buckets_of
from features.kernel.layout import MISSING
from features.kernel.trigger_layout import AskedTables
from features.plan import Plan, Program

FEW: Final = 12
"""Below so many events of a type conditions are tested one by one: arrays have a price of their own."""

Whole = Sequence[int] | NDArray[np.int64]

_NO_EVENT: Final = Event("", "", 0, "", {})

REMEMBERED: Final = 100_000
_hashes: dict[Any, int] = {}


class Batch(NamedTuple):
    """Events of some customers, in log order within each, as the compiled fold takes them.

    `order[n]` is the place among the given events of row n of `events`, whose columns are type, time, id
    hash, partition, position, where its words begin in `flat`, and its row of `asks`, what triggers are
    given of it (-1: it concerns none); row r of these is of the given event `asking[r]`. Rows groups[c] to
    groups[c + 1] are those of customer c. Events that concern nothing are left out.
    """

    order: NDArray[np.int64]
    groups: NDArray[np.int64]
    events: NDArray[np.int64]
    flat: NDArray[np.int64]
    asks: AskedTables
    asking: NDArray[np.int64]


def hash_key(key: Any) -> int:
    """The 64 bits by which a family's key, or a value that is counted, is known; never 0 nor `MISSING`.

    >>> hash_key("DAIRY") == hash_key("DAIRY"), hash_key("DAIRY") == hash_key("dairy")
    (True, False)
    """
    found = _hashes.get(key)
    if found is None:
        if len(_hashes) >= REMEMBERED:
            _hashes.clear()
        found = int(mmh3.hash64(key if isinstance(key, str) else repr(key), 0x4B)[0])
        found = 1 if found in (0, MISSING) else found
        _hashes[key] = found
    return found


def mark_of(event: Event) -> int:
    """The 64 bits by which an event is known: of its type and its id together."""
    mark: int = mmh3.hash64(f"{event.type}\0{event.id}")[0]
    return mark


class Columnar(Sequence[Event]):
    """Events that are columns already, whatever they are made of."""

    @abstractmethod
    def types(self, attributes: Attributes) -> Iterator["EventsOfType"]:
        """The events of each type that concerns the plan; `attributes` are those of customers, the `owners`
        of events."""


class EventsOfType(NamedTuple):
    """Events of one type: their places among all, times (ms), marks, a row of words for each, and what
    triggers are given of them, if they concern any."""

    program: Program
    places: NDArray[np.int64]
    times: NDArray[np.int64]
    marks: NDArray[np.int64]
    words: NDArray[np.int64]
    given: GivenRows | None


def batch_of(
    plan: Plan,
    events: Sequence[Event],
    owners: Whole,
    customers: int,
    partitions: Whole,
    positions: Whole,
    attributes: Attributes | None = None,
) -> Batch:
    """The events as columns; owners[n] says which of so many customers event n is of.

    `attributes` are those that conditions of triggers read, a value for each event; what is not there is not
    known.
    """
    count = len(events)
    rows = np.full((count, 7), -1, dtype=np.int64)
    flats, begin, probes = [], 0, 0
    owned = np.array(owners, dtype=np.int64)
    asked: list[tuple[NDArray[np.int64], GivenRows]] = []
    known = attributes or {}
    for program, at, times, marks, words, given in (
        events.types(known) if isinstance(events, Columnar) else _types(plan, events, known)
    ):
        rows[at, 0] = program.number
        rows[at, 1] = times
        rows[at, 2] = marks
        rows[at, 5] = begin + np.arange(len(at)) * program.width
        if given is not None:
            rows[at, 6] = np.arange(probes, probes + len(at))
            probes += len(at)
            asked.append((at, given))
        flats.append(words.ravel())
        begin += words.size
    rows[:, 3] = partitions
    rows[:, 4] = positions
    order = np.argsort(owned, kind="stable")
    order = order[rows[order, 0] >= 0]
    counts = np.bincount(owned[order], minlength=customers)
    groups = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    flat = np.concatenate(flats) if flats else np.zeros(0, dtype=np.int64)
    return Batch(order, groups, np.ascontiguousarray(rows[order]), flat, *_asks(asked, probes))


def looks_of(plan: Plan, customers: int, attributes: Attributes | None = None) -> Batch:
    """A batch of no events, where the clock looks at each customer; `attributes` have a value for each."""
    given, nothing = plan.triggers.clock, np.zeros(0, dtype=np.int64)
    rows = given_rows(given, [_NO_EVENT] * customers if given.atoms else [], attributes or {}, hash_key)
    atoms = rows.atoms if given.atoms else np.zeros((customers, 0))
    asks = AskedTables(atoms, np.zeros((customers, 0), dtype=np.int64), np.ones(customers, dtype=np.uint8))
    groups = np.zeros(customers + 1, dtype=np.int64)
    return Batch(nothing, groups, np.zeros((0, 7), dtype=np.int64), nothing, asks, np.arange(customers))


def _asks(
    asked: Sequence[tuple[NDArray[np.int64], GivenRows]], count: int
) -> tuple[AskedTables, NDArray[np.int64]]:
    """All that is given, and of which event each row is."""
    widths = [(given.atoms.shape[1], given.keys.shape[1]) for _, given in asked]
    atoms = np.zeros((count, max((a for a, _ in widths), default=0)), dtype=np.float64)
    keys = np.zeros((count, max((k for _, k in widths), default=0)), dtype=np.int64)
    needs, asking = np.zeros(count, dtype=np.uint8), np.zeros(count, dtype=np.int64)
    begin = 0
    for at, given in asked:
        rows = slice(begin, begin + len(at))
        atoms[rows, : given.atoms.shape[1]] = given.atoms
        keys[rows, : given.keys.shape[1]] = given.keys
        needs[rows], asking[rows] = given.needs, at
        begin += len(at)
    return AskedTables(atoms, keys, needs), asking


def _types(plan: Plan, events: Sequence[Event], attributes: Attributes) -> Iterator[EventsOfType]:
    by_type: dict[str, list[int]] = {}
    for place, event in enumerate(events):
        by_type.setdefault(event.type, []).append(place)
    for kind, places in by_type.items():
        program = plan.programs.get(kind)
        if program is not None:
            mine = [events[place] for place in places]
            known = {name: [values[place] for place in places] for name, values in attributes.items()}
            given = None
            if program.given is not None:
                given = given_rows(program.given, mine, known, hash_key)
            yield EventsOfType(
                program,
                np.array(places, dtype=np.int64),
                np.array([event.time for event in mine], dtype=np.int64),
                np.array([mark_of(event) for event in mine], dtype=np.int64),
                words_of(program, mine),
                given,
            )


def words_of(program: Program, events: Sequence[Event]) -> NDArray[np.int64]:
    """A row of words for each event of one type."""
    words = np.empty((len(events), program.width), dtype=np.int64)
    column = 0
    for condition in program.conditions:
        words[:, column] = _truths(condition, events)
        column += 1
    for field in program.values:
        words[:, column] = _numbers(events, field)
        column += 1
    for field in program.buckets:
        words[:, column] = buckets_of(np.array(_numbers(events, field), dtype=np.int64))
        column += 1
    for field in (*program.keys, *program.hashed):
        words[:, column] = [
            MISSING if (value := event.fields.get(field)) is None else hash_key(value) for event in events
        ]
        column += 1
    return words


def _numbers(events: Sequence[Event], field: str) -> list[Any]:
    return [MISSING if (value := event.fields.get(field)) is None else value for event in events]


def _truths(condition: Expression, events: Sequence[Event]) -> Any:
    if len(events) < FEW:
        return [condition.test(event.fields) for event in events]
    env = {name: _column([event.fields.get(name) for event in events]) for name in condition.names}
    return condition.evaluate(env)[0]


def _column(values: list[Any]) -> NDArray[Any] | None:
    """Numbers as an array of numbers, NaN where one is missing; anything else as objects; None for none."""
    kinds = set(map(type, values))
    if kinds == {type(None)}:
        return None  # of what kind it would be, nobody can tell from the values
    if kinds == {int}:
        return np.array(values, dtype=np.int64)
    if kinds == {int, type(None)}:  # a contract takes none that a float would round
        return np.array(values, dtype=np.float64)
    if kinds == {bool}:
        return np.array(values, dtype=bool)
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column
