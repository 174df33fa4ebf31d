"""What people need, drawn."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
from matplotlib.axes import Axes

from experiments.world.diary import Ints, drifted
from experiments.world.effects import Effects
from experiments.world.happening import START
from experiments.world.needs import DAY, HOUR, KINDS, Curve
from kairos.simulate.panel import DAYS, PEOPLE, SHADES, Panel, density, label, needing, population


def _rise(effects: Effects, axes: Axes) -> None:
    s = np.linspace(0, 4, 300)
    for shade, rise in zip(SHADES, sorted({0.03, effects.rise, 0.4}), strict=False):
        curve = Curve.of(rise)
        axes.plot(s, [curve.ready(each) for each in s], color=shade, label=f"rise {rise:g}")
    label(axes, "A need rises fast and decays", "half-lives", "readiness")


def _strength(effects: Effects, axes: Axes) -> None:
    s, curve = np.linspace(0, 4, 300), Curve.of(effects.rise)
    ready = np.array([curve.ready(each) for each in s])
    heights = {"weakest": effects.strength, "mean": (1 + effects.strength) / 2, "strongest": 1.0}
    for shade, (words, height) in zip(SHADES, heights.items(), strict=False):
        axes.plot(s, height * ready, color=shade, label=f"the {words}")
    label(axes, f"strength {effects.strength:g}: the weakest need", "half-lives", "readiness")


def _number(effects: Effects, axes: Axes) -> None:
    for shade, number in zip(SHADES, (effects.needs / 2, effects.needs, 2 * effects.needs), strict=False):
        found = needing(replace(effects, needs=number))
        weeks = found.person * (DAYS // 7) + (found.onset - START) // (7 * DAY)
        counts = np.bincount(weeks[weeks >= 0], minlength=PEOPLE * DAYS // 7)
        density(axes, counts, 16, -0.5, 15.5, histtype="step", color=shade, label=f"needs {number:g}")
    label(axes, f"needs {effects.needs:g} a week", "needs of a person in a week", "part of weeks")


def _kinds(effects: Effects, axes: Axes) -> None:
    curve, hours = Curve.of(effects.rise), effects.pace * np.geomspace(0.02, 600, 300)
    for shade, kind in zip(SHADES, KINDS, strict=True):
        life = kind.half_life * effects.pace / HOUR
        axes.plot(hours, [curve.ready(each / life) for each in hours], color=shade, label=kind.name)
    axes.set_xscale("log")
    axes.set_xlim(hours[0], 100 * hours[-1])  # room for the names
    label(axes, f"pace {effects.pace:g}: from minutes to days", "hours (log)", "readiness")


def _hours(effects: Effects, axes: Axes) -> None:
    needs = needing(effects)
    for number, (shade, kind) in enumerate(zip(SHADES, KINDS, strict=True)):
        if kind.share >= 0.09:
            hour = (needs.onset[needs.kind == number] - START) / HOUR % 24
            density(axes, hour, 48, 0, 24, histtype="step", color=shade, label=kind.name)
    label(axes, f"habit {effects.habit:g}: when needs arise", "hour of the day", "density")


def _season(effects: Effects, axes: Axes) -> None:
    _calendar(effects, axes, ("lunch", "bike", "cinema", "ride"), lambda day: day // 28, 13)
    label(axes, f"season {effects.season:g}", "four weeks of the year", "of the mean")


def _weekend(effects: Effects, axes: Axes) -> None:
    _calendar(effects, axes, ("lunch", "bike", "cinema", "ride"), lambda day: day % 7, 7)
    axes.set_xticks(range(7), ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"))
    label(axes, f"weekend {effects.weekend:g}", "day of the week", "of the mean")


def _calendar(
    effects: Effects, axes: Axes, names: tuple[str, ...], part: Callable[[Ints], Ints], parts: int
) -> None:
    """Needs of some kinds by the part of the year or week in which they arise, of many needs."""
    needs = needing(replace(effects, drift=0.0, needs=50.0), 300, 364)
    for number, (shade, kind) in enumerate(zip(SHADES, KINDS, strict=True)):
        if kind.name in names:
            day = (needs.onset[needs.kind == number] - START) // DAY
            found = np.bincount(part(day[(day >= 0) & (day < 364)]), minlength=parts)
            axes.plot(found / max(found.mean(), 1.0), color=shade, label=kind.name)
    axes.set_ylim(0, 2)


def _drift(effects: Effects, axes: Axes) -> None:
    people, _ = population(effects, 6)
    day = np.arange(57)
    for shade, move in zip(SHADES, people.moves[:, 0], strict=False):
        axes.plot(day, drifted(move, effects.drift, day), color=shade)
    label(axes, f"drift {effects.drift:g}: six people's taste for lunch", "day", "times")


def _taste(effects: Effects, axes: Axes) -> None:
    people, _ = population(effects)
    axes.hist(people.taste[:, 0], bins=60, range=(0, 5), color=SHADES[0])
    label(axes, f"taste {effects.taste:g}: how much people differ", "needs, of the mean", "people")


NEEDS: Final[tuple[Panel, ...]] = (
    _rise,
    _kinds,
    _strength,
    _number,
    _taste,
    _drift,
    _hours,
    _weekend,
    _season,
)
