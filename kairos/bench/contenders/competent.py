"""What a good engineer builds in a week: batches, states in dicts, changed rows written in one pipeline.

A window is a hundred buckets with running totals, so an event costs a few dict operations a window. Values
are brought up to date once a batch, for the aggregates that it touched, and each changed customer's row goes
to Redis as one packed field; families go as a packed field for each key that changed.
"""

from array import array
from collections.abc import Callable, Iterable, MutableSequence, Sequence
from typing import Any

from features.duration import DAY
from kairos.bench.contenders.questions import (
    BUCKETS,
    DISTINCT,
    EVER,
    HALF,
    MOMENT,
    SHARED,
    Outputs,
    Question,
    Questions,
    Told,
)

Tile = list[float]
"""[count, sum, least, largest] of a bucket."""


class Window:
    """The last hundred buckets of a window, and their totals."""

    __slots__ = ("buckets", "count", "newest", "total")

    def __init__(self) -> None:
        self.buckets: dict[int, Tile] = {}
        self.newest = -1
        self.count = 0.0
        self.total = 0.0

    def forget(self, upto: int) -> None:
        """Let go of the buckets up to this one."""
        buckets = self.buckets
        while buckets:
            oldest = next(iter(buckets))
            if oldest > upto:
                return
            tile = buckets.pop(oldest)
            self.count -= tile[0]
            self.total -= tile[1]
        self.total = 0.0


