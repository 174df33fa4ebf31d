"""A fault in what people wrote, said so that they can mend it."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import ClassVar, NamedTuple

SHOWN = 20
"""Names a hint lists at most; a playbook may have a thousand features."""


class Refusal(Exception):
    """An error whose message tells people all they need: the command line shows it without a traceback.

    `exit_code` is what the process then ends with: 2 bad input, 3 something is away, 4 what is kept
    does not fit together.
    """

    exit_code: ClassVar[int] = 1


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None when none is close.

    >>> nearest("amuont", ["amount", "store"])
    'amount'
    >>> nearest("Amount", ["amount", "store"])
    'amount'
    >>> nearest("zebra", ["amount", "store"]) is None
    True
    """
    by_folded = {each.lower(): each for each in known}
    close = get_close_matches(name.lower(), by_folded, n=1, cutoff=0.6)
    return by_folded[close[0]] if close else None


class Fault(NamedTuple):
    """One thing wrong in a playbook: where, what was expected, what was found, and what to do next.

    `excerpt` are lines that show the place, as of an expression; they stand below the rest.

    >>> print(Fault("events.toml", "line 4: [purchase].time", "a text", "7", "name a member of data"))
    events.toml: line 4: [purchase].time: expected a text, found 7; name a member of data
    >>> print(Fault("a.toml", "line 2: when", "a name", "b", excerpt="a > b\\n    ^"))
    a.toml: line 2: when: expected a name, found b
        a > b
            ^
    """

    file: str
    place: str
    expected: str
    found: str
    hint: str = ""
    excerpt: str = ""

    def __str__(self) -> str:
        where = f"{self.file}: {self.place}" if self.place else self.file
        hint = f"; {self.hint}" if self.hint else ""
        lines = [f"{where}: expected {self.expected}, found {self.found}{hint}"]
        return "\n    ".join(lines + self.excerpt.splitlines())


class PlaybookRefused(Refusal):
    """A playbook has faults; the message lists every one of them, a line each.

    >>> print(PlaybookRefused([Fault("events.toml", "", "a file", "none", "write it")]))
    1 fault in the playbook:
      events.toml: expected a file, found none; write it
    """

    exit_code = 2

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        count = f"{len(self.faults)} fault{'s' if len(self.faults) != 1 else ''} in the playbook:"
        super().__init__("\n".join([count, *map(str, self.faults)]).replace("\n", "\n  "))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The hint for an unknown name: the nearest known one, or the first few.

    >>> did_you_mean("amuont", ["store", "amount"])
    'did you mean amount?'
    >>> did_you_mean("zebra", ["store", "amount"])
    'known are amount, store'
    >>> did_you_mean("zebra", [])
    'none is declared'
    """
    names = sorted(known)
    guess = nearest(name, names)
    if guess:
        return f"did you mean {guess}?"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"known are {', '.join(names[:SHOWN])}{more}" if names else "none is declared"
