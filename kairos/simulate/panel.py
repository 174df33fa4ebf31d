"""One panel of a drawing: how it is labelled, and the people whom it is drawn of."""

from collections.abc import Callable
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from experiments.world.diary import Needs, Visits, needs_of, visits_of
from experiments.world.effects import Effects
from experiments.world.happening import START
from experiments.world.needs import Curve
from experiments.world.people import People

Panel = Callable[[Effects, Axes], None]
SHADES: Final = ("#1b5e9e", "#d9822b", "#2c9c69", "#8a5fb0", "#c0392b", "#8d99ae", "#3d4657", "#b8a12f")
PEOPLE, DAYS, SEED = 4_000, 28, 1


def label(axes: Axes, title: str, x: str, y: str) -> None:
    """What it shows, and along which axes."""
    axes.set_title(title)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=8)


def density(axes: Axes, values: NDArray[Any], bins: int, low: float, high: float, **style: Any) -> None:
    """A histogram whose area is 1, of those from `low` to `high`; of nobody it is flat."""
    inside = values[(values >= low) & (values <= high)]
    weights = np.full(len(inside), bins / (high - low) / max(len(inside), 1))
    axes.hist(inside, bins=bins, range=(low, high), weights=weights, **style)


def population(effects: Effects, people: int = PEOPLE) -> tuple[People, np.random.Generator]:
    """So many people, and the chance that goes on with them."""
    rng = np.random.Generator(np.random.PCG64(SEED))
    return People.draw(effects, rng, people, DAYS), rng


def needing(effects: Effects, people: int = PEOPLE, days: int = DAYS) -> Needs:
    """What they need, as the town has it."""
    some, rng = population(effects, people)
    return needs_of(some, effects, Curve.of(effects.rise), rng, START, days)


def visiting(effects: Effects, people: int = PEOPLE) -> tuple[People, Needs, Visits, np.random.Generator]:
    """What they need, and when they come, as the town has it."""
    some, rng = population(effects, people)
    curve = Curve.of(effects.rise)
    needs = needs_of(some, effects, curve, rng, START, DAYS)
    return some, needs, visits_of(some, needs, effects, curve, rng, START, DAYS), rng
