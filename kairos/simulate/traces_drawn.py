"""What is seen of people, drawn."""

from typing import Final

import numpy as np
from matplotlib.axes import Axes

from experiments.world.effects import Effects
from experiments.world.happening import START
from experiments.world.needs import DAY
from experiments.world.timeline import LOOK, timeline
from kairos.simulate.panel import DAYS, PEOPLE, SHADES, Panel, density, label, population, visiting


def _visits(effects: Effects, axes: Axes) -> None:
    _, needs, visits, _ = visiting(effects)
    mine = visits.need >= 0
    of = visits.need[mine]
    after = (visits.at[mine] - needs.onset[of]) / needs.half_life[of]
    density(axes, after, 60, 0, 4, color=SHADES[0], alpha=0.6, label="visits")
    bought = needs.buys >= 0
    alone = (needs.buys[bought] - needs.onset[bought]) / needs.half_life[bought]
    words = "purchases without any offer"
    density(axes, alone, 60, 0, 4, histtype="step", color=SHADES[1], label=words)
    label(axes, f"visits {effects.visits:g} a need, in proportion to readiness", "half-lives", "density")


def _looks(effects: Effects, axes: Axes) -> None:
    _, rng = population(effects)
    count = rng.poisson(effects.looks, 20_000)
    axes.hist(count, bins=[n - 0.5 for n in range(11)], density=True, color=SHADES[0], rwidth=0.8)
    label(axes, f"looks {effects.looks:g} a visit", "looks", "part of visits")


def _looked_at(effects: Effects, axes: Axes) -> None:
    people, needs, visits, rng = visiting(effects, 1_000)
    looks = [(a, b) for _, _, what, a, b in timeline(people, needs, visits, effects, rng) if what == LOOK]
    ones = [(a >> 1 == needs.kind[b], a & 1) for a, b in looks if b >= 0]
    needed = [carted for needed, carted in ones if needed]
    carted = sum(needed)
    parts = {
        "what is needed": len(needed) - carted,
        "the same, into\nthe basket": carted,
        "something else": len(ones) - len(needed),
    }
    values = [each / max(len(ones), 1) for each in parts.values()]
    axes.bar(list(parts), values, color=SHADES[:3])
    axes.tick_params(axis="x", labelsize=8)
    title = f"stray {effects.stray:g}, carts {effects.carts:g}"
    label(axes, title, "looked at on visits for a need", "part of looks")


def _browsing(effects: Effects, axes: Axes) -> None:
    people, _, visits, _ = visiting(effects)
    for shade, (words, mine) in zip(
        SHADES, (("for a need", visits.need >= 0), ("for none", visits.need < 0)), strict=False
    ):
        week = visits.person[mine] * (DAYS // 7) + (visits.at[mine] - START) // (7 * DAY)
        counts = np.bincount(week, minlength=PEOPLE * DAYS // 7).reshape(PEOPLE, -1)[~people.bot].ravel()
        density(axes, counts, 16, -0.5, 15.5, histtype="step", color=shade, label=words)
    title = f"browsing {effects.browsing:g} a day: visits for no need"
    label(axes, title, "visits of a person in a week", "part of weeks")


def _bots(effects: Effects, axes: Axes) -> None:
    people, _, visits, _ = visiting(effects)
    counts = np.bincount(visits.person, minlength=len(people)) / DAYS
    bins = np.linspace(0, max(1.0, counts.max()), 60).tolist()
    axes.hist(
        [counts[~people.bot], counts[people.bot]],
        bins=bins,
        stacked=True,
        color=(SHADES[0], SHADES[4]),
        label=["people", "bots"],
    )
    axes.set_yscale("symlog")
    title = f"bots {effects.bots:g}, bot_visits {effects.bot_visits:g} a day"
    label(axes, title, "visits a day", f"of {PEOPLE:,} customers (log)")


def _ids(effects: Effects, axes: Axes) -> None:
    people, _ = population(effects)
    day = np.linspace(0, DAYS, 200)
    linked = [((people.signs_in < each * DAY) & ~people.stranger).mean() for each in day]
    strangers = [((people.signs_in < each * DAY) & people.stranger).mean() for each in day]
    second = [((people.second >= 0) & (people.second < each * DAY)).mean() for each in day]
    axes.stackplot(day, linked, strangers, colors=(SHADES[0], SHADES[4]), alpha=0.7,
                   labels=("signed in: one customer", "signed in: two customers meet"))  # fmt: skip
    axes.plot(day, second, color=SHADES[1], label="on a second device")
    axes.set_ylim(0, 1)
    title = f"guests {effects.guests:g}, strangers {effects.strangers:g}, "
    label(axes, f"{title}second_device {effects.second_device:g}", "day", "part of people")


TRACES: Final[tuple[Panel, ...]] = (_visits, _browsing, _looks, _looked_at, _bots, _ids)
