"""The town as it lives: events as they happen, moments at which something may be said, and what people
answer.

Time moves by `advance`. Everybody lives on until a moment at which they could be spoken to; `answer` says
what was said, and life goes on from there. What people do for themselves is drawn beforehand
(`experiments.world.diary`), what they answer is a coin that belongs to the moment, so every policy meets the
same people.
"""

import heapq
from dataclasses import dataclass, field
from math import log1p

import numpy as np

from experiments.world.coins import coin
from experiments.world.diary import NOTHING, needs_of, visits_of
from experiments.world.effects import Effects
from experiments.world.happening import ATTRIBUTED, START, Conversion, Happened, Moment, Tally
from experiments.world.minds import Minds
from experiments.world.needs import DAY, KINDS, MARGIN, Curve
from experiments.world.people import People, account, device
from experiments.world.response import Deal, opts_out
from experiments.world.timeline import ASK, BUY, HEAR, LINK, LOOK, OPEN, timeline

_Due = tuple[int, int, int, int, int, int]
"""A row of the timeline with its serial number behind the instant: what is due at once comes in its order."""


@dataclass
class Town:
    """So many people for so many days; `minds` is the truth about them.

    `listens` are the events after which, `delay` ms later, a moment comes at which somebody may want to send
    a message.
    """

    seed: int
    customers: int
    days: int
    effects: Effects = field(default_factory=Effects)
    listens: frozenset[str] = frozenset()
    delay: int = 0

    def __post_init__(self) -> None:
        e, rng = self.effects, np.random.Generator(np.random.PCG64(self.seed))
        curve = Curve.of(e.rise)
        self.end = START + self.days * DAY
        self.people = People.draw(e, rng, self.customers, self.days)
        self.needs = needs_of(self.people, e, curve, rng, START, self.days)
        visits = visits_of(self.people, self.needs, e, curve, rng, START, self.days)
        self.minds = Minds(self.people, self.needs, e, curve)
        people, days = self.customers, self.days
        self.tally = Tally(
            np.zeros((people, days)), np.zeros((len(KINDS), days)), np.zeros(people), np.zeros(days)
        )
        self.conversions: list[Conversion] = []
        self._happened: list[Happened] = []
        self._signs_in, self._second = self.people.signs_in.tolist(), self.people.second.tolist()
        self._stranger = self.people.stranger.tolist()
        self._linked: set[str] = set()
        self._shown: dict[tuple[int, int], tuple[Moment, Deal]] = {}
        rows = timeline(self.people, self.needs, visits, e, rng)
        self._heap: list[_Due] = [(row[0], serial, *row[1:]) for serial, row in enumerate(rows)]
        self._told = len(rows)
        self._waiting: list[_Due] = []
        self._asked: set[int] = set()

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
        """When the next thing happens (ms); the end when nothing does any more."""
        return min((each[0] for each in (self._heap[:1] + self._waiting)), default=self.end)

    def _live(self, at: int, serial: int, person: int, what: int, a: int, b: int) -> Moment | None:
        if what == LINK:
            self._link(person, at, a)
        elif what == BUY:
            self._buy(person, at, a, b)
        elif what == HEAR:
            return Moment(at, person, self._device(person, at), True, (self.seed, person, a, HEAR), True)
        elif b != NOTHING and self.minds.met[b]:
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
        """Pay: what a need has come to by itself, or what was taken of an offer (`need` is then ~kind)."""
        minds = self.minds
        if need >= 0:
            if minds.met[need] or not minds.mass[need]:
                return  # met already, or put off
            minds.met[need], kind = True, minds.kind[need]
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
        if shown is not None and at - shown[0].at < ATTRIBUTED:
            del self._shown[person, kind]
            self.conversions.append(Conversion(*shown, at))

    # ---- What is said, and what they answer ----------------------------------------------------------------

    def answer(self, moment: Moment, deal: Deal | None) -> bool:
        """Say this to the person, or nothing; whether it reached them (messages may be switched off)."""
        if deal is None:
            return False
        person, at, e, minds = moment.person, moment.at, self.effects, self.minds
        mood = minds.moods[person]
        if moment.push and mood.off:
            return False
        need = minds.need(person, deal.kind, at)
        chance, fatigue = minds.chances(person, at, moment.push, deal, need), mood.fatigue(at, e.recovery)
        day = (at - START) // DAY
        self.tally.gain[person, day] += chance.gain
        self.tally.kinds[deal.kind, day] += chance.gain
        mood.tire(e.tired_of_push if moment.push else e.tired_of_card, at, e.recovery)
        door = "push" if moment.push else "card"
        if moment.push:
            self.tally.pushes += 1
        else:
            self.tally.cards += 1
        self._shown[person, deal.kind] = moment, deal
        self._note(at + 1, "shown", person, category=KINDS[deal.kind].name, offer=deal.offer, door=door)
        if coin(*moment.key, 1) < chance.take:
            half_life = minds.half_life[need] if need is not None else KINDS[deal.kind].half_life * e.pace
            wait = -log1p(-coin(*moment.key, 2)) * e.think * half_life
            self.tally.taken += 1
            if need is not None:
                minds.met[need] = True
            self._push(at + 2 + int(wait), person, BUY, ~deal.kind, round(deal.discount * 1_000))
        elif need is not None and coin(*moment.key, 3) < chance.put_off:
            minds.mass[need] = 0.0
            self.tally.put_off += 1
        if moment.push and coin(*moment.key, 4) < opts_out(e, fatigue):
            mood.off = True
            self.tally.opted_out += 1
            self._note(at + 3, "messages_off", person)
        return True

    def settle(self) -> None:
        """After the end: what people are about to buy is bought, so that what was promised can be counted."""
        for each in sorted(each for each in self._heap + self._waiting if each[3] == BUY):
            self._buy(each[2], each[0], *each[4:])
        self._heap, self._waiting = [], []

    def _push(self, at: int, person: int, what: int, a: int, b: int) -> None:
        self._told += 1
        heapq.heappush(self._heap, (at, self._told, person, what, a, b))

    def _device_number(self, person: int, at: int) -> int:
        return 2 if 0 <= self._second[person] <= at - START else 1

    def _device(self, person: int, at: int) -> str:
        return device(person, self._device_number(person, at))
