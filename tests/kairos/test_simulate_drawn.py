"""The drawings of docs/world.md: a panel for every effect, each by the town's own functions."""

from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from experiments.world.diary import drifted
from experiments.world.effects import Effects
from kairos.simulate.effects_drawn import drawings
from kairos.simulate.panel import SEED, population


@pytest.fixture
def figures() -> Iterator[list[Figure]]:
    yield list(drawings(Effects()).values())
    plt.close("all")


def test_every_effect_has_a_panel_that_says_its_default(figures: list[Figure]) -> None:
    told = []
    for figure in figures:
        for axes in figure.axes:
            legend = axes.get_legend()
            told += [axes.get_title(), *([each.get_text() for each in legend.get_texts()] if legend else [])]
    words = " | ".join(told)
    assert [name for name, value in asdict(Effects()).items() if f"{name} {value:g}" not in words] == []


def test_tastes_are_drawn_as_they_drift(figures: list[Figure]) -> None:
    (panel,) = (axes for figure in figures for axes in figure.axes if axes.get_title().startswith("drift"))
    day, people = np.arange(57), population(Effects(), 6)[0]
    lines = [line.get_ydata() for line in panel.get_lines()]
    np.testing.assert_array_equal(lines, [drifted(move, 0.5, day) for move in people.moves[:, 0]])


def test_tastes_drift_and_are_what_they_were_in_the_mean() -> None:
    moves = np.random.Generator(np.random.PCG64(SEED)).standard_normal((40_000, 1))
    times = drifted(moves, 0.5, np.array([0, 28, 56]))
    assert times.mean(axis=0) == pytest.approx([1, 1, 1], rel=0.02)
    assert np.log(times).std(axis=0) == pytest.approx([0, 0.5, 0.5 * 2**0.5], rel=0.02)


@pytest.mark.parametrize("none", [("needs", "bots", "visits", "browsing", "looks"), ("think", "looks")])
def test_what_does_not_happen_can_be_drawn(none: tuple[str, ...]) -> None:
    assert len(drawings(Effects().changed(dict.fromkeys(none, 0.0)))) == 4
    plt.close("all")
