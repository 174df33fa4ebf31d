"""A piece of the log as columns: compiled code reads the records, and an event is made only when asked for.

What the fold is given of it are the very words that `features.batch` makes of the events themselves.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from events.codec import decode
from events.envelope import Event, Tick
from features.batch import FEW, Columnar, EventsOfType, hash_key, mark_of, words_of
from features.expression import Expression
from features.given import Attributes, GivenRows, given_columns, given_rows
from features.kernel import log as kernel
from features.kernel.buckets import buckets_of
from features.kernel.log import FIRST_TEXT, NONE, NUMBER, OTHER, TEXT, TICK, TRUTH, UNREAD
from features.plan import Plan, Program
from features.plan_triggers import EVENT

_LONGEST: Final = 1 << 13
"""Bytes at most of a type and an id together that compiled code reads; a contract allows 2 kB."""

_PLAIN: Final = np.array([None, False, True], dtype=object)


class LogReader:
    """Reads records of the log as a plan wants them."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.programs = list(plan.programs.items())
        self.fields: list[dict[str, int]] = []
        names = bytearray()
        types: list[tuple[int, int, int, int]] = []
        fields: list[tuple[int, int]] = []

        def put(name: str) -> tuple[int, int]:
            start = len(names)
            names.extend(name.encode())
            return start, len(names)

        for kind, program in self.programs:
            wanted = _wanted(plan, kind, program)
            self.fields.append({name: place for place, name in enumerate(wanted)})
            types.append((*put(kind), len(fields), len(fields) + len(wanted)))
            fields += [put(name) for name in wanted]
        self._names = np.frombuffer(bytes(names) or b"?", dtype=np.uint8)
        self._types = np.array(types, dtype=np.int64).ravel()
        self._fields = np.array(fields, dtype=np.int64).ravel()
        self._widest = max((len(each) for each in self.fields), default=0)

    def read(self, values: Sequence[bytes]) -> "Log":
        """The records as columns. Errors: `msgspec.DecodeError` when one is damaged."""
        count = len(values)
        starts = np.zeros(count + 1, dtype=np.int64)
        np.cumsum(np.fromiter(map(len, values), dtype=np.int64, count=count), out=starts[1:])
        whole = b"".join(values)
        rows = np.empty((count, kernel.ROW_COLUMNS), dtype=np.int64)
        most = count * self._widest
        cells = np.empty((most + 1, kernel.CELL_COLUMNS), dtype=np.int64)
        texts, people = np.empty(2 * most + 2, dtype=np.int64), np.empty(2 * count + 2, dtype=np.int64)
        _, n_texts, n_people = kernel.read_log(
            np.frombuffer(whole or b"?", dtype=np.uint8),
            starts,
            self._names,
            self._types,
            self._fields,
            len(self.programs),
            rows.ravel(),
            cells.ravel(),
            texts,
            np.zeros(1 << (2 * most + 1).bit_length(), dtype=np.int32),
            people,
            np.zeros(1 << (2 * count + 1).bit_length(), dtype=np.int32),
            np.empty(_LONGEST, dtype=np.uint8),
        )
        ends = people[: 2 * n_people].tolist()
        customers = [whole[a:b].decode() for a, b in zip(ends[::2], ends[1::2], strict=True)]
        return Log(self, values, rows, cells, whole, texts[: 2 * n_texts], customers)


