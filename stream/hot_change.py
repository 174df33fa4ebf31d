"""Triggers that change while the fold runs: the folder is looked after, and a plan is made off the hot path.

Only `triggers.toml` may change under a running process; whatever else differs, or is at fault, is refused
whole, and the plan before goes on.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from events.faults import Fault, PlaybookRefused, Refusal
from features.declare import load
from features.plan import Plan, compile_plan
from features.storage import storage_of

FILE: Final = "triggers.toml"
OTHERS: Final = ("playbook.toml", "events.toml", "attributes.toml")
LOOK_S: Final = 0.1
"""A change is taken up at the second look that finds it: by then its writer has come to an end."""

REFUSED: Final = "triggers_refused"
CHANGED: Final = "triggers_changed"

log = logging.getLogger("kairos.behaviour")


class HotPlan:
    """The plan to fold by: that of the folder as it stood at first, then with each good change of triggers.

    `over` is set while the fold has to end: there is a newer plan to `take`, or `stop` is set. `count` hears
    `REFUSED` and `CHANGED`, from a thread of its own. Errors: `PlaybookRefused` of the folder at first.
    """

    def __init__(self, folder: Path, stop: threading.Event, count: Callable[[str], None]) -> None:
        self._folder = folder
        self._stop = stop
        self._count = count
        self._changed = threading.Event()
        self.over: threading.Event = _Either(stop, self._changed)
        # Before the playbook is read: what is written meanwhile is a change.
        self._others = {name: _digest(folder / name) for name in OTHERS}
        self._seen = _stamp(folder / FILE)
        self._judged = _digest(folder / FILE)
        self._settled = True
        self._refused = False
        self._newest = compile_plan(load(folder))

    def take(self) -> Plan:
        """The newest plan, to fold by from now on."""
        self._changed.clear()
        return self._newest

    def watch(self) -> None:
        """Look after the folder until `stop` is set, in a thread of its own."""
        threading.Thread(target=self._watch, name="triggers", daemon=True).start()

    def look(self) -> None:
        """Look once: whether the file has another content, and if so, whether it is good."""
        stamp = _stamp(self._folder / FILE)
        if stamp != self._seen:
            self._seen, self._settled = stamp, False
            return
        if self._settled:
            return
        self._settled = True
        digest = _digest(self._folder / FILE)
        if digest == self._judged:
            return
        began = time.perf_counter()
        try:
            plan = self._judge()
        except Refusal as refused:
            log.error("%s is refused, the triggers before go on: %s", self._folder / FILE, refused)
            self._count(REFUSED)
            self._judged, self._refused = digest, True
            return
        if digest != _digest(self._folder / FILE):  # written while it was read
            self._settled = False
            return
        self._judged = digest
        if self._refused and plan.digest == self._newest.digest:
            log.warning("%s is in order again: the triggers that went on", self._folder / FILE)
        self._refused = False
        if plan.digest != self._newest.digest:
            log.warning(
                "%s: plan %s is to follow plan %s, read in %.0f ms: %s",
                *(self._folder / FILE, plan.digest, self._newest.digest),
                *((time.perf_counter() - began) * 1_000, _difference(self._newest, plan)),
            )
            self._newest = plan
            self._count(CHANGED)
            self._changed.set()

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                self.look()
            except Exception:
                log.exception("looking after %s; the triggers before go on", self._folder / FILE)
                self._count(REFUSED)

    def _judge(self) -> Plan:
        """The plan of the folder as it stands. Errors: `PlaybookRefused`."""
        other = [name for name, digest in self._others.items() if _digest(self._folder / name) != digest]
        if other:
            expected = "the file as it was when the process started"
            hint = "restart the processes: while they run only triggers.toml may change"
            raise PlaybookRefused([Fault(name, "", expected, "another", hint) for name in other])
        plan = compile_plan(load(self._folder))
        held = storage_of(self._newest).keys
        new = [each.name for each in storage_of(plan).stored if each.key not in held]
        if new:
            expected = "only counts that are kept already"
            hint = "restart the behaviour processes and run the backfill: nobody has counted it until now"
            raise PlaybookRefused(
                [
                    Fault(FILE, f"trigger {name.removesuffix('_nth')}: nth", expected, "a new one", hint)
                    for name in new
                ]
            )
        return plan


class _Either(threading.Event):
    """Set while one of two is; waits for the first of them closely, and for the other at short intervals."""

    def __init__(self, stop: threading.Event, changed: threading.Event) -> None:
        super().__init__()
        self._stop, self._changed = stop, changed

    def is_set(self) -> bool:
        return self._stop.is_set() or self._changed.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        ends = float("inf") if timeout is None else time.monotonic() + timeout
        while not self.is_set() and (left := ends - time.monotonic()) > 0:
            self._stop.wait(min(left, LOOK_S))
        return self.is_set()


def _difference(before: Plan, after: Plan) -> str:
    """What changed, in words."""
    old, new = storage_of(before).triggers, storage_of(after).triggers
    ours = [each.name for each in after.playbook.triggers]
    theirs = [each.name for each in before.playbook.triggers]
    told = {
        "added": [name for name in ours if name not in old],
        "changed": [name for name in ours if name in old and old[name] != new[name]],
        "removed": [name for name in theirs if name not in new],
    }
    return "; ".join(f"{what} {', '.join(names)}" for what, names in told.items() if names) or "another order"


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _digest(path: Path) -> bytes:
    try:
        return hashlib.blake2b(path.read_bytes()).digest()
    except OSError:
        return b""
