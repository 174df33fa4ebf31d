"""The price of delay, drawn: what ours captures as it sees the world later."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kairos.simulate.tables import SCALES, scale, span

_OF_SCALES: Final = ("#c0392b", "#d9822b", "#2c9c69")
_DOTS: Final = "; small dots: one town each"


def price_of_delay(
    delay: Mapping[str, Any], slow: Mapping[str, Any], needs: Sequence[Mapping[str, Any]]
) -> Figure:
    """What ours captures as it sees the world later, where needs last as they do and where they last
    longer.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.9), width_ratios=(1.15, 1))
    every, times = [each["half_life_h"] for each in needs], slow["pace"] / delay["pace"]
    lines = (
        (delay, "#1b5e9e", "o", f"needs with half-lives of {span(every)}"),
        (slow, "#8d99ae", "s", f"{times:g} times as long: {span(times * each for each in every)}"),
    )
    for shift, (told, colour, marker, label) in enumerate(lines):
        _shares(left, told["delays"], colour, marker, label, 0.12 * shift)
    low, high = left.get_ylim()
    left.set_ylim(max(min(0.0, low), -1.0), min(max(1.25, high), 2.5))
    left.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    left.set_title("captured, of what is captured 1 s late", fontsize=10)
    left.legend(frameon=False, fontsize=9, loc="lower left")
    names = list(delay["delays"])
    for colour, some in zip(_OF_SCALES, SCALES, strict=True):
        label = scale(needs, some)
        values = [sum(delay["delays"][name]["by_need"][need] for need in some) for name in names]
        right.plot(range(len(names)), values, marker="o", ms=5, lw=2, color=colour, label=label)
        _dots(right, [
            [sum(one[need] for need in some) for one in delay["delays"][name]["by_need_by_seed"]]
            for name in names
        ], colour)  # fmt: skip
    right.set_ylim(min(0.0, right.get_ylim()[0]), 1.35 * max(right.get_ylim()[1], 0.01))
    right.set_title("by the half-life of the need", fontsize=10)
    right.set_ylabel("EUR a week a customer")
    right.legend(frameon=False, fontsize=9, loc="upper right")
    for axes in (left, right):
        axes.set_xticks(range(len(names)), names)
        axes.set_xlabel("how late decisions see the world" + (_DOTS if len(_towns(delay)) > 1 else ""))
    return figure


def _towns(told: Mapping[str, Any]) -> Sequence[float]:
    return next(iter(told["delays"].values()))["by_seed"]  # type: ignore[no-any-return]


def _dots(axes: Axes, told: Sequence[Sequence[float | None]], colour: str, shift: float = 0.0) -> None:
    """A dot for each town, beside what they come to together; one town is what it comes to."""
    for place, some in enumerate(told):
        known = [each for each in some if each is not None]
        if len(some) > 1:
            axes.plot(
                [place + shift] * len(known), known, "o", ms=3.2, mfc="white", mec=colour, mew=0.9, zorder=5
            )


def _shares(axes: Axes, told: Mapping[str, Any], colour: str, marker: str, label: str, shift: float) -> None:
    names = list(told)
    x = np.arange(len(names)) + shift
    shares = [told[name]["share"] or 0.0 for name in names]
    for place, name in zip(x, names, strict=True):
        if told[name]["share_ci"]:
            axes.plot(
                [place, place], told[name]["share_ci"], color=colour, lw=5, alpha=0.3, solid_capstyle="round"
            )
    axes.plot(x, shares, color=colour, marker=marker, ms=6, lw=2, label=label)
    _dots(axes, [told[name]["share_by_seed"] for name in names], colour, shift)