class Log:
    """Records of the log, in order; `kinds` are numbers of the plan's programs, or as `features.kernel.log`.

    `times` (ms) are those of events and ticks, `owners` say which of `customers` an event is of (-1: of no
    concern).
    """

    def __init__(
        self,
        reader: LogReader,
        values: Sequence[bytes],
        rows: NDArray[np.int64],
        cells: NDArray[np.int64],
        whole: bytes,
        texts: NDArray[np.int64],
        customers: list[str],
    ) -> None:
        self.reader = reader
        self.values = values
        self.customers = customers
        self.kinds, self.times, self.marks, self.owners = rows.T[: kernel.ROW_CELLS]
        self._cells_at = rows[:, kernel.ROW_CELLS]
        self._cells = cells
        self._whole = whole
        self._texts = texts
        self._made: dict[int, TypeColumns] = {}
        self._slow = self._read_slowly(np.flatnonzero(self.kinds == UNREAD).tolist())

    def __len__(self) -> int:
        return len(self.values)

    def event(self, row: int) -> Event:
        """The event itself."""
        event = decode(self.values[row])
        assert isinstance(event, Event), "a tick is none"
        return event

    def ticks(self) -> list[int]:
        """The rows of the log's clock."""
        found: list[int] = np.flatnonzero(self.kinds == TICK).tolist()
        return found

    def columns_of(self, number: int) -> "TypeColumns":
        """The events of one type."""
        made = self._made.get(number)
        if made is None:
            rows = np.flatnonzero(self.kinds == number)
            few = len(rows) < FEW or number in self._slow
            fields = self.reader.fields[number]
            cells = None
            if not few:
                cells = self._cells[self._cells_at[rows][:, np.newaxis] + np.arange(len(fields))]
            made = self._made[number] = TypeColumns(
                self, self.reader.programs[number][1], rows, fields, cells
            )
        return made

    def text(self, code: int) -> Any:
        """What a code stands for."""
        if code < FIRST_TEXT:
            return _PLAIN[code]
        start, end = self._texts[2 * (code - FIRST_TEXT) : 2 * (code - FIRST_TEXT) + 2].tolist()
        return self._whole[start:end].decode()

    @property
    def codes(self) -> int:
        """How many codes there are."""
        return FIRST_TEXT + len(self._texts) // 2

    def _read_slowly(self, rows: Sequence[int]) -> set[int]:
        """Decode what compiled code does not understand; the types of which there is any."""
        types: set[int] = set()
        places = {customer: place for place, customer in enumerate(self.customers)} if rows else {}
        for row in rows:
            item = decode(self.values[row])
            self.times[row] = item.time
            if isinstance(item, Tick):
                self.kinds[row] = TICK
                continue
            program = self.reader.plan.programs.get(item.type)
            self.kinds[row] = kernel.IRRELEVANT if program is None else program.number
            if program is not None:
                types.add(program.number)
                self.marks[row] = mark_of(item)
                self.owners[row] = places.setdefault(item.customer, len(places))
        self.customers += list(places)[len(self.customers) :]
        return types


class Piece(Columnar):
    """Some events of a log, `rows` of it in order; `owners` say whose they are among its `customers`.

    `columns` are, for each type, its columns, the places of its events here, and their places in the columns.
    """

    def __init__(self, log: Log, rows: NDArray[np.int64]) -> None:
        self.log = log
        self.rows = rows
        self.kinds = log.kinds[rows]
        whose, self.owners = np.unique(log.owners[rows], return_inverse=True)
        self.columns = [self._columns(number) for number in np.unique(self.kinds).tolist()]
        self.customers = log.customers
        if len(whose) < len(log.customers):
            self.customers = [log.customers[number] for number in whose.tolist()]

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> Event: ...

    @overload
    def __getitem__(self, place: slice) -> list[Event]: ...

    def __getitem__(self, place: int | slice) -> Event | list[Event]:
        if isinstance(place, slice):
            return list(map(self.log.event, self.rows[place].tolist()))
        return self.log.event(int(self.rows[place]))

    def types(self, attributes: Attributes) -> Iterator[EventsOfType]:
        """See `Columnar.types`."""
        for columns, places, within in self.columns:
            rows = self.rows[places]
            known = {name: _objects(values)[places] for name, values in attributes.items() if _any(values)}
            yield EventsOfType(
                *(columns.program, places, self.log.times[rows], self.log.marks[rows], columns.words[within]),
                columns.given(within, known),
            )

    def _columns(self, number: int) -> tuple["TypeColumns", NDArray[np.int64], NDArray[np.int64]]:
        columns = self.log.columns_of(number)
        places = np.flatnonzero(self.kinds == number)
        return columns, places, np.searchsorted(columns.rows, self.rows[places])


class _Column(NamedTuple):
    """A field of some events: values, None for none; and which they are of a few different ones, if texts."""

    values: NDArray[Any] | None
    which: NDArray[np.int64] | None = None
    different: NDArray[Any] | None = None

    def at(self, within: NDArray[np.int64]) -> "_Column":
        """The same of some of the events."""
        values = None if self.values is None else self.values[within]
        return _Column(values, None if self.which is None else self.which[within], self.different)


