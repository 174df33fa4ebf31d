"""The effects of the town, drawn: what each parameter of `experiments.world.effects` does, at its default."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.world.effects import Effects
from experiments.world.needs import DAY, HOUR, KINDS
from experiments.world.response import Mood, appeal, attention, chances, opts_out
from kairos.simulate.needs_drawn import NEEDS
from kairos.simulate.panel import SHADES, Panel, label, population
from kairos.simulate.traces_drawn import TRACES

PRICE: Final = 22.0


def drawings(effects: Effects) -> Mapping[str, Figure]:
    """One figure for each part of docs/world.md."""
    return {
        "world-needs": _figure(effects, *NEEDS),
        "world-traces": _figure(effects, *TRACES),
        "world-offers": _figure(effects, _appeal, _gain, _touchy, _ready, _think, _loyal),
        "world-contacts": _figure(effects, _attention, _recovery, _opting_out),
    }


def _figure(effects: Effects, *draw: Panel) -> Figure:
    rows = -(-len(draw) // 3)
    figure, panels = plt.subplots(rows, 3, figsize=(12, 3.1 * rows), squeeze=False)
    for axes, one in zip(panels.ravel(), draw, strict=False):
        one(effects, axes)
        axes.title.set_fontsize(10)
    return figure


def _appeal(effects: Effects, axes: Axes) -> None:
    off = np.linspace(0, 0.4, 50)
    for shade, sense in zip(
        SHADES, (effects.price_sense / 2, effects.price_sense, 3 * effects.price_sense), strict=False
    ):
        axes.plot(
            100 * off, [appeal(effects, sense, each) for each in off], color=shade, label=f"sense {sense:g}"
        )
    label(
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
    label(axes, "Uplift: sure things bring nothing", "would have bought anyway", "gain, EUR")


def _touchy(effects: Effects, axes: Axes) -> None:
    by_itself = np.linspace(0, 1, 50)
    for shade, touchy in zip(SHADES, (False, True), strict=False):
        gains = [
            chances(effects, 0.8, q, effects.price_sense, touchy, PRICE, 0.0, 1.0).gain for q in by_itself
        ]
        axes.plot(by_itself, gains, color=shade, label="touchy" if touchy else "others")
    axes.axhline(0, color="#ddd", zorder=0)
    words = f"touchy {effects.touchy:g} of people, put_off {effects.put_off:g}"
    label(axes, words, "would have bought anyway", "gain, EUR")


def _ready(effects: Effects, axes: Axes) -> None:
    ready = np.linspace(0, 1, 50)
    takes = [chances(effects, r, 0.0, effects.price_sense, False, PRICE, 0.0, 1.0).take for r in ready]
    axes.plot(ready, takes, color=SHADES[0])
    label(axes, f"impulse {effects.impulse:g} without any need", "readiness", "takes a plain offer")


def _think(effects: Effects, axes: Axes) -> None:
    hours = np.geomspace(0.005, 100, 200)
    for shade, kind in zip(SHADES, KINDS, strict=True):
        mean = effects.think * kind.half_life * effects.pace / HOUR
        if kind.name in ("ride", "groceries", "shoes", "travel") and mean > 0:
            axes.plot(hours, 1 - np.exp(-hours / mean), color=shade, label=kind.name)
    axes.set_xscale("log")
    label(axes, f"think {effects.think:g}: from taking to paying", "hours (log)", "has paid")


def _loyal(effects: Effects, axes: Axes) -> None:
    people, _ = population(effects)
    axes.hist(people.loyal, bins=50, range=(0, 1), color=SHADES[0])
    label(axes, f"organic {effects.organic:g}: buys without any offer", "chance a need", "people")


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
    label(axes, f"{words}, heard {effects.heard:g}", "contacts at once before", "gets through")


def _recovery(effects: Effects, axes: Axes) -> None:
    mood, at = Mood(), np.linspace(0, 14, 200)
    mood.tire(3 * effects.tired_of_push, 0, effects.recovery)
    axes.plot(
        at,
        [attention(effects, mood.fatigue(int(each * DAY), effects.recovery), True) for each in at],
        color=SHADES[1],
    )
    axes.set_ylim(0, 1.05)
    label(axes, f"recovery {effects.recovery:g}: after three messages", "days", "the next gets through")


def _opting_out(effects: Effects, axes: Axes) -> None:
    count = np.arange(11)
    axes.bar(count, [100 * opts_out(effects, n * effects.tired_of_push) for n in count], color=SHADES[4])
    label(axes, f"opt_out {effects.opt_out:g}: one too many", "messages at once before", "want no more, %")
