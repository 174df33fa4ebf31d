"""Seeded triggers for the wide playbook: so many, of the sorts and in the shares that people write them.

Half are edges of features of the event's own type, one in five asks the event alone; the others are
sequences, absences, looks by the clock, n-th times and families at the event's own key. Thresholds come from
short lists, as round numbers do, so that conditions are shared; they are high enough for one event in some
ten to fire any.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from features.trigger import Trigger
from kairos.bench import wide
from kairos.bench import wide_world as world
from kairos.bench.wide_aggregates import DOMAINS, Asked

SEED: Final = 4

WAKES: Final = 64
"""Instants that may be waited for on behalf of a customer: with fifty triggers that the clock decides, 16 (as
many as playbooks have who do not say) would be given up at every event."""

_T = TypeVar("_T")

_COUNTS: Final = {"5m": (4, 5, 6), "1h": (4, 5, 6, 8), "1d": (6, 8, 10, 12), "7d": (10, 12, 15, 20)}
_COUNTS_LATER: Final = (20, 25, 30, 40, 50)
_LARGE: Final = {
    "page_viewed": ("seconds", (400, 600, 900, 1_200)),
    "item_bought": ("amount", (150, 200, 250, 400)),
    "payment_made": ("amount", (400, 500, 750, 1_000)),
    "content_watched": ("seconds", (15_000, 20_000, 30_000)),
    "support_contacted": ("wait_seconds", (2_400, 3_600, 4_800)),
}
"""Of each type the number that says how large an event is, and what only one in a hundred exceeds."""

_TEXTS: Final = {
    "page_viewed": (("category", world.CATEGORIES), ("kind", world.PAGES[4:]), ("device", world.DEVICES)),
    "item_bought": (("category", world.CATEGORIES), ("channel", world.CHANNELS)),
    "payment_made": (("merchant_type", world.MERCHANT_TYPES), ("country", world.COUNTRIES[1:])),
    "content_watched": (("topic", world.TOPICS), ("device", world.DEVICES)),
    "support_contacted": (("reason", world.REASONS), ("channel", world.ASKED)),
}
"""Of each type the texts that conditions ask for."""

_FOLLOWS: Final = {
    "page_viewed": ("item_bought", ("category", "merchant")),
    "item_bought": ("page_viewed", ("category", "merchant")),
    "payment_made": ("item_bought", ("merchant",)),
    "content_watched": ("page_viewed", ()),
    "support_contacted": ("payment_made", ()),
}
"""What comes before or after, and the fields in which both may agree."""

_COOLDOWNS: Final = ("1d", "3d", "7d", "14d", "28d")
_SHARES: Final = {
    "edge": 0.25, "edge_of": 0.25, "event": 0.2, "sequence": 0.08, "absence": 0.08, "wake": 0.05,
    "nth": 0.04, "family": 0.05,
}  # fmt: skip


class _Draw:
    """Draws triggers one after the other."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._sorts: dict[str, Callable[[str], dict[str, str]]] = {
            "edge": self._edge,
            "edge_of": self._edge_of,
            "event": self._event,
            "sequence": self._sequence,
            "absence": self._absence,
            "wake": self._wake,
            "nth": self._nth,
            "family": self._family,
        }

    def one(self, number: int) -> str:
        """A trigger as its block."""
        sort = str(self._rng.choice(list(_SHARES), p=list(_SHARES.values())))
        # People write about what they care for, not about what happens most.
        event = str(self._rng.choice(list(_LARGE), p=(0.25, 0.25, 0.25, 0.15, 0.1)))
        lines = {
            "name": _quoted(f"{sort}_{number:04d}"),
            "meaning": _quoted(f"drawn for the benchmark: {sort.replace('_', ' ')}"),
            "on": _quoted(event),
        }
        lines |= self._sorts[sort](event)
        return "\n".join(["\n[[trigger]]", *(f"{key} = {value}" for key, value in lines.items()), ""])

    def _pick(self, values: Sequence[_T]) -> _T:
        return values[int(self._rng.integers(len(values)))]

    def _counted(self, event: str, *, by: bool = False, windows: tuple[str, ...] = ()) -> tuple[Asked, str]:
        """An aggregate that counts, and a condition that its count over a window has risen high."""
        each = self._pick([
            a for a in DOMAINS[event]
            if "count" in a.functions.split() and bool(a.by) == by and a.match != "offer"
            and _windows(a, windows)
        ])  # fmt: skip
        window = self._pick(_windows(each, windows))
        least = self._pick(_COUNTS.get(window, _COUNTS_LATER))
        at = f"[event.{each.by}]" if by else ""
        return each, f"{each.name}_count_{window}{at} {'==' if by else '>='} {least}"

    def _asked(self, event: str) -> str:
        field, texts = self._pick(_TEXTS[event])
        return f"event.{field} == '{self._pick(texts)}'"

    def _large(self, event: str) -> str:
        field, sizes = _LARGE[event]
        return f"event.{field} >= {self._pick(sizes)}"

    def _cooled(self, when: str) -> dict[str, str]:
        return {"when": _quoted(when), "cooldown": _quoted(self._pick(_COOLDOWNS))}

    def _edge(self, event: str) -> dict[str, str]:
        return self._cooled(self._counted(event)[1])

    def _edge_of(self, event: str) -> dict[str, str]:
        return self._cooled(f"{self._asked(event)} && {self._counted(event)[1]}")

    def _event(self, event: str) -> dict[str, str]:
        return self._cooled(f"{self._large(event)} && {self._asked(event)}")

    def _sequence(self, event: str) -> dict[str, str]:
        before, same = _FOLLOWS[event]
        step = f"event = {_quoted(before)}, within = {_quoted(self._pick(('30m', '1h', '1d')))}"
        step += f", when = {_quoted(self._asked(before))}{self._same(same)}"
        return self._cooled(self._large(event)) | {"after": f"{{ {step} }}"}

    def _absence(self, event: str) -> dict[str, str]:
        after, same = _FOLLOWS[event]
        step = f"event = {_quoted(after)}, within = {_quoted(self._pick(('30m', '1h', '2h')))}"
        when = f"{self._large(event)} && {self._asked(event)}"
        return self._cooled(when) | {"unless": f"{{ {step}{self._same(same)} }}"}

    def _wake(self, event: str) -> dict[str, str]:
        each = self._pick([a for a in DOMAINS[event] if "since_last" in a.functions.split() and not a.by])
        days = self._pick((7, 10, 14, 21, 28))
        _, busy = self._counted(event, windows=("28d", "90d"))
        return self._cooled(f"{each.name}_since_last >= {days} && {busy}") | {"wake": _quoted(f"{days}d")}

    def _nth(self, event: str) -> dict[str, str]:
        return {"when": _quoted(self._asked(event)), "nth": str(self._pick((1, 3, 5, 10)))}

    def _family(self, event: str) -> dict[str, str]:
        return self._cooled(self._counted(event, by=True)[1])

    def _same(self, fields: tuple[str, ...]) -> str:
        return f", same = [{_quoted(self._pick(fields))}]" if fields and self._rng.random() < 0.5 else ""


def triggers(count: int, seed: int = SEED) -> str:
    """So many triggers as the file has them; the first of more are the same."""
    draw = _Draw(seed)
    return "".join(draw.one(number) for number in range(count))


def write(folder: Path, count: int, more: str = "", seed: int = SEED) -> None:
    """Write the wide playbook with so many triggers of its own, and `more` behind them, to `folder`."""
    wide.write(folder)
    head, memory, rest = (folder / "playbook.toml").read_text(encoding="utf-8").partition('memory = "')
    (folder / "playbook.toml").write_text(f"{head}wakes = {WAKES}\n{memory}{rest}", encoding="utf-8")
    (folder / "triggers.toml").write_text(triggers(count, seed) + more, encoding="utf-8")


def sort_of(trigger: Trigger) -> str:
    """Which of the sorts a trigger was drawn as."""
    return trigger.name.rpartition("_")[0]


def _windows(asked: Asked, among: tuple[str, ...]) -> list[str]:
    return [window for window in asked.windows.split() if not among or window in among]


def _quoted(value: str) -> str:
    return f'"{value}"'
