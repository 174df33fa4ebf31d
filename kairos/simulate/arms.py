"""One arm of the experiment: a policy that lives through the same days with the same people."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np

from events.faults import Fault, PlaybookRefused, did_you_mean
from experiments.world.baselines import Oracle, Popularity, Random, Silence, Thompson
from experiments.world.contextual import LinUCB, Nightly
from experiments.world.effects import Effects, Impossible
from experiments.world.happening import START, Tally
from experiments.world.knowledge import Knowledge
from experiments.world.live import Run
from experiments.world.needs import DAY, KINDS, Floats
from experiments.world.policy import CARD, PUSH, Asked, Policy
from experiments.world.response import Deal
from experiments.world.town import Town
from features.declare import load as load_playbook
from features.plan import Plan, compile_plan
from kairos.simulate.ours import Ours
from models import catalogue as offers
from models.catalogue import Catalogue

SECOND: Final = 1_000
SELDOM: Final = (100_000, 50, 1_000)
"""When the collector looks, as `gc.set_threshold` takes it."""

MOST_CUSTOMERS, MOST_DAYS, MOST_CUSTOMER_DAYS = 1_000_000, 3_660, 20_000_000
NEEDED = ("opened", "looked", "shown", "bought", "messages_off", "signed_in")

ARMS: Final = {
    "oracle": "oracle",
    "ours": "Kairos",
    "nightly": "LightGBM nightly",
    "linucb": "LinUCB",
    "thompson": "Beta Thompson",
    "popularity": "popularity",
    "random": "random",
    "silence": "silence",
}
"""What each is called, wherever people read of it."""

_MAKERS: Mapping[str, Callable[[Knowledge, Catalogue, int], Policy]] = {
    "ours": Ours,
    "nightly": Nightly,
    "linucb": LinUCB,
    "thompson": Thompson,
    "popularity": Popularity,
    "random": Random,
}


@dataclass(frozen=True, slots=True)
class Setting:
    """The town to live in: the playbook, how many people for how long, and how they are."""

    plan: Plan
    catalogue: Catalogue
    deals: Mapping[str, Deal]
    listens: frozenset[str]
    customers: int
    days: int
    effects: Effects

    @classmethod
    def of(cls, folder: Path, customers: int, days: int, effects: Effects) -> Self:
        """Read the playbook. Errors: `PlaybookRefused`, `Impossible`."""
        if not (1 <= customers <= MOST_CUSTOMERS and 1 <= days <= MOST_DAYS):
            hint = "ask for more" if min(customers, days) < 1 else "ask for fewer"
            raise Impossible(
                f"simulate: expected 1 to {MOST_CUSTOMERS:,} customers and 1 to {MOST_DAYS:,} days, found "
                f"{customers:,} customers and {days:,} days; {hint}"
            )
        if customers * days > MOST_CUSTOMER_DAYS:
            raise Impossible(
                f"simulate: expected at most {MOST_CUSTOMER_DAYS:,} days of customers, what memory holds, "
                f"found {customers * days:,}; ask for fewer customers or days"
            )
        plan = compile_plan(load_playbook(folder))
        catalogue = offers.load(folder, plan)
        return cls(plan, catalogue, _deals(folder, plan, catalogue), _listens(plan), customers, days, effects)

    def newcomers(self) -> dict[str, int]:
        """The offers that appear while people live here, and the number of the day on which they do."""
        found = {}
        for offer in self.catalogue.assortment(CARD).offers:
            if offer.valid_from is not None and START < offer.valid_from < START + self.days * DAY:
                found[offer.id] = (offer.valid_from - START) // DAY
        return found


@dataclass(slots=True)
class Lived:
    """What an arm came to. `called`, `heeded` (kinds, days): moments at which that kind was truly best, and
    those at which an offer of it was made. `conflicts` are links between two customers, `seconds` of a core.
    """

    arm: str
    seed: int
    delay: int
    tally: Tally
    called: Floats
    heeded: Floats
    conflicts: int
    seconds: float


def live(
    setting: Setting, arm: str, seed: int, delay: int = SECOND, beat: Callable[[int], None] = lambda day: None
) -> Lived:
    """Live through the days; `beat` is told of each that is over."""
    with _seldom_collected():
        return _live(setting, arm, seed, delay, beat)


def _live(setting: Setting, arm: str, seed: int, delay: int, beat: Callable[[int], None]) -> Lived:
    started = time.process_time()
    listens = frozenset() if arm == "silence" else setting.listens
    town = Town(seed, setting.customers, setting.days, setting.effects, listens, delay)
    knowledge = Knowledge(setting.plan, delay)
    deals = dict(setting.deals)
    policy: Policy
    if arm == "silence":
        policy = Silence()
    elif arm == "oracle":
        policy = Oracle(knowledge, setting.catalogue, town, deals)
    else:
        policy = _MAKERS[arm](knowledge, setting.catalogue, seed)
    called, heeded = np.zeros((2, len(KINDS), setting.days))
    assortments = setting.catalogue.assortments.values()
    begins = {o.id: o.valid_from or START for each in assortments for o in each.offers}
    every = list(deals.values())

    def watch(asked: Asked, offer: str | None) -> None:
        moment = asked.moment
        day = (moment.at - START) // DAY
        open_ = [deal for deal in every if begins[deal.offer] <= moment.at]
        gain, deal = town.minds.best(moment, open_)
        if deal is not None:
            town.tally.best[day] += gain
            called[deal.kind, day] += 1
            heeded[deal.kind, day] += offer is not None and deals[offer].kind == deal.kind

    day = 0
    for until in Run(town, knowledge, policy, deals, watch).steps():
        if (until - START) // DAY > day:
            day = (until - START) // DAY
            beat(day)
    seconds = time.process_time() - started
    return Lived(arm, seed, delay, town.tally, called, heeded, knowledge.conflicts, seconds)


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Have the collector look seldom: nearly all that a town makes stays, and goes without it."""
    thresholds = gc.get_threshold()
    gc.set_threshold(*SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


def alone(setting: Setting, seed: int) -> float:
    """Seconds of a core that the town itself takes when nobody watches and nobody says anything."""
    started = time.process_time()
    town = Town(seed, setting.customers, setting.days, setting.effects)
    while town.advance(town.end)[1]:
        pass
    return time.process_time() - started


def _deals(folder: Path, plan: Plan, catalogue: Catalogue) -> dict[str, Deal]:
    """What each offer is to people here; every fault of a playbook that nobody could live in."""
    file, faults = folder / "offers.toml", list[Fault]()
    kinds = {kind.name: number for number, kind in enumerate(KINDS)}
    for name in (CARD, PUSH):
        if name not in catalogue.assortments:
            hint = did_you_mean(name, catalogue.assortments)
            faults.append(Fault(str(file), "[[placement]]", f"a placement {name}", "none", hint))
        elif not len(catalogue.assortment(name)):
            faults.append(
                Fault(str(file), f"placement {name}", "at least one offer", "none", "write an [[offer]]")
            )
    for type_ in NEEDED:
        if type_ not in plan.playbook.contracts.types:
            hint = "copy it from playbooks/world/events.toml"
            faults.append(
                Fault(str(folder / "events.toml"), f"[{type_}]", "this type of event", "none", hint)
            )
    if not faults and {each.id for each in catalogue.assortment(CARD).offers} != (
        pushed := {each.id for each in catalogue.assortment(PUSH).offers}
    ):
        named = ", ".join(sorted(pushed))
        faults.append(Fault(str(file), f"placement {PUSH}", f"the same offers as {CARD}", named))
    deals = {}
    for assortment in catalogue.assortments.values():
        for offer in assortment.offers:
            category, discount = offer.attributes.get("category"), offer.attributes.get("discount", 0.0)
            place = f"offer {offer.id}"
            if category not in kinds:
                hint = did_you_mean(str(category), kinds)
                faults.append(Fault(str(file), f"{place}, category", "a kind of need", repr(category), hint))
            elif not isinstance(discount, float) or not 0 <= discount <= 1:
                faults.append(Fault(str(file), f"{place}, discount", "a part of 1", repr(discount)))
            else:
                deals[offer.id] = Deal(offer.id, kinds[str(category)], discount)
    if faults:
        raise PlaybookRefused(faults)
    return deals


def _listens(plan: Plan) -> frozenset[str]:
    """The events after which a trigger may fire."""
    return frozenset(type_ for trigger in plan.playbook.triggers for type_ in trigger.on or NEEDED)
