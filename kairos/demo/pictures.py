"""The report's plots, drawn as SVG so that the page needs no other file."""

import io
import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.dates import date2num
from matplotlib.figure import Figure

COLOURS = {
    "blend": "#1b5e9e",
    "lightgbm": "#2c9c69",
    "river": "#d9822b",
    "popularity_household": "#8a5fb0",
    "popularity": "#8d99ae",
    "random": "#c3c9d5",
}
MOST_LABELS = 10
SHADES = ("#1b5e9e", "#d9822b", "#2c9c69", "#8a5fb0")


@dataclass(frozen=True)
class Pictures:
    """What the plots show: `curve` is per method a list of (period, AUC), `fired` (trigger, ms) pairs."""

    curve: Mapping[str, Sequence[tuple[str, float]]]
    trained: str | None
    decision_ms: Sequence[float]
    fired: Sequence[tuple[str, int]]

    def learning(self) -> str:
        """AUC by period, each model against the baselines."""
        figure, axes = plt.subplots(figsize=(9, 3.6))
        periods = sorted({period for points in self.curve.values() for period, _ in points})
        for method, points in self.curve.items():
            if points:
                axes.plot(
                    [periods.index(period) for period, _ in points],
                    [auc for _, auc in points],
                    marker="o",
                    ms=4,
                    lw=2 if method in ("blend", "lightgbm", "river") else 1.3,
                    ls="-" if method in ("blend", "lightgbm", "river") else "--",
                    color=COLOURS[method],
                    label=method.replace("_", " x "),
                )
        axes.axhline(0.5, color="#ddd", zorder=0)
        if self.trained in periods:
            axes.axvline(periods.index(self.trained), color="#2c9c69", lw=1, ls=":")
            axes.text(periods.index(self.trained), 0.33, " LightGBM trained", color="#2c9c69", fontsize=9)
        step = len(periods) // MOST_LABELS + 1
        axes.set_xticks(range(0, len(periods), step), periods[::step])
        axes.set_ylabel("AUC of the period")
        axes.set_ylim(0.3, 1.0)
        axes.legend(frameon=False, ncols=3, fontsize=9, loc="upper left")
        return _svg(figure)

    def latency(self) -> str:
        """How the decisions' round trips are spread."""
        figure, axes = plt.subplots(figsize=(9, 2.8))
        times = sorted(self.decision_ms)
        if times:
            shares = [100 * (i + 1) / len(times) for i in range(len(times))]
            step = max(1, len(times) // 2_000)
            axes.plot(times[::step], shares[::step], color=COLOURS["blend"], lw=2)
            for share in (50, 99):
                at = times[min(len(times) - 1, int(len(times) * share / 100))]
                axes.axhline(share, color="#ddd", lw=1, zorder=0)
                axes.annotate(
                    f"p{share}  {at:.1f} ms", (at, share), (6, -12), textcoords="offset points", fontsize=9
                )
            axes.set_xscale("log")
        axes.set_xlabel("round trip over HTTP, ms (log)")
        axes.set_ylabel("% of decisions")
        return _svg(figure)

    def triggers(self) -> str:
        """Fired triggers by week, stacked by trigger."""
        figure, axes = plt.subplots(figsize=(9, 2.8))
        weeks: dict[str, Counter[date]] = defaultdict(Counter)
        for name, at in self.fired:
            day = datetime.fromtimestamp(at / 1000, UTC).date()
            weeks[name][day - timedelta(days=day.weekday())] += 1
        below: Counter[date] = Counter()
        for name, colour in zip(sorted(weeks), itertools.cycle(SHADES), strict=False):
            fired = weeks[name]
            starts = [float(date2num(week)) for week in fired]
            base = [below[week] for week in fired]
            axes.bar(starts, list(fired.values()), 6, base, color=colour, label=name)
            below.update(fired)
        axes.set_ylabel("fired a week")
        if weeks:
            axes.legend(frameon=False, fontsize=9)
            axes.xaxis_date()
        return _svg(figure)

    @staticmethod
    def quality(quality: Mapping[str, Any]) -> str:
        """AUC of every method with its interval."""
        figure, axes = plt.subplots(figsize=(9, 2.4))
        methods = [
            m for m in reversed(COLOURS) if quality.get(m) is not None and quality[m]["auc"] is not None
        ]
        for n, method in enumerate(methods):
            low, high = quality[method]["auc_ci"]
            axes.plot([low, high], [n, n], color=COLOURS[method], lw=5, alpha=0.45, solid_capstyle="round")
            axes.plot([quality[method]["auc"]], [n], "o", color=COLOURS[method], ms=7)
        axes.set_yticks(range(len(methods)), [m.replace("_", " x ") for m in methods])
        axes.set_ylim(-0.6, len(methods) - 0.4)
        axes.set_xlabel("AUC, 95 % interval over households")
        return _svg(figure)


def _svg(figure: Figure) -> str:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    target = io.StringIO()
    figure.savefig(target, format="svg", metadata={"Date": None})
    plt.close(figure)
    text = target.getvalue()
    return text[text.index("<svg") :]
