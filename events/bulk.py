"""Members of many events at once, from what JSON says to what is counted: ids, decimals, instants.

What comes out is what `events.fields` makes of the same values one by one. The rows of which it would make
nothing are added to `left`.
"""

from array import array
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from events.codec import BadEvent, parse_time
from events.fields import KINDS, MAX_DECIMAL, SCALE

Convert = Callable[[list[Any], set[int]], list[Any]]
"""Takes a column and the rows that are `left`, to which it may add."""

_NO_TIME: Final = -1


def texts(column: list[Any]) -> list[str]:
    """Ids as texts; a publisher may send them as whole numbers."""
    return column if set(map(type, column)) == {str} else list(map(str, column))


def _as_it_is(column: list[Any], left: set[int]) -> list[Any]:
    return column


def _decimals(column: list[Any], left: set[int]) -> list[int | None]:
    """Whole ten-thousandths."""
    try:
        numbers = np.frombuffer(array("d", column))
    except TypeError:  # a text, or a value that may be missing and is
        return _each("decimal", column, left)
    if not np.all(np.abs(numbers) < MAX_DECIMAL):
        return _each("decimal", column, left)
    whole: list[int | None] = np.rint(numbers * SCALE).astype(np.int64).tolist()
    return whole


def _times(column: list[Any], left: set[int]) -> list[int | None]:
    return _each("time", column, left)


def _each(kind: str, column: list[Any], left: set[int]) -> list[Any]:
    """A column value by value, as `Contracts.validate` does it."""
    convert = KINDS[kind].convert
    found: list[Any] = [None] * len(column)
    for row, value in enumerate(column):
        if value is not None:
            try:
                found[row] = convert("", value)
            except BadEvent:
                left.add(row)
    return found


_CONVERT: Final[dict[str, Convert]] = {"decimal": _decimals, "time": _times}


def converter(kind: str) -> Convert:
    """How a column of a field of this kind is converted."""
    return _CONVERT.get(kind.removesuffix("?"), _as_it_is)


def instants(column: list[str | int | None], left: set[int]) -> list[int]:
    """Milliseconds of instants; -1 for a row that is left."""
    together = _instants_of_one_form(column)
    if together is not None:
        return together
    times = []
    for row, text in enumerate(column):
        try:
            times.append(parse_time(text))  # type: ignore[arg-type]
        except ValueError:
            times.append(_NO_TIME)
            left.add(row)
    return times


_SEPARATORS: Final = {4: "-", 7: "-", 10: "T", 13: ":", 16: ":"}
_FORMS: Final = {20: _SEPARATORS | {19: "Z"}, 24: _SEPARATORS | {19: ".", 23: "Z"}}
_FIRST_YEAR: Final = 1970
_MONTHS: Final = (
    np.arange("1970-01", "2101-01", dtype="datetime64[M]").astype("datetime64[D]").astype(np.int64)
)
"""The day, from 1970-01-01, on which each month begins."""


def _instants_of_one_form(column: list[str | int | None]) -> list[int] | None:
    """All of `2017-07-14T02:00:00Z`, or all with milliseconds; None when any is of another form, or none."""
    try:
        text = "".join(column)  # type: ignore[arg-type]
    except TypeError:
        return None
    width = len(column[0])  # type: ignore[arg-type]
    form = _FORMS.get(width)
    if form is None or not text.isascii() or set(map(len, column)) != {width}:  # type: ignore[arg-type]
        return None
    table = np.frombuffer(text.encode(), np.uint8).reshape(len(column), width)
    for place, separator in form.items():
        if not np.all(table[:, place] == ord(separator)):
            return None
    digits = table[:, [place for place in range(width) if place not in form]].astype(np.int64) - ord("0")
    if digits.min() < 0 or digits.max() > 9:
        return None
    year = digits[:, :4] @ (1_000, 100, 10, 1)
    month, day, hour, minute, second = (digits[:, at] * 10 + digits[:, at + 1] for at in (4, 6, 8, 10, 12))
    index = (year - _FIRST_YEAR) * 12 + month - 1
    if index.min() < 0 or index.max() >= len(_MONTHS) - 1:
        return None
    days = _MONTHS[index] + day - 1
    good = (month >= 1) & (month <= 12) & (day >= 1) & (days < _MONTHS[index + 1])
    if not np.all(good & (hour < 24) & (minute < 60) & (second < 60)):
        return None
    times = ((days * 24 + hour) * 60 + minute) * 60_000 + second * 1_000
    if width == 24:
        times += digits[:, 14:] @ (100, 10, 1)
    found: list[int] = times.tolist()
    return found
