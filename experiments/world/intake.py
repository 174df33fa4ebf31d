"""Whose an event is, once it can be known: links and events in the order of time, `delay` ms late.

Nothing is looked into before it is due, links no less than purchases. An id is the customer that it is known
to be when its event is due; a moment is asked for under whatever is known by then. So what was folded while
two ids were two customers stays where it is, and customers that meet stay two, as `events.identity` has it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from events.envelope import Event
from events.identity import Id, mint
from experiments.world.happening import Happened

UNIT = 10_000
"""Amounts are whole ten-thousandths from intake on."""


class Links:
    """Which customer each id is, as `events.identity.Identities` has it: first come, and for good.

    >>> links = Links()
    >>> guest = links.customer("device", "d1")
    >>> links.link([("device", "d1"), ("account", "a1")]), links.customer("account", "a1") == guest
    (True, True)
    >>> links.customer("device", "d2") == guest, links.link([("account", "a1"), ("device", "d2")])
    (False, False)
    """

    def __init__(self) -> None:
        self._owner: dict[Id, str] = {}

    def customer(self, kind: str, value: str) -> str:
        """Whose an id is; a new one becomes a customer of its own."""
        owner = self._owner.get((kind, value))
        if owner is None:
            owner = self._owner[kind, value] = mint(kind, value)
        return owner

    def lookup(self, kind: str, value: str) -> str:
        """Whose an id is, or would become; nothing is kept, as when a decision is asked for an id."""
        return self._owner.get((kind, value)) or mint(kind, value)

    def link(self, ids: Sequence[Id]) -> bool:
        """Say that ids are one customer; False when they are different ones already, who then stay so."""
        ids = sorted(ids)
        owners = {self._owner[each] for each in ids if each in self._owner}
        if len(owners) > 1:
            return False
        (owner,) = owners or {mint(*ids[0])}
        self._owner.update((each, owner) for each in ids)
        return True


class Resolved(NamedTuple):
    """An event of a customer; `number` counts what was ever told, in the order in which it was."""

    event: Event
    number: int


@dataclass(slots=True)
class _Line:
    """What waits of the ids that belong together, by time; who they are to Kairos is not said by that."""

    ids: list[Id]
    due: list[tuple[int, int, Happened]] = field(default_factory=list)


class Intake:
    """Keeps what happened until it is known, and then says whose it is.

    `conflicts` counts the links between customers who are two already, `told` everything that happened.
    """

    def __init__(self, delay: int) -> None:
        self.delay = delay
        self.links = Links()
        self.conflicts = self.told = 0
        self._lines: dict[Id, _Line] = {}

    def take(self, happened: Iterable[Happened]) -> None:
        """Hear what happened; nothing of it is known yet."""
        for each in happened:
            heappush(self._line(_ids(each)).due, (each.at, self.told, each))
            self.told += 1

    def known(self, of: Id, at: int) -> Iterator[Resolved]:
        """What is new of an id, and of those that belong to it, at an instant (ms)."""
        line = self._lines.get(of)
        return iter(()) if line is None else self._resolved(line, at)

    def every(self, at: int) -> Iterator[Resolved]:
        """What is new of anybody at an instant (ms)."""
        for line in self._lines.values():
            yield from self._resolved(line, at)

    def _resolved(self, line: _Line, at: int) -> Iterator[Resolved]:
        latest = at - self.delay
        while line.due and line.due[0][0] <= latest:
            _, number, each = heappop(line.due)
            ids = _ids(each)
            if len(ids) > 1:
                self.conflicts += not self.links.link(ids)
                continue
            fields = {
                name: round(value * UNIT) if type(value) is float else value
                for name, value in each.fields.items()
            }
            customer = self.links.customer(*ids[0])
            yield Resolved(Event(each.type, each.id, each.at, customer, fields), number)

    def _line(self, ids: Sequence[Id]) -> _Line:
        """Where something of these ids waits: what will be linked waits in one line, so that its order is
        kept.
        """
        line = self._lines.setdefault(ids[0], _Line([ids[0]]))
        for each in ids[1:]:
            other = self._lines.get(each)
            if other is None:
                line.ids.append(each)
                self._lines[each] = line
            elif other is not line:
                line.ids += other.ids
                line.due += other.due
                heapify(line.due)
                self._lines.update((one, line) for one in other.ids)
        return line


def _ids(each: Happened) -> list[Id]:
    named = (("device", each.device), ("account", each.account))
    return [(kind, value) for kind, value in named if value is not None]
