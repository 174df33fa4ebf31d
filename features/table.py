"""Reading the tables of a playbook: every value checked, every fault kept with its file and line."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from events.faults import Fault, did_you_mean
from events.toml_places import TomlPlaces
from features.duration import parse_duration

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_SIZE = re.compile(r"([1-9][0-9]{0,6})(B|kB|MB)")
_BYTES = {"B": 1, "kB": 1_000, "MB": 1_000_000}


class Table:
    """One table of a TOML file; each reader notes a fault and answers a harmless value instead of raising.

    After reading, `done()` notes the keys nobody asked for.
    """

    def __init__(
        self,
        file: str,
        name: str,
        raw: Mapping[str, Any],
        places: TomlPlaces,
        path: tuple[str | int, ...],
        faults: list[Fault],
    ) -> None:
        self.file = file
        self.name = name
        self.raw = raw
        self.faults = faults
        self._places = places
        self._path = path
        self._asked: set[str] = set()

    def place(self, key: str = "") -> str:
        """Where the key stands: line and table, as a person looks for it."""
        line = self._places.line(*self._path, key) if key else self._places.line(*self._path)
        return f"line {line}: {'.'.join(filter(None, (self.name, key)))}"

    def fault(self, key: str, expected: str, found: str, hint: str = "") -> None:
        """Note that the value of `key` is wrong."""
        self.faults.append(Fault(self.file, self.place(key), expected, found, hint))

    def has(self, key: str) -> bool:
        """Whether the key is written at all; counts as asked for."""
        self._asked.add(key)
        return key in self.raw

    def text(self, key: str, default: str | None = None) -> str:
        """A non-empty text; mandatory without a default."""
        if not self.has(key):
            if default is None:
                self.fault(key, "a text", "nothing", f'write {key} = "..."')
            return default or ""
        value = self.raw[key]
        if not isinstance(value, str) or not value.strip():
            self.fault(key, "a text", _shown(value))
            return default or ""
        return value

    def identifier(self, key: str) -> str:
        """A name others can refer to."""
        value = self.text(key)
        if value and not NAME.fullmatch(value):
            self.fault(key, "a name of small letters, digits and _, a letter first", _shown(value))
        return value

    def optional_text(self, key: str) -> str | None:
        """A text, or None when it is not written."""
        return self.text(key) or None if self.has(key) else None

    def one_of(self, key: str, known: Iterable[str], what: str) -> str:
        """A text that must be one of the known ones."""
        value = self.text(key)
        if value and value not in known:
            self.fault(key, what, _shown(value), did_you_mean(value, known))
            return ""
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty when it is not written."""
        if not self.has(key):
            return ()
        value = self.raw[key]
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            self.fault(key, "a list of texts", _shown(value), f'write {key} = ["...", "..."]')
            return ()
        if len(set(value)) < len(value):
            self.fault(key, "each text once", _shown(value))
        return tuple(dict.fromkeys(value))

    def flag(self, key: str, default: bool = False) -> bool:
        """True or false."""
        if not self.has(key):
            return default
        value = self.raw[key]
        if not isinstance(value, bool):
            self.fault(key, "true or false", _shown(value))
            return default
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A finite number; mandatory without a default."""
        if not self.has(key):
            if default is None:
                self.fault(key, "a number", "nothing", f"write {key} = ...")
            return default or 0.0
        value = self.raw[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
            self.fault(key, "a number", _shown(value))
            return default or 0.0
        return float(value)

    def duration(self, key: str, default: str) -> int:
        """A length of time in milliseconds, written as text such as "28d"."""
        value = self.text(key, default)
        return self._duration(key, value)

    def durations(self, key: str) -> tuple[int, ...]:
        """A list of lengths of time in milliseconds, shortest first."""
        return tuple(sorted({self._duration(key, each) for each in self.texts(key)} - {0}))

    def duration_pairs(self, key: str) -> tuple[tuple[int, int], ...]:
        """A list of pairs of lengths of time in milliseconds, as written; each pair once."""
        if not self.has(key):
            return ()
        value = self.raw[key]
        if not isinstance(value, list) or not all(
            isinstance(pair, list) and len(pair) == 2 and all(isinstance(each, str) for each in pair)
            for pair in value
        ):
            self.fault(key, "a list of pairs of lengths", _shown(value), f'write {key} = [["7d", "28d"]]')
            return ()
        pairs = [(self._duration(key, pair[0]), self._duration(key, pair[1])) for pair in value]
        return tuple(dict.fromkeys(pair for pair in pairs if all(pair)))

    def whole(self, key: str, default: int, low: int, high: int) -> int:
        """A whole number within bounds."""
        if not self.has(key):
            return default
        value = self.raw[key]
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.fault(key, f"a whole number from {low} to {high}", _shown(value))
            return default
        return value

    def size(self, key: str, default: int, low: int, high: int) -> int:
        """A size in bytes, written as text such as "64kB"; 1 kB is 1,000 bytes."""
        if not self.has(key):
            return default
        value = self.raw[key]
        written = _SIZE.fullmatch(value) if isinstance(value, str) else None
        size = int(written[1]) * _BYTES[written[2]] if written else 0
        if not low <= size <= high:
            self.fault(key, f'a size from "{render_size(low)}" to "{render_size(high)}"', _shown(value))
            return default
        return size

    def _duration(self, key: str, value: str) -> int:
        try:
            return parse_duration(value)
        except ValueError:
            self.fault(key, 'a length such as "30s", "5m", "3h" or "28d"', _shown(value))
            return 0

    def table(self, key: str) -> "Table | None":
        """A table within this one, or None when it is not written."""
        if not self.has(key):
            return None
        value = self.raw[key]
        if not isinstance(value, dict):
            self.fault(key, f"a table, {key} = {{ ... }}", _shown(value))
            return None
        return Table(self.file, f"{self.name}.{key}", value, self._places, (*self._path, key), self.faults)

    def tables(self, key: str) -> "list[Table]":
        """A mandatory list of tables within this one, written [ { ... }, { ... } ]."""
        value = self.raw[key] if self.has(key) else None
        if not isinstance(value, list) or not value or not all(isinstance(each, dict) for each in value):
            self.fault(
                key, f"tables, {key} = [ {{ ... }}, ... ]", "nothing" if value is None else _shown(value)
            )
            return []
        return [
            Table(
                self.file,
                f"{self.name}.{key}[{index}]",
                each,
                self._places,
                (*self._path, key, index),
                self.faults,
            )
            for index, each in enumerate(value)
        ]

    def done(self) -> None:
        """Note every key that is written and that nobody asked for."""
        for key in self.raw:
            if key not in self._asked:
                self.fault(str(key), "a known key", _shown(key), did_you_mean(str(key), self._asked))


def render_size(size: int) -> str:
    """A size as people write it, in its largest unit that is exact.

    >>> render_size(64_000), render_size(1_000_000), render_size(1_234)
    ('64kB', '1MB', '1234B')
    """
    for unit in ("MB", "kB"):
        if size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return f"{size}B"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


class File:
    """A TOML file of a playbook; a missing or broken file is a fault too, and reads as empty."""

    def __init__(self, folder: Path, name: str, faults: list[Fault], *, mandatory: bool = True) -> None:
        path = folder / name
        self.name = str(path)
        self.readable = False
        self.faults: list[Fault] = []  # of a file that cannot be read, nothing more than that is said
        self._raw: dict[str, Any] = {}
        self._places = TomlPlaces("")
        if not path.is_file():
            if mandatory:
                faults.append(Fault(self.name, "", "a file", "none", "write it, or name another folder"))
            return
        try:
            text = path.read_text(encoding="utf-8")
            self._raw = tomllib.loads(text)
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            faults.append(Fault(self.name, "", "a TOML file", str(error)))
            return
        self._places = TomlPlaces(text)
        self.readable = True
        self.faults = faults

    def top(self) -> Table:
        """The keys above the first header; tables are left to `tables`."""
        raw = {key: value for key, value in self._raw.items() if not isinstance(value, list | dict)}
        return Table(self.name, "", raw, self._places, (), self.faults)

    def tables(self, name: str) -> list[Table]:
        """Every `[[name]]` of the file, in order."""
        raw = self._raw.get(name, [])
        if not isinstance(raw, list) or not all(isinstance(each, dict) for each in raw):
            self.faults.append(Fault(self.name, name, f"tables headed [[{name}]]", _shown(raw)))
            return []
        return [
            Table(self.name, f"[[{name}]]", each, self._places, (name, index), self.faults)
            for index, each in enumerate(raw)
        ]

    def only(self, *names: str) -> None:
        """Note every table whose name is none of these."""
        for key, value in self._raw.items():
            if isinstance(value, list | dict) and key not in names:
                expected = " or ".join(f"[[{name}]]" for name in names)
                place = f"line {self._places.line(key)}: {key}"
                self.faults.append(Fault(self.name, place, expected, key, did_you_mean(key, names)))
