"""A row the naive way: a customer's buckets as MessagePack, unpacked, then one feature after the other.

What is kept is what the competent contender keeps, so that the values are the same; how it is read is how
one first writes it: a function call and a loop over buckets for each feature.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from features.duration import DAY
from kairos.bench.contenders.competent import Customer
from kairos.bench.contenders.questions import BUCKETS, Output, Question, Questions

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[int, dict[str, Any]]).decode


def packed(customer: Customer) -> bytes:
    """The customer's cells of no family, as bytes."""
    return _encode(
        {
            number: {
                "windows": [window.buckets for window in cell.windows],
                "halves": cell.halves,
                "distinct": cell.distinct,
                "ever": cell.ever,
                "first": cell.first,
                "last": cell.last,
                "value": cell.value,
            }
            for (number, key), cell in customer.cells.items()
            if key is None
        }
    )


class PlainRow:
    """Reads rows of `packed` customers."""

    def __init__(self, questions: Questions) -> None:
        self._defaults = questions.defaults
        self._asked: list[tuple[Question, Output]] = []
        self._quotients: list[Any] = []
        for each in questions.of.values():
            for question in each:
                if question.in_row:
                    self._asked += [(question, output) for output in question.outputs]
                    self._quotients += question.quotients

    def read(self, blob: bytes, at: int) -> list[float]:
        """The row at an instant, hidden features behind the visible ones."""
        cells = _decode(blob)
        row = list(self._defaults)
        for question, output in self._asked:
            cell = cells.get(question.number)
            if cell is not None:
                value = _value(cell, question, output, at)
                if value is not None:
                    row[output.place] = value
        for _, place, top, bottom, factor, default in self._quotients:
            row[place] = factor * row[top] / row[bottom] if row[bottom] else default
        return row


def _value(cell: dict[str, Any], question: Question, output: Output, at: int) -> float | None:
    function = output.function
    if function == "since_last":
        return float((at - cell["last"]) / DAY)
    if function == "since_first":
        return float((at - cell["first"]) / DAY)
    if function == "last":
        return float(cell["value"])
    if function == "distinct":
        since = at - question.aggregate.windows[output.window] if output.window >= 0 else -1
        return float(sum(time > since for time in cell["distinct"][output.window].values()))
    if output.half_life >= 0:
        count, total, then = cell["halves"][output.half_life]
        if function == "mean":
            return float(total / count)
        faded = 0.5 ** ((at - then) / question.aggregate.half_lives[output.half_life])
        return float((count if function == "count" else total) * faded)
    if output.window < 0:
        return _of([] if cell["ever"] is None else [cell["ever"]], function)
    width = max(1, question.aggregate.windows[output.window] // BUCKETS)
    since = at // width - BUCKETS
    return _of([tile for n, tile in cell["windows"][output.window].items() if n > since], function)


def _of(tiles: Sequence[Sequence[float]], function: str) -> float | None:
    if not tiles:
        return None
    if function == "min":
        return min(tile[2] for tile in tiles)
    if function == "max":
        return max(tile[3] for tile in tiles)
    count = sum(tile[0] for tile in tiles)
    total = sum(tile[1] for tile in tiles)
    return count if function == "count" else total if function == "sum" else total / count
