"""What would happen anyway: each person's needs and visits, drawn once, whatever is offered to whom later."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.world.effects import Effects
from experiments.world.needs import DAY, HOUR, KINDS, LONGEST, Curve, Floats
from experiments.world.people import People

Ints = NDArray[np.int64]

NOTHING = -1


class Needs(NamedTuple):
    """Needs, an array each: whose, of which kind, when it began (ms), how strong, how long its half-life
    (ms).

    `chance` is how likely it is to end in a purchase by itself, `buys` (ms) when it does, -1 for never.
    """

    person: Ints
    kind: Ints
    onset: Ints
    strength: Floats
    half_life: Floats
    chance: Floats
    buys: Ints


class Visits(NamedTuple):
    """Visits to the app: whose, for which need (-1: none), when (ms)."""

    person: Ints
    need: Ints
    at: Ints


def needs_of(
    people: People, effects: Effects, curve: Curve, rng: np.random.Generator, start: int, days: int
) -> Needs:
    """The needs of so many days from `start` (ms)."""
    counts = rng.poisson(_rates(people, effects, start, days))
    person, kind, day = (np.repeat(each, counts.ravel()) for each in np.indices(counts.shape).reshape(3, -1))
    hour = _hours(kind, rng) + people.shift[person]
    onset = start + ((day * 24 + hour) * HOUR).astype(np.int64)
    order = np.argsort(onset, kind="stable")
    person, kind, onset = person[order], kind[order], onset[order]
    half_life = np.array([each.half_life for each in KINDS])[kind] * effects.pace
    strength = effects.strength + (1 - effects.strength) * rng.random(len(person))
    chance = people.loyal[person] * strength
    # A purchase by itself comes at a rate in proportion to readiness: `mass` of it over the whole course.
    mass = -np.log1p(-chance)
    waits = np.divide(rng.exponential(size=len(person)), mass, out=np.full(len(person), 2.0), where=mass > 0)
    after = np.where(waits < 1, curve.when(np.minimum(waits, 1.0)) * half_life, 0.0)
    buys = np.where(waits < 1, onset + after.astype(np.int64), -1)
    return Needs(person, kind, onset, strength, half_life, chance, buys)


def _rates(people: People, effects: Effects, start: int, days: int) -> Floats:
    """Expected needs of each person, kind and day: tastes that drift, weekends, seasons."""
    day = np.arange(days)
    tastes = people.taste[:, :, None] * drifted(people.moves[:, :, None], effects.drift, day)
    number = start // DAY + day
    weekend = (number + 3) % 7 >= 5  # the epoch's first day was a Thursday
    week = 1 + effects.weekend * np.array([k.weekend for k in KINDS])[:, None] * np.where(weekend, 1.0, -0.4)
    year = np.cos(2 * np.pi * ((number - 19_905) % 365.25) / 365.25)  # 1 at the beginning of July
    season = 1 + effects.season * np.array([k.summer for k in KINDS])[:, None] * year
    share = np.array([kind.share for kind in KINDS])[:, None]
    rates: Floats = effects.needs / 7 * share * week * season * tastes
    rates[people.bot] = 0.0
    return rates


def drifted(moves: Floats, drift: float, day: Ints) -> Floats:
    """What tastes are multiplied with by a day; 1 in the mean over people, as moves are standard normal."""
    times: Floats = np.exp(moves * drift * np.sqrt(day / 28) - (drift**2 * day / 28) / 2)
    return times


def _hours(kind: Ints, rng: np.random.Generator) -> Floats:
    """An hour of the day for each need: about one of the times at which its kind rises."""
    hours = np.empty(len(kind))
    pick, spread = rng.random(len(kind)), rng.standard_normal(len(kind))
    for number, each in enumerate(KINDS):
        mine = kind == number
        at = np.array(each.hours)[(pick[mine] * len(each.hours)).astype(int)]
        hours[mine] = at[:, 0] + at[:, 1] * spread[mine]
    return hours


def visits_of(
    people: People,
    needs: Needs,
    effects: Effects,
    curve: Curve,
    rng: np.random.Generator,
    start: int,
    days: int,
) -> Visits:
    """The visits that needs bring about, and those for no need; sorted by time, all before the end."""
    counts = rng.poisson(effects.visits * needs.strength)
    need = np.repeat(np.arange(len(counts)), counts)
    after = curve.when(rng.random(len(need))) * needs.half_life[need]
    driven = needs.onset[need] + after.astype(np.int64)
    often = np.where(people.bot, effects.bot_visits, effects.browsing)
    idle = rng.poisson(often[:, None], (len(people), days))
    whose, day = (np.repeat(each, idle.ravel()) for each in np.indices(idle.shape).reshape(2, -1))
    awake = np.where(people.bot[whose], 24 * rng.random(len(whose)), 8 + 15 * rng.random(len(whose)))
    browsed = start + (
        (day * 24 + awake + np.where(people.bot[whose], 0, people.shift[whose])) * HOUR
    ).astype(np.int64)
    at = np.concatenate([driven, browsed])
    person = np.concatenate([needs.person[need], whose])
    of = np.concatenate([need, np.full(len(whose), NOTHING)])
    order = np.argsort(at, kind="stable")
    order = order[(at[order] >= start) & (at[order] < start + days * DAY)]
    return Visits(person[order], of[order], at[order])


def over(needs: Needs) -> Ints:
    """When each need is over (ms), come what may."""
    return needs.onset + (LONGEST * needs.half_life).astype(np.int64)
