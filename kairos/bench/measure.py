"""What a benchmark measures with: processor time, percentiles, the machine, and a word now and then."""

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_ROOT = Path(__file__).parent.parent.parent


THIRDS: Final = 3


class Reading(NamedTuple):
    """How far a process was at an instant: records done, its seconds of processor, when that was (s)."""

    done: int
    cpu_s: float
    at: float


def cpu_s(pid: int) -> float:
    """Processor time, user and system, that a process has used so far (Linux), s; to a hundredth."""
    # Behind the name in brackets, which may hold blanks: state is field 3, utime and stime are 14 and 15.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def redis_cpu_s(redis: Any) -> float:
    """Processor time that a Redis has used so far, as its INFO says, s."""
    info = redis.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


def median(values: Iterable[float]) -> float:
    """The middle one.

    >>> median([3.0, 1.0, 2.0])
    2.0
    """
    return float(np.median(list(values)))


def spread(values: Sequence[float], digits: int = 3, *, largest: bool = False) -> dict[str, float]:
    """The median and the 99th percentile; with `largest` the 95th and the maximum too.

    >>> spread([1.0, 2.0, 3.0, 10.0], largest=True)
    {'p50': 2.5, 'p95': 8.95, 'p99': 9.79, 'max': 10.0}
    """
    if not len(values):
        return {}
    found = {f"p{q}": round(float(np.percentile(values, q)), digits) for q in (50, 95, 99)}
    if largest:
        return found | {"max": round(float(max(values)), digits)}
    del found["p95"]
    return found


def ratio(a: float | None, b: float | None) -> float | None:
    """How many times `b` goes into `a`, to two places; None where one of them is nothing.

    >>> ratio(10.0, 4.0), ratio(1.0, 0.0)
    (2.5, None)
    """
    return round(a / b, 2) if a and b else None


def per_core(cpu_us: float | None) -> int | None:
    """How many a second one core does of what takes so many microseconds of it.

    >>> per_core(20.0)
    50000
    """
    return round(1e6 / cpu_us) if cpu_us else None


def steady_us(readings: Sequence[Reading], warm: int) -> float:
    """Microseconds of processor for each record behind the first `warm`, the median of thirds.

    A run so short that it was hardly seen at work is charged with its start as well.
    """
    steady = [reading for reading in readings if reading.done >= warm]
    whole = readings[-1]
    if not steady or whole.done - steady[0].done < (whole.done - warm) / 2:
        return 1e6 * whole.cpu_s / max(whole.done, 1)
    first, last = steady[0].done, whole.done
    ends = [first + (last - first) * n / THIRDS for n in range(THIRDS + 1)]
    places = sorted(
        {min(range(len(steady)), key=lambda n, end=end: abs(steady[n].done - end)) for end in ends}  # type: ignore[misc]
    )
    each = [
        1e6 * (steady[b].cpu_s - steady[a].cpu_s) / (steady[b].done - steady[a].done)
        for a, b in pairwise(places)
    ]
    return median(each)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def revision() -> str:
    """The commit of this checkout, with `+` when files differ from it; unknown without git."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    told = [
        subprocess.run([git, "-C", str(_ROOT), *words], capture_output=True, text=True, check=False)
        for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
    ]
    if any(each.returncode for each in told):
        return "unknown"
    return told[0].stdout.strip() + ("+" if told[1].stdout.strip() else "")


def teller(quiet: bool = False) -> Callable[[str], None]:
    """Says what is being done, with the seconds since the start, on standard error."""
    began = time.monotonic()

    def say(line: str) -> None:
        if not quiet:
            print(f"[{time.monotonic() - began:5.0f} s] {line}", file=sys.stderr, flush=True)

    return say


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
