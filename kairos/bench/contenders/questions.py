"""A playbook's aggregates as a contender asks them: which events, which value, which features come of it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson

from events.envelope import MARK
from features.declare import Aggregate, Playbook, features_of
from features.declare_fields import event_names
from features.expression import compile_expression
from features.trigger import FIRED_COUNT, FIRED_SINCE

SHARED = ("offer", "offer_group", "global")
"""Counted over everybody."""

BUCKETS: Final = 100
"""In so many pieces a window is kept by who keeps pieces."""

MOMENT, WINDOW, HALF, EVER, DISTINCT = range(5)

Outputs = tuple[tuple[int, str], ...]
"""(place, function) of features."""


class Output(NamedTuple):
    """One feature: its name, its place in the row (or cross row), and what it reads.

    `window` and `half_life` say which of the aggregate's, -1 none; both -1 is all time or a moment.
    """

    name: str
    place: int
    function: str
    window: int
    half_life: int


class Quotient(NamedTuple):
    """A feature that divides one value of an aggregate by another: places of all three, factor, default."""

    name: str
    place: int
    numerator: int
    denominator: int
    factor: float
    default: float


class Question(NamedTuple):
    """One aggregate asked of one type of event; `quotients` are those whose numerator it gives.

    `widths` are those of a bucket of each window, `seen` the spans in which different values are counted.
    `spans` gather the outputs that read the same thing: (kind, number, length, outputs).
    """

    number: int
    aggregate: Aggregate
    test: Callable[[Any], Any] | None
    outputs: tuple[Output, ...]
    quotients: tuple[Quotient, ...]
    widths: tuple[int, ...]
    seen: tuple[int, ...]
    spans: tuple[tuple[int, int, int, Outputs], ...]

    @property
    def in_row(self) -> bool:
        """Whether its values stand in the customer's row."""
        return self.aggregate.by is None and self.aggregate.of not in SHARED


class Told(NamedTuple):
    """An event as a contender decodes it; `customer` is the first foreign id it names."""

    type: str
    time: int
    customer: str
    fields: Mapping[str, Any]


class Questions:
    """All that a playbook asks, by type of event; `defaults` are the row when nothing has happened."""

    def __init__(self, playbook: Playbook) -> None:
        row, cross = features_of(playbook)
        self.defaults = [feature.default for feature in row]
        self.blank = [0.0] * max(len(row), len(cross))
        places = {f.name: place for features in (row, cross) for place, f in enumerate(features)}
        outputs: dict[str, list[Output]] = {}
        quotients: dict[str, list[Quotient]] = {}
        owner = {f.name: f.aggregate for f in (*row, *cross) if f.derived is None}
        of = {aggregate.name: aggregate for aggregate in playbook.aggregates}
        for feature in (*row, *cross):
            if feature.function in (FIRED_COUNT, FIRED_SINCE):
                continue  # contenders have no triggers
            if feature.derived is None:
                its = of[feature.aggregate]
                window = -1 if feature.window_ms is None else its.windows.index(feature.window_ms)
                half = -1 if feature.half_life_ms is None else its.half_lives.index(feature.half_life_ms)
                output = Output(feature.name, places[feature.name], feature.function, window, half)
                outputs.setdefault(its.name, []).append(output)
            elif feature.match is None:
                top, bottom, factor = feature.derived
                quotients.setdefault(owner[top], []).append(
                    Quotient(
                        feature.name,
                        *(places[feature.name], places[top], places[bottom]),
                        factor,
                        feature.default,
                    )
                )
        self.of: dict[str, list[Question]] = {}
        for number, its in enumerate(playbook.aggregates):
            distinct = "distinct" in its.functions
            self.of.setdefault(its.event, []).append(
                Question(
                    number,
                    its,
                    _condition(playbook, its),
                    tuple(outputs.get(its.name, ())),
                    tuple(quotients.get(its.name, ())),
                    () if distinct else tuple(max(1, window // BUCKETS) for window in its.windows),
                    (*its.windows, 0) if distinct else (),
                    _spans(its, outputs.get(its.name, ())),
                )
            )
        types = playbook.contracts.types.values()
        self._time = {each.name: each.time_field for each in types}
        self._member = {each.name: next(iter(each.customer.values())) for each in types}

    def decode(self, raw: bytes) -> Told | None:
        """The event, as one who trusts the domains reads it; None of a mark."""
        event = orjson.loads(raw)
        kind = event["type"]
        if kind == MARK:
            return None
        data = event["data"]
        member = self._time[kind]
        text = event["time"] if member is None else data[member]
        time = round(datetime.fromisoformat(text).timestamp() * 1000)
        return Told(kind, time, data[self._member[kind]], data)


def _spans(aggregate: Aggregate, outputs: Sequence[Output]) -> tuple[tuple[int, int, int, Outputs], ...]:
    gathered: dict[tuple[int, int, int], list[tuple[int, str]]] = {}
    for output in outputs:
        length = aggregate.windows[output.window] if output.window >= 0 else 0
        if output.function in ("last", "since_last", "since_first"):
            span = MOMENT, 0, 0
        elif output.function == "distinct":
            span = DISTINCT, output.window, length
        elif output.half_life >= 0:
            span = HALF, output.half_life, aggregate.half_lives[output.half_life]
        else:
            span = (WINDOW if length else EVER), output.window, length
        gathered.setdefault(span, []).append((output.place, output.function))
    return tuple((*span, tuple(found)) for span, found in gathered.items())


def _condition(playbook: Playbook, aggregate: Aggregate) -> Callable[[Any], Any] | None:
    if aggregate.where is None:
        return None
    names = event_names(playbook.contracts, aggregate.event)
    # A contender does not scale decimals.
    plain: dict[str, Any] = {n: "number" if kind == "decimal" else kind for n, kind in names.items()}
    return compile_expression(aggregate.where, plain).one