class TypeColumns:
    """The events of one type, `rows` of the log; `plain` when they are columns, else they are events."""

    def __init__(
        self,
        log: Log,
        program: Program,
        rows: NDArray[np.intp],
        fields: Mapping[str, int],
        cells: NDArray[np.int64] | None,
    ) -> None:
        self.program = program
        self.rows = rows
        self._log = log
        self._fields = fields
        self._columns: dict[str, _Column] = {}
        if cells is not None:
            self._kinds, self._values, self._codes = (cells[:, :, n].T for n in range(kernel.CELL_COLUMNS))
            held = np.bitwise_or.reduce(1 << self._kinds, axis=1, initial=0).tolist()
            self._held = dict(zip(fields, held, strict=True))
        self.plain = cells is not None and self._is_plain()
        self.words = self._words() if self.plain else words_of(program, list(map(log.event, rows.tolist())))

    def truths(self, condition: Expression) -> NDArray[np.bool_]:
        """Where a condition is true of the events."""
        columns = {name: self._column(name) for name in condition.names}
        if len(condition.names) == 1:
            ((name, column),) = columns.items()
            if column.different is not None:
                return _true(condition, {name: column.different}, len(column.different))[column.which]
        return _true(condition, {name: column.values for name, column in columns.items()}, len(self.rows))

    def given(self, within: NDArray[np.int64], known: Mapping[str, NDArray[Any]]) -> GivenRows | None:
        """What triggers are given of those `within`; `known` are attributes of these."""
        given = self.program.given
        if given is None:
            return None
        if not self.plain:
            events = [self._log.event(row) for row in self.rows[within].tolist()]
            return given_rows(given, events, known, hash_key)
        return given_columns(
            given,
            len(within),
            lambda name: self._column(name.removeprefix(EVENT)).at(within),
            known,
            lambda field: self._values[self._fields[field]][within],
        )

    def _is_plain(self) -> bool:
        """Whether every field holds what its uses take; else events are looked at one by one."""
        program = self.program
        counted = (*program.values, *program.buckets)
        numbers = all(self._held[field] & _set(TEXT, OTHER) == 0 for field in counted)
        texts = all(self._held[field] & ~_set(NONE, TEXT) == 0 for field in (*program.keys, *program.hashed))
        alike = all(
            held & _set(OTHER) == 0 and (not held & _set(NUMBER) or not held & _set(TEXT, TRUTH))
            for held in self._held.values()
        )
        return numbers and texts and alike

    def _words(self) -> NDArray[np.int64]:
        program = self.program
        words = np.empty((len(self.rows), program.width), dtype=np.int64)
        column = 0
        for condition in program.conditions:
            words[:, column] = self.truths(condition)
            column += 1
        for field in (*program.values, *program.buckets, *program.keys, *program.hashed):
            words[:, column] = self._values[self._fields[field]]
            column += 1
        first = len(program.conditions) + len(program.values)
        for column in range(first, first + len(program.buckets)):
            words[:, column] = buckets_of(words[:, column])
        return words

    def _column(self, field: str) -> _Column:
        """A field as `features.batch` lays it out."""
        found = self._columns.get(field)
        if found is None:
            place, held = self._fields[field], self._held[field]
            values = self._values[place]
            if held == _set(NONE):
                found = _Column(None)  # of what kind it would be, nobody can tell from the values
            elif held == _set(NUMBER):
                found = _Column(values)
            elif held == _set(NUMBER, NONE):
                found = _Column(np.where(self._kinds[place] == NONE, np.nan, values))
            elif held == _set(TRUTH):
                found = _Column(values != 0)
            else:
                found = self._texts(self._codes[place])
            self._columns[field] = found
        return found

    def _texts(self, codes: NDArray[np.int64]) -> _Column:
        """A field of texts, each different one made once."""
        seen = np.zeros(self._log.codes, dtype=np.int64)
        seen[codes] = 1
        different = np.flatnonzero(seen)
        texts = np.empty(len(different), dtype=object)
        texts[:] = [self._log.text(code) for code in different.tolist()]
        which = (np.cumsum(seen) - 1)[codes]
        return _Column(texts[which], which, texts)


def _true(condition: Expression, env: Mapping[str, Any], count: int) -> NDArray[np.bool_]:
    """Where it is known to be true; `Expression.evaluate` takes longer over shapes than over conditions."""
    truth, unknown = condition.many(env)
    if unknown is not False:
        truth = np.where(unknown, False, truth)
    found: NDArray[np.bool_] = truth if np.shape(truth) == (count,) else np.broadcast_to(truth, count)
    return found


def _any(values: Sequence[Any]) -> bool:
    """Whether one is known: of what kind the others would be, nobody could tell."""
    return any(value is not None for value in values)


def _objects(values: Sequence[Any]) -> NDArray[Any]:
    """Values as a column; a truth stays one, as 1.0 is neither true nor false to a condition."""
    numbers = not any(isinstance(value, bool | str) for value in values)
    if numbers:
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _set(*kinds: int) -> int:
    return sum(1 << kind for kind in kinds)


def _wanted(plan: Plan, kind: str, program: Program) -> list[str]:
    """The fields of a type that conditions, values and keys read, in the order in which they come."""
    names = {name for condition in program.conditions for name in condition.names}
    names.update(program.values, program.buckets, program.keys, program.hashed)
    if program.given is not None:
        names |= program.given.fields
    declared = plan.playbook.contracts.types.get(kind)
    order = list(declared.fields) if declared is not None else []
    return sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name))
