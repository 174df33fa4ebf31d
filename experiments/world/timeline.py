"""Everything that people will do for themselves, laid out in time: what is said to them comes in between."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.world.diary import NOTHING, Ints, Needs, Visits
from experiments.world.effects import Effects
from experiments.world.happening import START
from experiments.world.needs import KINDS
from experiments.world.people import People

LINK, OPEN, LOOK, ASK, BUY, HEAR = range(6)
"""What somebody does next: signs in, opens the app, looks, asks for the first page, pays; or is heard of."""

Row = tuple[int, int, int, int, int]
"""When (ms), who, what, and two numbers a, b that depend on what.

LINK: a is the device. OPEN, LOOK, ASK: b is the need of the visit; of a LOOK a is twice the kind, one more
for the basket. BUY: a is the need (`~kind` without one), b the thousandths taken off. HEAR: a is when it
happened.
"""


class _Looks(NamedTuple):
    """Looks, an array each: of which visit, how long after its beginning (ms), at what, and into the
    basket.
    """

    visit: Ints
    after: Ints
    kind: Ints
    carted: NDArray[np.bool_]


def timeline(
    people: People, needs: Needs, visits: Visits, effects: Effects, rng: np.random.Generator
) -> list[Row]:
    """All of it, sorted."""
    rows: list[Row] = [
        (START + at, person, LINK, 1, NOTHING)
        for person, at in enumerate(people.signs_in.tolist())
        if at >= 0
    ]
    buyers = needs.person.tolist()
    rows += [(at, buyers[need], BUY, need, 0) for need, at in enumerate(needs.buys.tolist()) if at >= 0]
    counts = rng.poisson(effects.looks, len(visits.at))
    looks = _looks(people, needs, visits, effects, rng, counts)
    asked = _asked(visits, rng, counts, looks.after)
    nothing = np.zeros(len(visits.at), dtype=np.int64)
    of, by = visits.need[looks.visit], visits.person[looks.visit]
    for at, person, what, a, b in (
        (visits.at, visits.person, OPEN, nothing, visits.need),
        (visits.at[looks.visit] + looks.after, by, LOOK, looks.kind * 2 + looks.carted, of),
        (asked, visits.person, ASK, nothing, visits.need),
    ):
        rows += zip(at.tolist(), person.tolist(), [what] * len(at), a.tolist(), b.tolist(), strict=True)
    rows.sort()
    return rows


def _looks(
    people: People, needs: Needs, visits: Visits, effects: Effects, rng: np.random.Generator, counts: Ints
) -> _Looks:
    """What is looked at on each visit: mostly what is needed, else what the person likes; bots look at
    all.
    """
    visit = np.repeat(np.arange(len(counts)), counts)
    ends = np.concatenate(([0], np.cumsum(2_000 + rng.exponential(25_000, len(visit)))))
    after = (ends[1:] - ends[_firsts(counts)[visit]]).astype(np.int64)
    need, person = visits.need[visit], visits.person[visit]
    stray = (need == NOTHING) | (rng.random(len(visit)) < effects.stray)
    tastes = np.cumsum(people.taste * np.array([kind.share for kind in KINDS]), axis=1)
    tastes[people.bot] = np.arange(1, len(KINDS) + 1)
    aim = rng.random(len(visit)) * tastes[person, -1]
    liked = (aim[:, None] >= tastes[person]).sum(axis=1)
    kind = np.where(stray, liked, needs.kind[need]) if len(needs.kind) else liked
    return _Looks(visit, after, kind, ~stray & (rng.random(len(visit)) < effects.carts))


def _asked(visits: Visits, rng: np.random.Generator, counts: Ints, after: Ints) -> Ints:
    """When the first page is asked for: after some of a visit's looks, or before them all."""
    before = (rng.random(len(counts)) * (counts + 1)).astype(np.int64)
    asked = visits.at + 1_000 + (rng.random(len(counts)) * 19_000).astype(np.int64)
    some = before > 0
    asked[some] += after[_firsts(counts)[some] + before[some] - 1]
    return asked


def _firsts(counts: Ints) -> Ints:
    """The place of each visit's first look among all."""
    return np.concatenate(([0], np.cumsum(counts)))[:-1].astype(np.int64)
