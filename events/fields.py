"""The kinds of field an event may carry, each a check and a conversion to what is kept."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from events.codec import MAX_ID, BadEvent, parse_time, shown
from events.envelope import Field

SCALE = 10_000
"""A decimal field is kept as a whole number of ten-thousandths, so that sums are exact in any order."""

MAX_DECIMAL = 10**11
"""No decimal reaches this: below it a float still tells ten-thousandths apart."""

MAX_WHOLE = 1 << 53
"""No whole number reaches this: below it JSON, float and integer agree."""

_DECIMAL = re.compile(r"[+-]?\d{1,20}(\.\d{1,20})?", re.ASCII)


class Kind(NamedTuple):
    """A kind of field: what people read about it, and its conversion, which raises `BadEvent`."""

    expected: str
    convert: Callable[[str, Any], Field]


def _decimal(name: str, value: Any) -> int:
    kind = type(value)
    if kind is str and _DECIMAL.fullmatch(value):
        value = float(value)
    elif kind is not float and kind is not int:
        raise _mistyped("decimal", name, value)
    if not -MAX_DECIMAL < value < MAX_DECIMAL:  # NaN is not within anything
        raise _out_of_range(name, f"a number within {MAX_DECIMAL:,}", value)
    whole: int = round(value * SCALE)
    return whole


def _integer(name: str, value: Any) -> int:
    if type(value) is not int:
        if type(value) is not float or not value.is_integer():
            raise _mistyped("integer", name, value)
        value = int(value)
    if not -MAX_WHOLE < value < MAX_WHOLE:
        raise _out_of_range(name, f"a number within {MAX_WHOLE:,}", value)
    return int(value)


def _category(name: str, value: Any) -> str:
    if type(value) is not str:
        raise _mistyped("category", name, value)
    if len(value) > MAX_ID:
        raise _out_of_range(name, f"at most {MAX_ID} characters", value)
    return value


def _text(name: str, value: Any) -> str:
    if type(value) is not str:
        raise _mistyped("text", name, value)
    return value


def _boolean(name: str, value: Any) -> bool:
    if type(value) is not bool:
        raise _mistyped("boolean", name, value)
    return value


def _time(name: str, value: Any) -> int:
    try:
        instant = parse_time(value)
    except ValueError:
        raise _mistyped("time", name, value) from None
    if not -MAX_WHOLE < instant < MAX_WHOLE:
        raise _out_of_range(name, f"milliseconds within {MAX_WHOLE:,}", value)
    return instant


KINDS: Mapping[str, Kind] = {
    "decimal": Kind("a decimal number", _decimal),
    "integer": Kind("a whole number", _integer),
    "category": Kind(f"a text of at most {MAX_ID} characters", _category),
    "text": Kind("a text", _text),
    "boolean": Kind("true or false", _boolean),
    "time": Kind("an RFC 3339 instant with an offset", _time),
}


def _mistyped(kind: str, name: str, value: Any) -> BadEvent:
    return BadEvent("wrong_type", f"data.{name}", KINDS[kind].expected, shown(value))


def _out_of_range(name: str, expected: str, value: Any) -> BadEvent:
    return BadEvent("out_of_range", f"data.{name}", expected, shown(value))
