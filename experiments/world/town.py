"""The town as it lives: events as they happen, moments at which something may be said, and the answers people
give.

Time moves by `advance`. Everybody lives on until a moment at which they could be spoken to; `answer` says
what was said, and life goes on from there. What people do for themselves is drawn beforehand
(`experiments.world.diary`), what they answer is a coin that belongs to the moment, so every policy meets the
same people.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import exp, log1p
from typing import NamedTuple

import numpy as np

from experiments.world.coins import coin
from experiments.world.diary import NOTHING, Visits, needs_of, over, visits_of
from experiments.world.effects import Effects
from experiments.world.needs import DAY, KINDS, MARGIN, Curve, Floats
from experiments.world.people import People, account, device
from experiments.world.response import Chances, Deal, Mood, attention, chances, opts_out

START = 1_704_067_200_000
"""The first midnight, ms: Monday 1 January 2024, UTC; a stack refuses what is of the future."""

ATTRIBUTED = DAY
"""A purchase is told as a conversion of what was shown of its kind so long before, as the playbook says."""

_SILENT: tuple[float, Deal | None] = (0.0, None)

LINK, OPEN, LOOK, ASK, BUY, HEAR = range(6)


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


@dataclass(slots=True)
class _Shown:
    moment: Moment
    deal: Deal


@dataclass
class Town:
    """So many people for so many days. `listens` are the events after which, `delay` ms later, a moment comes
    at which somebody may want to send a message."""

    seed: int
    customers: int
    days: int
    effects: Effects = field(default_factory=Effects)
    listens: frozenset[str] = frozenset()
    delay: int = 0

    def __post_init__(self) -> None:
        e, rng = self.effects, np.random.Generator(np.random.PCG64(self.seed))
        self.curve = Curve.of(e.rise)
        self.people = People.draw(e, rng, self.customers, self.days)
        self.needs = needs_of(self.people, e, self.curve, rng, START, self.days)
        visits = visits_of(self.people, self.needs, e, self.curve, rng, START, self.days)
        self.end = START + self.days * DAY
        self.moods = [Mood() for _ in range(self.customers)]
        people, days, kinds = self.customers, self.days, len(KINDS)
        self.tally = Tally(
            np.zeros((people, days)), np.zeros((kinds, days)), np.zeros(people), np.zeros(days)
        )
        self.conversions: list[Conversion] = []
        self._happened: list[Happened] = []
        n = self.needs
        self._met = [False] * len(n.person)
        self._mass = (-np.log1p(-n.chance)).tolist()
        self._kind, self._onset = n.kind.tolist(), n.onset.tolist()
        self._half_life, self._strength = n.half_life.tolist(), n.strength.tolist()
        self._over = over(n).tolist()
        self._mine: list[list[int]] = [[] for _ in range(self.customers)]
        for number, person in enumerate(n.person.tolist()):
            self._mine[person].append(number)
        self._sense, self._touchy = self.people.sense.tolist(), self.people.touchy.tolist()
        self._bot = self.people.bot.tolist()
        self._signs_in, self._second = self.people.signs_in.tolist(), self.people.second.tolist()
        self._stranger = self.people.stranger.tolist()
        self._linked: set[str] = set()
        self._shown: dict[tuple[int, int], _Shown] = {}
        self._told = 0
        self._heap: list[tuple[int, int, int, int, int, int]] = []
        self._waiting: list[tuple[int, int, int, int, int, int]] = []
        self._asked: set[int] = set()
        self._plan_ahead(visits, rng)

    # ---- What happens --------------------------------------------------------------------------------------

    def advance(self, until: int) -> tuple[list[Happened], list[Moment]]:
        """Live on until `until` (ms): what happened, and the moments at which people wait for an answer.

        Who has such a moment waits for `answer`; call again until no moment is left.
        """
        for each in self._waiting:
            heapq.heappush(self._heap, each)
        self._waiting, self._asked = [], set()
        moments: list[Moment] = []
        heap = self._heap
        while heap and heap[0][0] < until:
            each = heapq.heappop(heap)
            if each[2] in self._asked:
                self._waiting.append(each)
                continue
            moment = self._live(*each)
            if moment is not None:
                self._asked.add(moment.person)
                moments.append(moment)
        happened, self._happened = self._happened, []
        self.tally.events += len(happened)
        return happened, moments

    def next_at(self) -> int:
        """When the next thing happens (ms), somebody being asked aside; the end when nothing does any
        more.
        """
        return min((each[0] for each in (self._heap[:1] + self._waiting)), default=self.end)

    def _live(self, at: int, serial: int, person: int, what: int, a: int, b: int) -> Moment | None:
        if what == LINK:
            self._link(person, at, a)
        elif what == BUY:
            self._buy(person, at, a, b)
        elif what == HEAR:
            return Moment(at, person, self._device(person, at), True, (self.seed, person, a, HEAR), True)
        elif b != NOTHING and self._met[b]:
            pass  # the need is met: no reason to come, or to go on looking
        elif what == OPEN:
            self._note(at, "opened", person)
        elif what == LOOK:
            kind, carted = a >> 1, bool(a & 1)
            self._note(at, "looked", person, category=KINDS[kind].name, carted=carted)
        elif what == ASK:
            return Moment(at, person, self._device(person, at), False, (self.seed, person, at, ASK))
        return None

    def _note(self, at: int, type_: str, person: int, **fields: str | float) -> None:
        """Write down what a person did in the app."""
        number = self._device_number(person, at)
        name = device(person, number)
        if name not in self._linked and (number == 2 or self._signs_in[person] < 0):
            self._link(person, at - 1, number)
        # Its time names it, so that it has the same name whatever the policy does.
        self._happened.append(Happened(at, type_, f"{type_[0]}{person}-{at}", name, None, fields))
        if type_ in self.listens:
            self._hear(person, at)

    def _hear(self, person: int, at: int) -> None:
        """By now and `delay`, who watches may know of it."""
        self._push(at + self.delay, person, HEAR, at, NOTHING)

    def _link(self, person: int, at: int, number: int) -> None:
        """Sign in on a device: from now on app and till know that they speak of the same person."""
        name = device(person, number)
        if name not in self._linked:
            self._linked.add(name)
            self._happened.append(Happened(at, "signed_in", f"l-{name}", name, account(person), {}))

    def _buy(self, person: int, at: int, need: int, discount: int) -> None:
        """Pay for something: what a need has come to by itself, or what an offer has (`need` is then
        ~kind).
        """
        if need >= 0:
            if self._met[need] or not self._mass[need]:
                return  # met already, or put off
            self._met[need], kind = True, self._kind[need]
        else:
            kind = ~need
        if not self._stranger[person]:
            self._link(person, at - 1, self._device_number(person, at))
        price, off = KINDS[kind].price, discount / 1_000
        self.tally.margin[person] += price * (MARGIN - off)
        self.tally.given_away += price * off
        paid: dict[str, str | float | bool] = {
            "category": KINDS[kind].name,
            "paid": round(price * (1 - off), 2),
            "discount": round(price * off, 2),
        }
        self._happened.append(Happened(at, "bought", f"b{person}-{at}-{kind}", None, account(person), paid))
        if "bought" in self.listens:
            self._hear(person, at)
        shown = self._shown.get((person, kind))
        if shown is not None and at - shown.moment.at < ATTRIBUTED:
            del self._shown[person, kind]
            self.conversions.append(Conversion(shown.moment, shown.deal, at))

    # ---- What is said, and what they answer ----------------------------------------------------------------

    def answer(self, moment: Moment, deal: Deal | None) -> bool:
        """Say this to the person, or nothing; whether it reached them (messages may be switched off)."""
        if deal is None:
            return False
        person, at, e, mood = moment.person, moment.at, self.effects, self.moods[moment.person]
        if moment.push and mood.off:
            return False
        need = self._need(person, deal.kind, at)
        chance, fatigue = self._chances(person, at, moment.push, deal, need), mood.fatigue(at, e.recovery)
        day = (at - START) // DAY
        self.tally.gain[person, day] += chance.gain
        self.tally.kinds[deal.kind, day] += chance.gain
        mood.tire(e.tired_of_push if moment.push else e.tired_of_card, at, e.recovery)
        door = "push" if moment.push else "card"
        if moment.push:
            self.tally.pushes += 1
        else:
            self.tally.cards += 1
        self._shown[person, deal.kind] = _Shown(moment, deal)
        self._note(at + 1, "shown", person, category=KINDS[deal.kind].name, offer=deal.offer, door=door)
        if coin(*moment.key, 1) < chance.take:
            half_life = self._half_life[need] if need is not None else KINDS[deal.kind].half_life * e.pace
            wait = -log1p(-coin(*moment.key, 2)) * e.think * half_life
            self.tally.taken += 1
            if need is not None:
                self._met[need] = True
            self._push(at + 2 + int(wait), person, BUY, ~deal.kind, round(deal.discount * 1_000))
        elif need is not None and coin(*moment.key, 3) < chance.put_off:
            self._mass[need] = 0.0
            self.tally.put_off += 1
        if moment.push and coin(*moment.key, 4) < opts_out(e, fatigue):
            mood.off = True
            self.tally.opted_out += 1
            self._note(at + 3, "messages_off", person)
        return True

    def truth(self, moment: Moment, deals: Sequence[Deal]) -> list[float]:
        """What each deal would be worth at this moment, EUR over silence: what the oracle knows."""
        person, at = moment.person, moment.at
        if moment.push and self.moods[person].off:
            return [0.0] * len(deals)
        found = {kind: self._need(person, kind, at) for kind in sorted({deal.kind for deal in deals})}
        return [self._chances(person, at, moment.push, deal, found[deal.kind]).gain for deal in deals]

    def best(self, moment: Moment, deals: Sequence[Deal]) -> tuple[float, Deal | None]:
        """The deal that is truly best for a need a person has at this moment, and its gain; None for
        silence.
        """
        person, at, found = moment.person, moment.at, _SILENT
        if not self._bot[person] and not (moment.push and self.moods[person].off):
            needs = {kind: self._need(person, kind, at) for kind in self._has(person, at)}
            for deal in deals:
                if deal.kind in needs:
                    gain = self._chances(person, at, moment.push, deal, needs[deal.kind]).gain
                    if gain > found[0]:
                        found = gain, deal
        return found

    def _has(self, person: int, at: int) -> list[int]:
        """The kinds of what a person needs now."""
        now = [n for n in self._mine[person] if self._onset[n] < at < self._over[n] and not self._met[n]]
        return sorted({self._kind[need] for need in now})

    def readiness(self, need: int, at: int) -> float:
        """How ready the person of this need is to buy at an instant (ms), 0 to 1."""
        ready: float = self._strength[need] * self.curve.ready(
            (at - self._onset[need]) / self._half_life[need]
        )
        return ready

    def _chances(self, person: int, at: int, push: bool, deal: Deal, need: int | None) -> Chances:
        if self._bot[person]:
            return Chances(0.0, 0.0, 0.0)
        e = self.effects
        ready = by_itself = 0.0
        if need is not None:
            s = (at - self._onset[need]) / self._half_life[need]
            ready = self._strength[need] * self.curve.ready(s)
            by_itself = 1 - exp(-self._mass[need] * (1 - self.curve.part(s)))
        attends = attention(e, self.moods[person].fatigue(at, e.recovery), push)
        price = KINDS[deal.kind].price
        return chances(
            e, ready, by_itself, self._sense[person], self._touchy[person], price, deal.discount, attends
        )

    def _need(self, person: int, kind: int, at: int) -> int | None:
        """The need of this kind that is strongest in a person now, if any is not met."""
        best, ready = None, 0.0
        for need in self._mine[person]:
            if self._onset[need] >= at:
                break
            if self._kind[need] == kind and not self._met[need] and at < self._over[need]:
                now = self.readiness(need, at)
                if now > ready:
                    best, ready = need, now
        return best

    # ---- What was drawn beforehand -------------------------------------------------------------------------

    def _push(self, at: int, person: int, what: int, a: int, b: int) -> None:
        self._told += 1
        heapq.heappush(self._heap, (at, self._told, person, what, a, b))

    def _device_number(self, person: int, at: int) -> int:
        return 2 if 0 <= self._second[person] <= at - START else 1

    def _device(self, person: int, at: int) -> str:
        return device(person, self._device_number(person, at))

    def _plan_ahead(self, visits: Visits, rng: np.random.Generator) -> None:
        """Lay out everything that people will do for themselves, unless an offer comes in between."""
        e, n = self.effects, self.needs
        rows: list[tuple[int, int, int, int, int]] = []  # at, person, what, a, b
        people = self.people
        for person, at in enumerate(self._signs_in):
            if at >= 0:
                rows.append((START + at, person, LINK, 1, NOTHING))
        buyers, times = n.person.tolist(), n.buys.tolist()
        rows += [(at, buyers[need], BUY, need, 0) for need, at in enumerate(times) if at >= 0]
        counts = rng.poisson(e.looks, len(visits.at))
        whose = np.repeat(np.arange(len(counts)), counts)
        gaps = 2_000 + rng.exponential(25_000, len(whose))
        ends = np.concatenate(([0], np.cumsum(gaps)))
        firsts = np.concatenate(([0], np.cumsum(counts)))
        after = (ends[1:] - ends[firsts[whose]]).astype(np.int64)
        of = visits.need[whose]
        stray = (of == NOTHING) | (rng.random(len(whose)) < e.stray)
        tastes = np.cumsum(people.taste * np.array([kind.share for kind in KINDS]), axis=1)
        tastes[people.bot] = np.arange(1, len(KINDS) + 1)
        aim = rng.random(len(whose)) * tastes[visits.person[whose], -1]
        wandering = (aim[:, None] >= tastes[visits.person[whose]]).sum(axis=1)
        kind = np.where(stray, wandering, n.kind[of] if len(n.kind) else 0)
        carted = ~stray & (rng.random(len(whose)) < e.carts)
        at, by = visits.at, visits.person
        # The first page is asked for after some of the looks, or before them all.
        before = (rng.random(len(at)) * (counts + 1)).astype(np.int64)
        asked = at + 1_000 + (rng.random(len(at)) * 19_000).astype(np.int64)
        some = before > 0
        asked[some] += after[firsts[:-1][some] + before[some] - 1]
        for times, persons, what, a, b in (
            (at, by, OPEN, np.zeros(len(at), dtype=np.int64), visits.need),
            (at[whose] + after, by[whose], LOOK, kind * 2 + carted, of),
            (asked, by, ASK, np.zeros(len(at), dtype=np.int64), visits.need),
        ):
            rows += zip(
                times.tolist(), persons.tolist(), [what] * len(times), a.tolist(), b.tolist(), strict=True
            )
        rows.sort()
        self._heap = [(row[0], serial, *row[1:]) for serial, row in enumerate(rows)]
        self._told = len(rows)

    def settle(self) -> None:
        """After the end: what people are about to buy is bought, so that what was promised can be counted."""
        for each in sorted(each for each in self._heap + self._waiting if each[3] == BUY):
            self._buy(each[2], each[0], *each[4:])
        self._heap, self._waiting = [], []
