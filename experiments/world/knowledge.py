"""What can be known of the people: their events folded into states, as late as this run sees the world.

The fold, the rows and the triggers are the ones that the stream and serving use. An event is known from its
time and `delay` on; what is not known yet is in no state, and a row says itself how old it is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from events.envelope import Event
from experiments.world.happening import Happened, Moment
from experiments.world.intake import Intake, Resolved
from features.attributes import Held, nothing_held
from features.batch import batch_of
from features.fold import FoldedParts, empty, fold_parts
from features.full_row import full_row
from features.kernel.remembering import NEVER
from features.plan import Plan
from features.row import cross
from features.state import State, with_memory
from features.triggers import Fired, told, wake_all
from models.assortment import Assortment
from models.eligibility import Eligibility, Indices, eligible
from models.scorer import Floats

PARTITION = 0


@dataclass(slots=True)
class Profile:
    """A customer as Kairos knows one: the parts of the state, and the events that are not in it yet.

    `heard` is the number of what was first heard of them: who is woken at once comes in this order.
    """

    customer: str
    recent: bytes
    settled: bytes = b""
    heard: int = 0
    known: bool = False
    due: int = NEVER
    device: str = ""
    person: int = -1
    waiting: list[Event] = field(default_factory=list)

    @property
    def state(self) -> State | None:
        """What is known, opened; None of somebody unseen."""
        if not self.known:
            return None
        state = State.__new__(State)
        state.become(self.recent, self.settled)
        return state


class Situation(NamedTuple):
    """What is known at a moment: who is asked for, the row, and which offers may be made with their cross
    row.
    """

    moment: Moment
    profile: Profile
    row: Floats
    able: Eligibility


class Knowledge:
    """Folds what happened, `delay` ms late, and reads it off at a moment."""

    def __init__(self, plan: Plan, delay: int) -> None:
        self._plan, self.delay = plan, delay
        self._intake = Intake(delay)
        self._empty = empty(plan).recent
        self._held: Held = nothing_held(plan.playbook.attributes)
        self._profiles: dict[str, Profile] = {}
        self._positions = 0

    @property
    def conflicts(self) -> int:
        """Links between customers who were two already, of those that are known."""
        return self._intake.conflicts

    def take(self, happened: Iterable[Happened]) -> None:
        """Hear what happened: nothing of it is looked into before it can be known."""
        self._intake.take(happened)

    def of(self, moments: Sequence[Moment]) -> list[Profile]:
        """The customers behind the devices of moments; who has them in hand is remembered for messages.

        A device that nobody is known to have is the customer it would become: nothing is known of them.
        """
        found = []
        for moment in moments:
            self._note(self._intake.known(("device", moment.device), moment.at))
            customer = self._intake.links.lookup("device", moment.device)
            profile = self._profile(customer, self._intake.told)
            profile.device, profile.person = moment.device, moment.person
            found.append(profile)
        return found

    def _note(self, news: Iterable[Resolved]) -> None:
        """Leave what is known now to the next fold of its customer."""
        for event, number in news:
            self._profile(event.customer, number).waiting.append(event)

    def _profile(self, customer: str, number: int) -> Profile:
        found = self._profiles.get(customer)
        if found is None:
            found = self._profiles[customer] = Profile(customer, self._empty, heard=number)
        return found

    def fold(self, profiles: Sequence[Profile], instants: Sequence[int]) -> list[list[Fired]]:
        """Fold what can be known of each customer at its instant (ms); what that fires, customer by
        customer.
        """
        events: list[Event] = []
        owners: list[int] = []
        fired: list[list[Fired]] = [[] for _ in profiles]
        for owner, (profile, at) in enumerate(zip(profiles, instants, strict=True)):
            if not profile.waiting:
                continue
            profile.waiting.sort(key=_time)
            latest = at - self.delay
            count = sum(1 for event in profile.waiting if event.time <= latest)
            if count:
                events += profile.waiting[:count]
                owners += [owner] * count
                del profile.waiting[:count]
        if not events:
            return fired
        some = sorted(set(owners))
        places = {owner: n for n, owner in enumerate(some)}
        positions = range(self._positions, self._positions + len(events))
        self._positions += len(events)
        batch = batch_of(
            self._plan, events, [places[o] for o in owners], len(some), [PARTITION] * len(events), positions
        )
        mine = [profiles[owner] for owner in some]
        folded = fold_parts(
            self._plan,
            [p.recent if p.known else None for p in mine],
            [p.settled for p in mine],
            batch,
            len(events),
        )
        self._keep(mine, folded)
        for whose, hits in groupby(folded.hits.every(), key=lambda hit: owners[hit.event]):
            profile = profiles[whose]
            ones, memory = told(self._plan, _state(profile).memory, list(hits), events.__getitem__, {})
            fired[whose] = [one for _, one in ones if one.superseded_by is None]
            if memory is not None:
                profile.recent = with_memory(profile.recent, memory)
        return fired

    def wake(self, at: int) -> list[tuple[Profile, Fired]]:
        """What time alone has fired by now: waits that were over `delay` ago."""
        watermark = at - self.delay
        self._note(self._intake.every(at))
        due = [profile for profile in self._profiles.values() if profile.due <= watermark]
        if not due:
            return []
        due.sort(key=_heard)
        self.fold(due, [at] * len(due))
        due = [profile for profile in due if profile.due <= watermark]
        woken = wake_all(
            self._plan,
            [p.customer for p in due],
            [p.recent for p in due],
            [p.settled for p in due],
            watermark,
        )
        for profile, recent, then in zip(due, woken.recents, woken.dues, strict=True):
            profile.recent, profile.due = recent, NEVER if then is None else then
        by = {profile.customer: profile for profile in due}
        return [(by[one.customer], one) for one in woken.fired]

    def situation(self, moment: Moment, profile: Profile, assortment: Assortment) -> Situation:
        """The row and the offers that may be made at a moment; fold first."""
        able = eligible(
            assortment.rules,
            row := self.row(profile, moment.at),
            lambda offers: self.cross(profile, moment.at, assortment, offers),
            moment.at,
            {},
        )
        return Situation(moment, profile, row, able)

    def row(self, profile: Profile, at: int) -> Floats:
        """The customer's row at an instant (ms), as serving computes it."""
        return full_row(self._plan, profile.state, self._held, at, at - self.delay)

    def cross(self, profile: Profile, at: int, assortment: Assortment, offers: Indices) -> Floats:
        """The cross features of some offers at an instant (ms), as serving computes them."""
        return cross(self._plan, profile.state, at, assortment.keys_of(offers), at - self.delay)

    def _keep(self, profiles: Sequence[Profile], folded: FoldedParts) -> None:
        for profile, recent, settled, due in zip(
            profiles, folded.recents, folded.settled, folded.dues.tolist(), strict=True
        ):
            profile.recent, profile.known = recent, True
            if settled is not None:
                profile.settled = settled
            if due >= 0:
                profile.due = due


def _state(profile: Profile) -> State:
    state = profile.state
    assert state is not None
    return state


def _time(event: Event) -> int:
    return event.time


def _heard(profile: Profile) -> int:
    return profile.heard
