"""What a state has let go to keep within its bounds, and what that means for one number."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from events.envelope import Event
from features.anatomy import Cell, cells_of, settled_cells
from features.bank import FINENESS
from features.batch import hash_key
from features.duration import render_duration
from features.feature import Aggregate, Feature
from features.kernel.buckets import GAMMA
from features.kernel.layout import COARSEST
from features.kernel.recent import MOST_MARKS
from features.kernel.settled import FORGOT_MARKS
from features.plan import Plan
from features.state import State

_HASHES = 1 << 64


class LetGo(NamedTuple):
    """Something that is not kept any more: `what`, and what it `means` for the number.

    "tiles": of a window, wider than declared; "key": one that its family does not keep; "sample": values that
    a distinct count stands for without keeping them; "buckets": of percentiles, wider than at first; "ids":
    those by which repeats are recognised.
    """

    kind: Literal["tiles", "key", "sample", "buckets", "ids"]
    what: str
    means: str

    @property
    def explains(self) -> bool:
        """Whether the number need not be what its events come to."""
        return self.kind in ("key", "sample", "buckets")


def doublings(aggregate: Aggregate, window_ms: int, degree: int) -> int:
    """How often the width of this window's tiles has been doubled in a state coarsened so far."""
    level = aggregate.windows.index(window_ms)
    return min(max(degree - (len(aggregate.windows) - 1 - level), 0), COARSEST)


def let_go(
    plan: Plan,
    state: State,
    aggregate: Aggregate,
    feature: Feature,
    key: str | None,
    value: float,
    behind: Sequence[Event],
) -> tuple[LetGo, ...]:
    """All that touches the feature, which reads as `value`; `behind` are the events that it counts."""
    found: list[LetGo] = []
    if key is not None:
        found += _key(aggregate, key, settled_cells(plan, state))
    if aggregate.histogram:
        found += _buckets(aggregate, settled_cells(plan, state))
    if "distinct" in aggregate.functions:
        found += _sample(aggregate, value, cells_of(plan, state))
    elif feature.window_ms is not None and state.degree:
        found += _tiles(plan, aggregate, feature.window_ms, state.degree)
    if state.flags & FORGOT_MARKS:
        found.append(_ids(behind))
    return tuple(found)


def _key(aggregate: Aggregate, key: str, cells: Sequence[Cell]) -> list[LetGo]:
    thin = next((cell.thin for cell in cells if cell.aggregate == aggregate.name and cell.key == 0), 0)
    if hash_key(key) % _HASHES < _HASHES >> thin:
        return []
    return [
        LetGo(
            "key",
            f"{aggregate.name} keeps one {aggregate.by} in {1 << thin} of this customer, to hold at most "
            f"{aggregate.keys:,} within the memory of the playbook, and {key!r} is not among them",
            "a row says that it is missing, whatever its events come to",
        )
    ]


def _sample(aggregate: Aggregate, value: float, cells: Sequence[Cell]) -> list[LetGo]:
    thin = next((cell.thin for cell in cells if cell.aggregate == aggregate.name), 0)
    while thin and value % (1 << thin):
        thin -= 1  # the last halving is for recent events that are not settled yet: no row has seen it
    if thin == 0:
        return []
    kept = int(value) >> thin
    about = f"about {1 / kept**0.5:.0%}" if kept else "unknown, as the sample has none of them"
    return [
        LetGo(
            "sample",
            f"of the different values one in {1 << thin} is kept, {kept:,} of those counted here",
            f"it is an estimate, {kept:,} x {1 << thin}, with a standard error of {about}",
        )
    ]


def _buckets(aggregate: Aggregate, cells: Sequence[Cell]) -> list[LetGo]:
    times = next((cell.thin for cell in cells if cell.aggregate == aggregate.name and cell.key == 0), 0)
    if times == 0:
        return []
    width = (GAMMA[0] / GAMMA[1]) ** (1 << times)
    return [
        LetGo(
            "buckets",
            f"{1 << times} neighbouring buckets of values are kept as one, as this customer's would be more "
            f"than {aggregate.keys:,} or exceed the memory of the playbook",
            f"it is off by at most {(width - 1) / (width + 1):.1%}",
        )
    ]


def _tiles(plan: Plan, aggregate: Aggregate, window_ms: int, degree: int) -> list[LetGo]:
    wider = 1 << doublings(aggregate, window_ms, degree)
    if wider == 1:
        return []
    return [
        LetGo(
            "tiles",
            f"the tiles of {render_duration(window_ms)} are {wider} times as wide as declared, to keep this "
            f"customer within {plan.playbook.memory_bytes:,} bytes",
            f"its edge is off by at most {wider / FINENESS / 2:.1%} of the window",
        )
    ]


def _ids(behind: Sequence[Event]) -> LetGo:
    again = len(behind) - len({event.id for event in behind})
    return LetGo(
        "ids",
        f"more events came within the lateness than the {MOST_MARKS:,} whose ids are remembered",
        "a repeat that comes later than that counts again: "
        + (f"{again:,} of the events here did" if again else "none of the events here did"),
    )