class Cell:
    """What one question has come to, for one customer (and one key of a family)."""

    __slots__ = ("distinct", "ever", "first", "halves", "last", "value", "windows")

    def __init__(self, question: Question) -> None:
        aggregate = question.aggregate
        self.windows = [Window() for _ in question.widths]
        self.halves = [[0.0, 0.0, 0.0] for _ in aggregate.half_lives]
        self.distinct: list[dict[Any, int]] = [{} for _ in question.seen]
        self.ever: Tile | None = None
        self.first = self.last = -1
        self.value: Any = 0.0

    def add(self, question: Question, time: int, value: Any) -> None:
        """Count an event in."""
        if time >= self.last:
            self.last, self.value = time, value
        if self.first < 0 or time < self.first:
            self.first = time
        if question.seen:
            for seen in self.distinct:
                if time > seen.get(value, -1):
                    seen[value] = time
            return
        for window, width in zip(self.windows, question.widths, strict=True):
            bucket = time // width
            if bucket > window.newest:
                window.newest = bucket
                window.buckets[bucket] = [1, value, value, value]
                window.forget(bucket - BUCKETS)
            elif bucket <= window.newest - BUCKETS:
                continue
            elif (tile := window.buckets.get(bucket)) is None:
                window.buckets[bucket] = [1, value, value, value]
                window.buckets = dict(sorted(window.buckets.items()))
            else:
                _add(tile, value)
            window.count += 1
            window.total += value
        for half, length in zip(self.halves, question.aggregate.half_lives, strict=True):
            weight = 1.0
            if time >= half[2]:
                faded = 0.5 ** ((time - half[2]) / length)
                half[0] *= faded
                half[1] *= faded
                half[2] = time
            else:
                weight = 0.5 ** ((half[2] - time) / length)
            half[0] += weight
            half[1] += weight * value
        if question.aggregate.ever:
            if self.ever is None:
                self.ever = [1, value, value, value]
            else:
                _add(self.ever, value)

    def read(self, question: Question, at: int, into: MutableSequence[float]) -> None:
        """Put the features at an instant into their places; one of nothing stays as it is."""
        for kind, number, length, outputs in question.spans:
            if kind == MOMENT:
                for place, function in outputs:
                    if function == "last":
                        into[place] = self.value
                    else:
                        into[place] = (at - (self.last if function == "since_last" else self.first)) / DAY
            elif kind == HALF:
                count, total, then = self.halves[number]
                faded = 0.5 ** ((at - then) / length)
                for place, function in outputs:
                    if function == "mean":
                        into[place] = total / count
                    else:
                        into[place] = faded * (count if function == "count" else total)
            elif kind == DISTINCT:
                seen = self.distinct[number]
                for value in [value for value, time in seen.items() if time <= at - length] if length else ():
                    del seen[value]
                into[outputs[0][0]] = len(seen)
            elif kind == EVER:
                if self.ever is not None:
                    _put(outputs, self.ever[0], self.ever[1], [self.ever], into)
            else:
                window = self.windows[number]
                window.forget(at // question.widths[number] - BUCKETS)
                if window.count:
                    _put(outputs, window.count, window.total, window.buckets.values(), into)


def _add(tile: Tile, value: float) -> None:
    tile[0] += 1
    tile[1] += value
    if value < tile[2]:
        tile[2] = value
    if value > tile[3]:
        tile[3] = value


def _put(
    outputs: Outputs, count: float, total: float, tiles: Iterable[Tile], into: MutableSequence[float]
) -> None:
    for place, function in outputs:
        if function == "count":
            into[place] = count
        elif function == "sum":
            into[place] = total
        elif function == "mean":
            into[place] = total / count
        elif function == "min":
            into[place] = min([tile[2] for tile in tiles])
        else:
            into[place] = max([tile[3] for tile in tiles])


class Customer:
    """A customer's cells, and the row as it was last brought up to date."""

    __slots__ = ("cells", "row")

    def __init__(self, defaults: Sequence[float]) -> None:
        self.row = array("f", defaults)
        self.cells: dict[tuple[int, Any], Cell] = {}


Touched = dict[tuple[int, Any], tuple[Question, Cell]]


class Competent:
    """Folds batches of events; `changed` says what to write then, and what it is."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self.customers: dict[str, Customer] = {}
        self.everybody = Customer(questions.defaults)
        self._touched: dict[str, tuple[int, Touched]] = {}
        self._shared: Touched = {}
        self._newest = 0
        self._scratch = list(questions.blank)

    def fold(self, events: Sequence[Told]) -> None:
        """Count a batch in."""
        customers, of, defaults = self.customers, self._questions.of, self._questions.defaults
        for event in events:
            questions = of.get(event.type)
            if questions is None:
                continue
            customer = customers.get(event.customer)
            if customer is None:
                customer = customers[event.customer] = Customer(defaults)
            time, fields = event.time, event.fields
            if time > self._newest:
                self._newest = time
            at, touched = self._touched.get(event.customer, (0, {}))
            for question in questions:
                if question.test is not None and question.test(fields) is not True:
                    continue
                aggregate = question.aggregate
                value: Any = 0.0
                if aggregate.value is not None and (value := fields.get(aggregate.value)) is None:
                    continue
                key: Any = None
                if aggregate.by is not None and (key := fields.get(aggregate.by)) is None:
                    continue
                shared = aggregate.of in SHARED
                cells = self.everybody.cells if shared else customer.cells
                slot = question.number, key
                cell = cells.get(slot)
                if cell is None:
                    cell = cells[slot] = Cell(question)
                cell.add(question, time, value)
                (self._shared if shared else touched)[slot] = question, cell
            self._touched[event.customer] = max(at, time), touched

    def changed(self) -> list[tuple[str, dict[str, bytes]]]:
        """The hash and the fields to write, brought up to the time of each customer's newest event."""
        writes = []
        for name, (at, touched) in self._touched.items():
            row = self.customers[name].row
            fields = {}
            for (_, key), (question, cell) in touched.items():
                if question.in_row:
                    cell.read(question, at, row)
                else:
                    fields[f"{question.aggregate.name}:{key}"] = self._packed(question, cell, at)
            for question, _ in touched.values():
                for _, place, top, bottom, factor, default in question.quotients:
                    below = row[bottom]
                    row[place] = factor * row[top] / below if below else default
            fields["row"] = row.tobytes()
            writes.append((name, fields))
        if self._shared:
            shared = {
                f"{question.aggregate.name}:{key}": self._packed(question, cell, self._newest)
                for (_, key), (question, cell) in self._shared.items()
            }
            writes.append(("everybody", shared))
        self._touched, self._shared = {}, {}
        return writes

    def _packed(self, question: Question, cell: Cell, at: int) -> bytes:
        """A key of a family: its features, one after the other."""
        row = self._scratch
        for output in question.outputs:
            row[output.place] = 0.0
        cell.read(question, at, row)
        return array("f", [row[output.place] for output in question.outputs]).tobytes()


def writer(redis: Any) -> Callable[[Sequence[tuple[str, dict[str, bytes]]]], None]:
    """Writes what has changed in one round trip."""

    def write(changed: Sequence[tuple[str, dict[str, bytes]]]) -> None:
        pipeline = redis.pipeline(transaction=False)
        for name, fields in changed:
            pipeline.hset(name, mapping=fields)
        pipeline.execute()

    return write
