"""What is wrong in an expression and at which character, shown so that people see the place."""

import unicodedata

WIDTH = 72
"""Columns of an excerpt: of a longer expression only what stands around the place is shown."""

LONGEST_FOUND = 140
"""Characters that are quoted of what was found."""


class BadExpression(Exception):
    """An expression cannot be understood: at which character (from 1), what was expected, what was found.

    `message` says so without the expression; `excerpt` is the expression with the place pointed at.
    """

    def __init__(self, text: str, at: int, expected: str, found: str, hint: str = "") -> None:
        self.text, self.at, self.expected, self.hint = text, at, expected, hint
        self.found = visible(found if len(found) <= LONGEST_FOUND else found[: LONGEST_FOUND - 3] + "...")
        more = f"; {hint}" if hint else ""
        shown = excerpt(text, at).splitlines()[0]
        super().__init__(f"character {at} of {shown!r}: expected {expected}, found {self.found}{more}")

    @property
    def excerpt(self) -> str:
        """Two lines: the expression, or what of it stands around the place, and a caret below the place."""
        return excerpt(self.text, self.at)


def excerpt(text: str, at: int) -> str:
    """The expression on one line, and a caret below its character `at` (from 1).

    >>> print(excerpt("spend_sum_30d > 500 && vists_count_7d == 0", 24))
    spend_sum_30d > 500 && vists_count_7d == 0
                           ^
    >>> print(excerpt("open || " * 30 + "oepn", 241))
    …| open || open || open || open || open || open || open || open || oepn
                                                                       ^
    """
    place = min(max(at - 1, 0), len(text))
    first = 0 if len(text) <= WIDTH else max(0, min(place - WIDTH // 2, len(text) - WIDTH + 2))
    last = len(text) if len(text) - first <= WIDTH else first + WIDTH - 2
    before = ("…" if first else "") + visible(text[first:place])
    behind = visible(text[place:last]) + ("…" if last < len(text) else "")
    return f"{before}{behind}\n{' ' * _columns(before)}^"


def visible(text: str) -> str:
    """The text on one line, with nothing in it that a terminal would obey: `\\ufffd` stands for such.

    >>> visible("a\\n> \\x1b[31m1")
    'a > \\ufffd[31m1'
    """
    return "".join(
        each if each.isprintable() else " " if each in "\t\n\r\f" else "\N{REPLACEMENT CHARACTER}"
        for each in text
    )


def _columns(text: str) -> int:
    """How many columns a terminal takes for it."""
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1
        for each in text
    )
