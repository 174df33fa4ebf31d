"""A place where something may be said: how much, how boldly, and when its outcome is known."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from features.kleene import Kind

ContextValue = str | float | bool | None
DAY_MS = 86_400_000


class BadContext(ValueError):
    """The context of a request is not what the placement declares; `place` names the entry."""

    def __init__(self, place: str, expected: str, found: str) -> None:
        self.place, self.expected, self.found = place, expected, found
        super().__init__(f"{place}: expected {expected}, found {found}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A place where offers of one `group` are said, at most `limit` at a time.

    `silence` is the value of saying nothing (None: something is always said). `temperature` and `clip`
    shape exploration (see `arbitration.weigh`). `prior` is the rate assumed before anything was learned.
    `attribution_ms` is how long after a decision an outcome of kind `reward` counts; None is until the
    local midnight. `model` names the placement whose models score this one.
    """

    name: str
    group: str
    limit: int
    silence: float | None = None
    temperature: float = 0.1
    clip: float = 3.0
    prior: float = 0.02
    attribution_ms: int | None = None
    reward: str = "conversion"
    model: str = ""
    context: Mapping[str, Kind] = field(default_factory=dict)

    def closes(self, at: int, zone: ZoneInfo) -> int:
        """The instant (ms) from which an outcome no longer counts for a decision made at `at`.

        >>> feed = Placement(name="feed", group="menu", limit=3)
        >>> (feed.closes(1_490_000_000_000, ZoneInfo("America/New_York")) - 1_490_000_000_000) / 3_600_000
        19.11111111111111
        """
        if self.attribution_ms is not None:
            return at + self.attribution_ms
        day = datetime.fromtimestamp(at / 1000, zone).date() + timedelta(days=1)
        return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)

    def read(self, context: Mapping[str, ContextValue]) -> dict[str, ContextValue]:
        """The context with every declared name in it (None where absent); BadContext says what is wrong.

        >>> book = Placement(name="book", group="coupon", limit=3, context={"campaign": "category"})
        >>> book.read({})
        {'campaign': None}
        >>> book.read({"campaign": 7})
        Traceback (most recent call last):
        models.placement.BadContext: context.campaign: expected a text, found 7
        """
        for name, value in context.items():
            if name not in self.context:
                known = ", ".join(sorted(self.context)) or "none"
                raise BadContext(f"context.{name}", f"a name that {self.name} declares ({known})", repr(name))
            kind = self.context[name]
            if value is not None and not _is(kind, value):
                raise BadContext(f"context.{name}", _KINDS[kind], repr(value))
        return {name: context.get(name) for name in self.context}


_KINDS: Mapping[Kind, str] = {"number": "a number", "category": "a text", "boolean": "true or false"}
KINDS: tuple[Kind, ...] = tuple(_KINDS)


def _is(kind: Kind, value: ContextValue) -> bool:
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str)
