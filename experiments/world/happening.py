"""What the town tells: events as domains know them, moments at which something may be said, what came of
it.
"""

from dataclasses import dataclass
from typing import NamedTuple

from experiments.world.needs import DAY, Floats
from experiments.world.response import Deal

START = 1_704_067_200_000
"""The first midnight, ms: Monday 1 January 2024, UTC; a stack refuses what is of the future."""

ATTRIBUTED = DAY
"""A purchase is told as a conversion of what was shown of its kind so long before, as the playbook says."""


class Happened(NamedTuple):
    """An event as a domain knows it: by a device, or by an account, or (a link) by both."""

    at: int
    type: str
    id: str
    device: str | None
    account: str | None
    fields: dict[str, str | float | bool]


class Moment(NamedTuple):
    """A moment at which something may be said to a person, on `device`.

    `push`: a message to the phone, else a card in the app. `key` names the moment for its coins. `heard`: it
    is only that an event can be known by now, and whoever watches may want to say something.
    """

    at: int
    person: int
    device: str
    push: bool
    key: tuple[int, ...]
    heard: bool = False


class Conversion(NamedTuple):
    """A purchase for which the last moment that showed its kind takes the credit."""

    moment: Moment
    deal: Deal
    at: int


@dataclass(slots=True)
class Tally:
    """What a run came to. `gain` are the true gains of its contacts, EUR, by person and day; `kinds` the same
    by kind of need and day; `margin` what was really earned, by person. `best` are the gains of the best
    possible contact at each moment, by day."""

    gain: Floats
    kinds: Floats
    margin: Floats
    best: Floats
    cards: int = 0
    pushes: int = 0
    opted_out: int = 0
    put_off: int = 0
    taken: int = 0
    given_away: float = 0.0
    events: int = 0
