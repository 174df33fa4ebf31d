"""The packages as their tutorials show them: an object a customer, an event at a time, a write a feature.

Bytewax keeps a Python object for each customer in `stateful_map`. It holds the events themselves; with every
new one each feature of the aggregates it concerns is computed by a loop over them, and what has changed is
set in Redis, feature by feature.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import TestingSource, run_main

from features.duration import DAY
from kairos.bench.contenders.questions import SHARED, Output, Question, Questions, Told

Change = tuple[str, str, float]
"""Whose hash, which field, which value."""


class History:
    """The events of a customer that each question has taken, as (time, value), and what was last written."""

    def __init__(self) -> None:
        self.events: dict[tuple[int, Any], list[tuple[int, Any]]] = {}
        self.values: dict[str, float] = {}
        self.row: dict[int, float] = {}

    def add(self, question: Question, key: Any, time: int, value: Any) -> None:
        """Remember an event, and forget those that no window holds any more."""
        aggregate = question.aggregate
        kept = self.events.setdefault((question.number, key), [])
        kept.append((time, value))
        if not (aggregate.ever or aggregate.half_lives or "since_first" in aggregate.functions):
            oldest = time - max(aggregate.windows, default=0)
            self.events[question.number, key] = [event for event in kept if event[0] > oldest]

    def read(self, question: Question, key: Any, output: Output, at: int) -> float | None:
        """A feature at an instant, by a loop over the events; None when nothing has happened."""
        aggregate, function = question.aggregate, output.function
        events = self.events[question.number, key]
        if function == "since_last":
            return (at - max(time for time, _ in events)) / DAY
        if function == "since_first":
            return (at - min(time for time, _ in events)) / DAY
        if function == "last":
            return float(max(events, key=lambda event: event[0])[1])
        if output.half_life >= 0:
            length = aggregate.half_lives[output.half_life]
            weights = [0.5 ** ((at - time) / length) for time, _ in events]
            count = sum(weights)
            total = sum(w * value for w, (_, value) in zip(weights, events, strict=True))
            return float({"count": count, "sum": total, "mean": total / count}[function])
        values = [value for _, value in events]
        if output.window >= 0:
            since = at - aggregate.windows[output.window]
            values = [value for time, value in events if time > since]
        if function == "distinct":
            return float(len(set(values)))
        if not values:
            return None
        if function == "count":
            return float(len(values))
        if function == "sum":
            return float(sum(values))
        if function == "mean":
            return float(sum(values) / len(values))
        return float(min(values) if function == "min" else max(values))


class Naive:
    """Takes one event at a time; answers with the features that it changed."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self.everybody = History()
        self.fold_s = 0.0

    def take(self, history: History | None, event: Told) -> tuple[History, list[Change]]:
        """Count an event in: the mapper of `stateful_map`."""
        began = time.thread_time()
        history = history or History()
        changes: list[Change] = []
        asked: list[Question] = []
        for question in self._questions.of.get(event.type, ()):
            if question.test is not None and question.test(event.fields) is not True:
                continue
            aggregate = question.aggregate
            value: Any = 0.0
            if aggregate.value is not None and (value := event.fields.get(aggregate.value)) is None:
                continue
            key: Any = None
            if aggregate.by is not None and (key := event.fields.get(aggregate.by)) is None:
                continue
            shared = aggregate.of in SHARED
            held = self.everybody if shared else history
            held.add(question, key, event.time, value)
            _recompute(held, question, key, event, "everybody" if shared else event.customer, changes)
            asked.append(question)
        for question in asked:
            for quotient in question.quotients if question.in_row else ():
                below = history.row.get(quotient.denominator, 0.0)
                top = history.row.get(quotient.numerator, 0.0)
                value = quotient.factor * top / below if below else quotient.default
                _note(history, event.customer, quotient.name, value, changes)
        self.fold_s += time.thread_time() - began
        return history, changes


def _recompute(
    held: History, question: Question, key: Any, event: Told, name: str, changes: list[Change]
) -> None:
    suffix = "" if key is None else f":{key}"
    for output in question.outputs:
        value = held.read(question, key, output, event.time)
        if value is not None:
            if key is None:
                held.row[output.place] = value
            _note(held, name, output.name + suffix, value, changes)


def _note(held: History, name: str, field: str, value: float, changes: list[Change]) -> None:
    if held.values.get(field) != value:
        held.values[field] = value
        changes.append((name, field, value))


class _RedisSink(StatelessSinkPartition[tuple[str, list[Change]]]):
    def __init__(self, write: Callable[[list[Change]], None]) -> None:
        self._write = write

    def write_batch(self, items: list[tuple[str, list[Change]]]) -> None:
        for _, changes in items:
            self._write(changes)


class _Redis(DynamicSink[tuple[str, list[Change]]]):
    def __init__(self, write: Callable[[list[Change]], None]) -> None:
        self._write = write

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _RedisSink:
        return _RedisSink(self._write)


def flow(naive: Naive, events: Iterable[Told], write: Callable[[list[Change]], None]) -> None:
    """Run the events through a dataflow to their end."""
    dataflow = Dataflow("naive")
    told = op.input("events", dataflow, TestingSource(events))
    keyed = op.key_on("customer", told, lambda event: event.customer)
    op.output("redis", op.stateful_map("history", keyed, naive.take), _Redis(write))
    run_main(dataflow)


def writer(redis: Any) -> Callable[[list[Change]], None]:
    """Sets what has changed, one feature after the other."""

    def write(changes: list[Change]) -> None:
        for name, field, value in changes:
            redis.hset(name, field, value)

    return write
