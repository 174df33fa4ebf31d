"""Where in a TOML file a key stands, so that a fault can name the line; `tomllib` does not say."""

import re
from collections.abc import Iterator

Path = tuple[str | int, ...]

_HEADER = re.compile(r"\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_INNER = re.compile(r"""[{,]\s*([\w-]+|"[^"]*"|'[^']*')\s*=""")
_ELEMENT = re.compile(r"\s*\{|[^={\[]*=\s*\[\s*\{")
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")


class TomlPlaces:
    """The line of each key of one file; an array of tables counts from 0.

    >>> places = TomlPlaces('''name = "x"
    ... [purchase]
    ... fields = { amount = "decimal" }
    ... [[aggregate]]
    ... name = "spend"
    ... [[aggregate]]
    ... name = "visits"
    ... ''')
    >>> places.line("purchase", "fields", "amount"), places.line("aggregate", 1, "name")
    (3, 7)
    >>> places.line("purchase", "topic")  # not there: the line of what should hold it
    2
    >>> places = TomlPlaces("columns = [\\n  { name = 'a' },\\n  { name = 'b', unit = 'c' },\\n]")
    >>> places.line("columns", 1, "unit"), places.line("columns", 0, "unit")  # a table a line
    (3, 2)
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {}
        for path, line in _keys(text):
            self._lines.setdefault(path, line)

    def line(self, *path: str | int) -> int:
        """The line (from 1) of the key, or of the nearest table around it."""
        for length in range(len(path), 0, -1):
            found = self._lines.get(path[:length])
            if found:
                return found
        return 1


def _keys(text: str) -> Iterator[tuple[Path, int]]:
    """Every key's path and line, in the order written; text inside a value may add paths that are no keys."""
    table: Path = ()
    counts: dict[Path, int] = {}
    key: Path = ()
    elements: dict[Path, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            parts = _parts(header[2])
            # A header below an array of tables means its newest element.
            table = ()
            for part in parts[:-1]:
                table = (*table, part)
                if table in counts:
                    table = (*table, counts[table] - 1)
            table = key = (*table, parts[-1])
            if header[1] == "[[":
                counts[table] = counts.get(table, 0) + 1
                table = key = (*table, counts[table] - 1)
            yield table, number
            continue
        if found := _KEY.match(line):
            key = (*table, *_parts(found[1]))
            yield key, number
        holder = key
        if _ELEMENT.match(line):
            holder = (*key, elements.get(key, 0))
            elements[key] = elements.get(key, 0) + 1
            yield holder, number
        for inner in _INNER.finditer(line):
            yield (*holder, *_parts(inner[1])), number


def _parts(dotted: str) -> Path:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))
