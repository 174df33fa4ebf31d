"""The effects of the town, drawn: what each parameter of `experiments.world.effects` does, at its default."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.world.diary import needs_of, visits_of
from experiments.world.effects import Effects
from experiments.world.happening import START
from experiments.world.needs import DAY, HOUR, KINDS, Curve
from experiments.world.people import People
from experiments.world.response import Mood, appeal, attention, chances, opts_out

SHADES: Final = ("#1b5e9e", "#d9822b", "#2c9c69", "#8a5fb0", "#c0392b", "#8d99ae", "#3d4657", "#b8a12f")
PEOPLE, DAYS, SEED = 4_000, 28, 1
PRICE: Final = 22.0


def drawings(effects: Effects) -> Mapping[str, Figure]:
    """One figure for each part of docs/world.md."""
    return {
        "world-needs": _figure(effects, _rise, _kinds, _hours, _calendar, _drift, _taste),
        "world-traces": _figure(effects, _visits, _looks, _ids),
        "world-offers": _figure(effects, _appeal, _gain, _touchy, _ready, _think, _loyal),
        "world-contacts": _figure(effects, _attention, _recovery, _opting_out),
    }


def _figure(effects: Effects, *draw: Callable[[Effects, Axes], None]) -> Figure:
    rows = -(-len(draw) // 3)
    figure, panels = plt.subplots(rows, 3, figsize=(12, 3.1 * rows), squeeze=False)
    for axes, one in zip(panels.ravel(), draw, strict=False):
        one(effects, axes)
        axes.title.set_fontsize(10)
    return figure


def _told(axes: Axes, title: str, x: str, y: str, *, legend: bool = True) -> None:
    axes.set_title(title)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    if legend:
        axes.legend(frameon=False, fontsize=8)


def _rise(effects: Effects, axes: Axes) -> None:
    s = np.linspace(0, 4, 300)
    for shade, rise in zip(SHADES, sorted({0.03, effects.rise, 0.4}), strict=False):
        curve = Curve.of(rise)
        axes.plot(s, [curve.ready(each) for each in s], color=shade, label=f"rise {rise:g}")
    _told(axes, "A need rises fast and decays", "half-lives", "readiness")


def _kinds(effects: Effects, axes: Axes) -> None:
    curve, hours = Curve.of(effects.rise), np.geomspace(0.02, 600, 300)
    for shade, kind in zip(SHADES, KINDS, strict=True):
        life = kind.half_life * effects.pace / HOUR
        axes.plot(hours, [curve.ready(each / life) for each in hours], color=shade, label=kind.name)
    axes.set_xscale("log")
    _told(axes, f"pace {effects.pace:g}: from minutes to days", "hours (log)", "readiness")


def _population(effects: Effects, people: int = PEOPLE) -> tuple[People, np.random.Generator]:
    rng = np.random.Generator(np.random.PCG64(SEED))
    return People.draw(effects, rng, people, DAYS), rng


def _hours(effects: Effects, axes: Axes) -> None:
    people, rng = _population(effects)
    needs = needs_of(people, effects, Curve.of(effects.rise), rng, START, DAYS)
    for number, (shade, kind) in enumerate(zip(SHADES, KINDS, strict=True)):
        if kind.share >= 0.09:
            hour = (needs.onset[needs.kind == number] - START) / HOUR % 24
            axes.hist(
                hour, bins=48, range=(0, 24), histtype="step", density=True, color=shade, label=kind.name
            )
    _told(axes, f"habit {effects.habit:g}: when needs arise", "hour of the day", "density")


def _calendar(effects: Effects, axes: Axes) -> None:
    people, rng = _population(replace(effects, drift=0.0, needs=20.0), 300)
    needs = needs_of(people, replace(effects, drift=0.0, needs=20.0), Curve.of(effects.rise), rng, START, 364)
    for number, (shade, kind) in enumerate(zip(SHADES, KINDS, strict=True)):
        if kind.name in ("lunch", "bike", "cinema", "ride"):
            days = np.bincount((needs.onset[needs.kind == number] - START) // DAY, minlength=364)[:364]
            months = days.reshape(-1, 28).sum(axis=1)
            axes.plot(months / months.mean(), color=shade, label=kind.name)
    axes.set_ylim(0, 2)
    _told(
        axes,
        f"season {effects.season:g} (and weekend {effects.weekend:g})",
        "four weeks of the year",
        "of the mean",
    )


def _drift(effects: Effects, axes: Axes) -> None:
    people, _ = _population(effects, 6)
    day = np.arange(57)
    for shade, move in zip(SHADES, people.moves[:, 0], strict=False):
        axes.plot(day, np.exp(move * effects.drift * np.sqrt(day / 28)), color=shade)
    _told(axes, f"drift {effects.drift:g}: six people's taste for lunch", "day", "times", legend=False)


def _taste(effects: Effects, axes: Axes) -> None:
    people, _ = _population(effects)
    axes.hist(people.taste[:, 0], bins=60, range=(0, 5), color=SHADES[0])
    _told(
        axes, f"taste {effects.taste:g}: how much people differ", "needs, of the mean", "people", legend=False
    )


def _visits(effects: Effects, axes: Axes) -> None:
    people, rng = _population(effects)
    curve = Curve.of(effects.rise)
    needs = needs_of(people, effects, curve, rng, START, DAYS)
    visits = visits_of(people, needs, effects, curve, rng, START, DAYS)
    mine = visits.need >= 0
    of = visits.need[mine]
    after = (visits.at[mine] - needs.onset[of]) / needs.half_life[of]
    axes.hist(after, bins=60, range=(0, 4), density=True, color=SHADES[0], alpha=0.6, label="visits")
    bought = needs.buys >= 0
    alone = (needs.buys[bought] - needs.onset[bought]) / needs.half_life[bought]
    words = "purchases without any offer"
    axes.hist(alone, bins=60, range=(0, 4), density=True, histtype="step", color=SHADES[1], label=words)
    _told(axes, f"visits {effects.visits:g} a need, in proportion to readiness", "half-lives", "density")


def _looks(effects: Effects, axes: Axes) -> None:
    _, rng = _population(effects)
    count = rng.poisson(effects.looks, 20_000)
    axes.hist(count, bins=[n - 0.5 for n in range(11)], density=True, color=SHADES[0], rwidth=0.8)
    words = f"looks {effects.looks:g} a visit; stray {effects.stray:g}, carts {effects.carts:g}"
    _told(axes, words, "looks", "part of visits", legend=False)


def _ids(effects: Effects, axes: Axes) -> None:
    people, _ = _population(effects)
    day = np.linspace(0, DAYS, 200)
    linked = [((people.signs_in < each * DAY) & ~people.stranger).mean() for each in day]
    strangers = [((people.signs_in < each * DAY) & people.stranger).mean() for each in day]
    second = [((people.second >= 0) & (people.second < each * DAY)).mean() for each in day]
    axes.stackplot(day, linked, strangers, colors=(SHADES[0], SHADES[4]), alpha=0.7,
                   labels=("signed in: one customer", "signed in: two customers meet"))  # fmt: skip
    axes.plot(day, second, color=SHADES[1], label="on a second device")
    axes.set_ylim(0, 1)
    _told(axes, f"guests {effects.guests:g}, strangers {effects.strangers:g}", "day", "part of people")


def _appeal(effects: Effects, axes: Axes) -> None:
    off = np.linspace(0, 0.4, 50)
    for shade, sense in zip(
        SHADES, (effects.price_sense / 2, effects.price_sense, 3 * effects.price_sense), strict=False
    ):
        axes.plot(
            100 * off, [appeal(effects, sense, each) for each in off], color=shade, label=f"sense {sense:g}"
        )
    _told(
        axes,
        f"appeal {effects.appeal:g}, price_sense {effects.price_sense:g}",
        "taken off, %",
        "would take it",
    )


def _gain(effects: Effects, axes: Axes) -> None:
    by_itself = np.linspace(0, 1, 50)
    for shade, off in zip(SHADES, (0.0, 0.1, 0.25), strict=False):
        gains = [
            chances(effects, 0.8, q, effects.price_sense, False, PRICE, off, 1.0).gain for q in by_itself
        ]
        axes.plot(by_itself, gains, color=shade, label=f"{100 * off:.0f} % off")
    axes.axhline(0, color="#ddd", zorder=0)
    _told(axes, "Uplift: sure things bring nothing", "would have bought anyway", "gain, EUR")


def _touchy(effects: Effects, axes: Axes) -> None:
    by_itself = np.linspace(0, 1, 50)
    for shade, touchy in zip(SHADES, (False, True), strict=False):
        gains = [
            chances(effects, 0.8, q, effects.price_sense, touchy, PRICE, 0.0, 1.0).gain for q in by_itself
        ]
        axes.plot(by_itself, gains, color=shade, label="touchy" if touchy else "others")
    axes.axhline(0, color="#ddd", zorder=0)
    words = f"touchy {effects.touchy:g} of people, put_off {effects.put_off:g}"
    _told(axes, words, "would have bought anyway", "gain, EUR")


def _ready(effects: Effects, axes: Axes) -> None:
    ready = np.linspace(0, 1, 50)
    takes = [chances(effects, r, 0.0, effects.price_sense, False, PRICE, 0.0, 1.0).take for r in ready]
    axes.plot(ready, takes, color=SHADES[0])
    _told(
        axes,
        f"impulse {effects.impulse:g} without any need",
        "readiness",
        "takes a plain offer",
        legend=False,
    )


def _think(effects: Effects, axes: Axes) -> None:
    hours = np.geomspace(0.005, 100, 200)
    for shade, kind in zip(SHADES, KINDS, strict=True):
        mean = effects.think * kind.half_life * effects.pace / HOUR
        if kind.name in ("ride", "groceries", "shoes", "travel") and mean > 0:
            axes.plot(hours, 1 - np.exp(-hours / mean), color=shade, label=kind.name)
    axes.set_xscale("log")
    _told(axes, f"think {effects.think:g}: from taking to paying", "hours (log)", "has paid")


def _loyal(effects: Effects, axes: Axes) -> None:
    people, _ = _population(effects)
    axes.hist(people.loyal, bins=50, range=(0, 1), color=SHADES[0])
    _told(
        axes, f"organic {effects.organic:g}: buys without any offer", "chance a need", "people", legend=False
    )


def _attention(effects: Effects, axes: Axes) -> None:
    count = np.arange(11)
    axes.plot(
        count,
        [attention(effects, n * effects.tired_of_card, False) for n in count],
        color=SHADES[0],
        label="cards",
    )
    axes.plot(
        count,
        [attention(effects, n * effects.tired_of_push, True) for n in count],
        color=SHADES[1],
        label="messages",
    )
    axes.set_ylim(0, 1.05)
    words = f"tired_of_card {effects.tired_of_card:g}, tired_of_push {effects.tired_of_push:g}"
    _told(axes, f"{words}, heard {effects.heard:g}", "contacts at once before", "gets through")


def _recovery(effects: Effects, axes: Axes) -> None:
    mood, at = Mood(), np.linspace(0, 14, 200)
    mood.tire(3 * effects.tired_of_push, 0, effects.recovery)
    axes.plot(
        at,
        [attention(effects, mood.fatigue(int(each * DAY), effects.recovery), True) for each in at],
        color=SHADES[1],
    )
    axes.set_ylim(0, 1.05)
    _told(
        axes,
        f"recovery {effects.recovery:g}: after three messages",
        "days",
        "the next gets through",
        legend=False,
    )


def _opting_out(effects: Effects, axes: Axes) -> None:
    count = np.arange(11)
    axes.bar(count, [100 * opts_out(effects, n * effects.tired_of_push) for n in count], color=SHADES[4])
    _told(
        axes,
        f"opt_out {effects.opt_out:g}: one too many",
        "messages at once before",
        "want no more, %",
        legend=False,
    )
