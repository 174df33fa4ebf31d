"""The report's plots: what each arm captures, how it learns, and whom it tires."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from kairos.simulate.delay_drawn import price_of_delay

COLOURS: Final = {
    "oracle": "#3d4657",
    "ours": "#1b5e9e",
    "nightly": "#2c9c69",
    "linucb": "#d9822b",
    "thompson": "#8a5fb0",
    "popularity": "#8d99ae",
    "random": "#c3c9d5",
    "silence": "#e3e6ec",
}
SMOOTH: Final = 3
"""Days over which curves are smoothed."""


def captured(arms: Mapping[str, Any]) -> Figure:
    """What each arm captures, with its interval."""
    figure, axes = plt.subplots(figsize=(9, 3.0))
    names = list(reversed(list(arms)))
    for n, name in enumerate(names):
        low, high = arms[name]["gain_ci"] or (0.0, 0.0)
        axes.plot([low, high], [n, n], color=COLOURS[name], lw=6, alpha=0.45, solid_capstyle="round")
        axes.plot([arms[name]["gain"]], [n], "o", color=COLOURS[name], ms=8)
    axes.axvline(0, color="#ddd", zorder=0)
    axes.set_yticks(range(len(names)), [arms[name]["name"] for name in names])
    axes.set_xlabel("EUR of margin a week a customer over saying nothing, 95 % interval over customers")
    return figure


def learning(arms: Mapping[str, Any]) -> Figure:
    """What each arm captures day by day."""
    figure, axes = plt.subplots(figsize=(9, 3.6))
    for name, told in arms.items():
        days = np.array(told["by_day"]) * 7
        if name != "silence":
            style = "-" if name in ("ours", "oracle") else "--"
            axes.plot(
                _smooth(days),
                color=COLOURS[name],
                lw=2.4 if name == "ours" else 1.4,
                ls=style,
                label=told["name"],
            )
    axes.axhline(0, color="#ddd", zorder=0)
    axes.set_xlabel("day")
    axes.set_ylabel(f"EUR a week a customer,\nover {SMOOTH} days")
    _legend_above(axes, 3)
    return figure


def cold_start(newcomer: Mapping[str, Any]) -> Figure:
    """How often each arm makes the new offer where it is truly the best one."""
    figure, axes = plt.subplots(figsize=(9, 3.0))
    for name, told in newcomer["arms"].items():
        if name not in ("oracle", "silence"):
            rates = [np.nan if rate is None else 100 * rate for rate in told["new"]]
            axes.plot(
                rates,
                color=COLOURS[name],
                lw=2.4 if name == "ours" else 1.4,
                marker="o",
                ms=3,
                label=told["name"],
            )
            if told["old"] is not None:
                axes.axhline(100 * told["old"], color=COLOURS[name], lw=0.8, ls=":")
    axes.set_xlabel(
        "days since the offer appeared (dotted: how often old offers are made where they are best)"
    )
    axes.set_ylabel("% of moments")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend_above(axes, 6)
    return figure


def contacts(arms: Mapping[str, Any]) -> Figure:
    """Contacts and what too many of them do."""
    figure, panels = plt.subplots(1, 3, figsize=(10, 2.9), sharey=True)
    names = [name for name in reversed(list(arms)) if name != "silence"]
    shown = (
        ("cards and messages a week a customer", ("cards", "messages"), 1.0),
        ("messages switched off, % of customers", ("opted_out",), 100.0),
        ("given away as discounts, EUR a week a customer", ("given_away",), 1.0),
    )
    for axes, (words, parts, unit) in zip(panels, shown, strict=True):
        for n, name in enumerate(names):
            left = 0.0
            for alpha, part in zip(_SHADES, parts, strict=False):
                axes.barh(n, unit * arms[name][part], left=left, color=COLOURS[name], alpha=alpha)
                left += unit * arms[name][part]
        axes.set_xlim(0, max(axes.get_xlim()[1], 1.0))
        axes.set_xlabel(words, fontsize=8)
    panels[0].set_yticks(range(len(names)), [arms[name]["name"] for name in names])
    shades = [Patch(color=COLOURS["oracle"], alpha=alpha) for alpha in _SHADES]
    panels[0].legend(
        shades,
        ("cards", "messages"),
        frameon=False,
        fontsize=8,
        ncols=2,
        loc="lower center",
        bbox_to_anchor=(0.5, 1),
    )
    return figure


_SHADES: Final = (1.0, 0.5)
"""Of cards and of messages."""


def _legend_above(axes: Axes, columns: int) -> None:
    """Inside, it would lie on some line: nobody knows where the lines of a run go."""
    axes.legend(frameon=False, fontsize=9, ncols=columns, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _smooth(days: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    width = min(SMOOTH, len(days))
    return np.convolve(days, np.ones(width) / width, mode="valid")


def svg(figure: Figure) -> str:
    """The figure as part of a page."""
    _tidy(figure)
    target = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "kairos"}):  # else its parts have other names each time
        figure.savefig(target, format="svg", metadata={"Date": None})
    plt.close(figure)
    text = target.getvalue()
    return text[text.index("<svg") :]


def png(figure: Figure) -> bytes:
    """The figure as a file of its own."""
    _tidy(figure)
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=130, metadata={"Software": None})
    plt.close(figure)
    return target.getvalue()


def _tidy(figure: Figure) -> None:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()


def every(report: Mapping[str, Any]) -> Sequence[tuple[str, Figure]]:
    """The report's figures, each with its name."""
    newcomers = [(f"cold-{each['offer']}", cold_start(each)) for each in report["newcomers"]]
    return [
        ("captured", captured(report["arms"])),
        ("learning", learning(report["arms"])),
        ("contacts", contacts(report["arms"])),
        ("delay", price_of_delay(report["delay"], report["delay_slow"], report["needs"])),
        *newcomers,
    ]
