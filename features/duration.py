"""Lengths of time as people write them: `90s`, `5m`, `3h`, `28d`."""

import re

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}
_WRITTEN = re.compile(r"([1-9][0-9]{0,5})([smhd])")


def parse_duration(text: str) -> int:
    """The length in milliseconds.

    Errors: ValueError when the text is not a whole number followed by s, m, h or d.

    >>> parse_duration("3h")
    10800000
    >>> parse_duration("1 week")
    Traceback (most recent call last):
        ...
    ValueError: expected a length such as "30s", "5m", "3h" or "28d", found "1 week"
    """
    written = _WRITTEN.fullmatch(text)
    if written is None:
        raise ValueError(f'expected a length such as "30s", "5m", "3h" or "28d", found "{text}"')
    return int(written[1]) * _UNITS[written[2]]


def render_duration(ms: int) -> str:
    """The length as people write it, in its largest unit that is exact.

    >>> render_duration(7 * DAY), render_duration(90 * SECOND)
    ('7d', '90s')
    """
    for unit in ("d", "h", "m"):
        if ms % _UNITS[unit] == 0:
            return f"{ms // _UNITS[unit]}{unit}"
    return f"{ms / SECOND:g}s"
