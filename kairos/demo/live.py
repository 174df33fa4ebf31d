"""The live view of a replay: a table that moves on a terminal, a line now and then elsewhere."""

import time
from dataclasses import dataclass, field
from types import TracebackType

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

LINE_EVERY_S = 5.0


@dataclass
class Pulse:
    """What the view shows; the replay writes it, the view reads it."""

    day: str = "-"
    days: int = 0
    events: int = 0
    decisions: int = 0
    learned: int = 0
    triggers: int = 0
    pushes: int = 0
    dead_letters: int = 0
    models: str = "prior"
    decision_ms: list[float] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    @property
    def events_per_s(self) -> float:
        """Events per second of the whole replay so far, waits and training included."""
        return self.events / max(time.perf_counter() - self.started, 1e-9)

    def latency(self, newest: int = 2_000) -> tuple[float, float]:
        """p50 and p99 of the newest decisions, ms."""
        if not self.decision_ms:
            return 0.0, 0.0
        p50, p99 = np.percentile(self.decision_ms[-newest:], [50, 99])
        return float(p50), float(p99)


class LiveView:
    """Shows a `Pulse` while the replay runs."""

    def __init__(self, pulse: Pulse, days: int, console: Console) -> None:
        self._pulse = pulse
        self._days = days
        self._console = console
        self._progress = Progress(
            TextColumn("replaying 2017"),
            BarColumn(40),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task: TaskID = self._progress.add_task("-", total=days)
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self._render, transient=True)
        self._last_line = 0.0

    def __enter__(self) -> "LiveView":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def beat(self) -> None:
        """The pulse moved on: print a line when nobody watches a terminal."""
        self._progress.update(self._task, completed=self._pulse.days, description=self._pulse.day)
        if not self._console.is_terminal and time.monotonic() - self._last_line > LINE_EVERY_S:
            self._last_line = time.monotonic()
            p = self._pulse
            p50, p99 = p.latency()
            self._console.print(
                f"{p.day}  {p.events:>9,} events ({p.events_per_s:>6,.0f}/s)  {p.decisions:>6,} decisions "
                f"(p50 {p50:.1f} ms, p99 {p99:.1f} ms)  {p.learned:>6,} outcomes learned  "
                f"{p.triggers:,} triggers  {p.pushes:,} pushes  [{p.models}]",
                highlight=False,
                soft_wrap=True,
            )

    def _render(self) -> Table:
        p = self._pulse
        p50, p99 = p.latency()
        timing = f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"
        table = Table.grid(padding=(0, 3))
        for left, value, right, other in (
            ("events", f"{p.events:,}  ({p.events_per_s:,.0f}/s)", "triggers fired", f"{p.triggers:,}"),
            ("decisions", f"{p.decisions:,}  ({timing})", "push commands", f"{p.pushes:,}"),
            ("outcomes learned", f"{p.learned:,}", "dead letters", f"{p.dead_letters:,}"),
            ("scoring with", p.models, "", ""),
        ):  # fmt: skip
            table.add_row(f"[dim]{left}[/]", value, f"[dim]{right}[/]", other)
        outer = Table.grid()
        outer.add_row(self._progress)
        outer.add_row(table)
        return outer
