"""`bench freshness`: how long until an event is in the row, and in the answer to `POST /v1/decisions`.

While other customers' events flow at a steady rate, somebody nobody has met does something, and is looked
for: in the store, and at the door until the answer no longer says that the customer is unknown. The clock
starts before the event is published. Where the machine cannot keep up with the rate it is lowered, and said.
"""

import http.client
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from features.declare import load
from features.feast_store import RedisStateStore
from features.fold import decode
from features.plan import Plan, compile_plan
from features.row import row
from kairos.bench.cut import visible
from kairos.bench.measure import machine, revision, spread
from kairos.bench.population import Past, introduce
from kairos.bench.rig import BenchFailed, Rig
from kairos.bench.traffic import traffic_of
from models import catalogue

WANTED: Final = 10_000
BEHIND_S: Final = 0.5
"""So many seconds of events may wait, at most, for the rate to count as kept up with."""

KEPT: Final = 0.75
"""Counts are told once a second: so much of the rate, seen over some seconds, is all of it."""

LEAST: Final = 50
"""Nothing slower is tried: then what is too much is measured, and said to be."""

SETTLE_S: Final = 5.0
NAP_S: Final = 0.0005
PAUSE_S: Final = 0.01
LONGEST_S: Final = 60.0
WARM: Final = 5
READY_S: Final = 240.0

Say = Callable[[str], None]


class Sizes(NamedTuple):
    """How large the benchmark is."""

    rate: int = WANTED
    seconds: float = 20.0
    customers: int = 20_000


def run(folder: Path, sizes: Sizes, say: Say, table: Path | None = None) -> dict[str, Any]:
    """Measure it; `table` is the table of offers where the playbook asks for one. Errors: `BenchFailed`."""
    playbook = load(folder)
    plan = compile_plan(playbook)
    placement = next(iter(catalogue.load(folder, plan, table).placements))
    with (
        tempfile.TemporaryDirectory(prefix="kairos-bench-") as place,
        Rig(playbook, clock="wall", catalogue=table) as rig,
    ):
        say(f"{visible(playbook):,} features: compiling what is not compiled yet")
        past = Past(plan, 1, 1, int(time.time() * 1000) - 1)
        row(plan, decode(plan, past.states[0][0]), int(time.time() * 1000), None)
        traffic = traffic_of(playbook, sizes.customers, seed=3)
        introduce(rig.redis, traffic, [traffic.minted(n) for n in range(sizes.customers)])
        say("starting intake, behaviour and serve")
        for name in ("intake", "behaviour", "serve"):
            rig.start(name, "-m", "kairos", name)
        _ready(rig)
        steady = steady_rate(rig, sizes.rate, sizes.customers, Path(place) / "rate", say)
        say(f"{steady.rate:,} events/s: asking for what has just happened, for {2 * sizes.seconds:.0f} s")
        probe = _Probe(rig, plan, placement)
        began, before = time.monotonic(), rig.logged()
        try:
            rows = probe.repeat(probe.row_ms, sizes.seconds)
            decisions = probe.repeat(probe.decision_ms, sizes.seconds)
            flowed = (rig.logged() - before) / (time.monotonic() - began)
            lag = lag_of(rig)
        finally:
            probe.close()
        rig.stop("publisher")
    return {
        "bench": "freshness",
        "revision": revision(),
        "machine": machine(),
        "playbook": playbook.name,
        **sizes._asdict(),
        "features": visible(playbook),
        "events_per_s": round(flowed),
        "wanted_per_s": sizes.rate,
        "kept_up": steady.kept_up,
        "waiting_at_the_end": lag,
        "event_to_row_ms": spread(rows, 1),
        "event_to_decision_ms": spread(decisions, 1),
        "probes": {"row": len(rows), "decision": len(decisions)},
    }


class _Probe:
    """Customers nobody has met, one after the other, and how long until they are known."""

    def __init__(self, rig: Rig, plan: Plan, placement: str) -> None:
        self._rig = rig
        self._plan = plan
        self._placement = placement
        self._traffic = traffic_of(rig.playbook, 10_000_000, seed=4, prefix="q")
        self._number = 0
        self._store = RedisStateStore(rig.settings.redis, rig.settings.project)
        self._door = http.client.HTTPConnection(rig.settings.host, rig.settings.port, timeout=LONGEST_S)

    def close(self) -> None:
        self._door.close()
        self._store.close()

    def repeat(self, probe: Callable[[], float], seconds: float) -> list[float]:
        """Ask again and again for so long, once a few have warmed everything up."""
        found: list[float] = []
        ends = time.monotonic()
        while len(found) <= WARM or time.monotonic() < ends:
            found.append(probe())
            if len(found) == WARM:
                ends = time.monotonic() + seconds
            self._rig.check()
            time.sleep(PAUSE_S)
        return found[WARM:]

    def row_ms(self) -> float:
        """From before an event is published until a row holds it."""
        customer, began = self._happen()
        while True:
            (blob,) = self._store.read_many([customer])
            if blob is not None:
                now = int(time.time() * 1000) + 1
                state = decode(self._plan, blob)
                row(self._plan, state, max(now, state.newest + 1), now)
                return 1000 * (time.monotonic() - began)
            self._wait(began, "the store")

    def decision_ms(self) -> float:
        """From before an event is published until the answer to a decision knows of it."""
        _, began = self._happen()
        kind = self._traffic.kinds[0]
        body = {"customer": f"{kind}:{self._traffic.id_of(self._number, kind)}", "placement": self._placement}
        while True:
            self._door.request(
                "POST", "/v1/decisions", json.dumps(body), {"Content-Type": "application/json"}
            )
            response = self._door.getresponse()
            answer = response.read()
            if response.status != 200:
                raise BenchFailed(
                    f"POST /v1/decisions: expected 200, found {response.status}: {answer[:300]!r}"
                )
            if not orjson.loads(answer)["unknown_customer"]:
                return 1000 * (time.monotonic() - began)
            self._wait(began, "decisions")

    def _happen(self) -> tuple[str, float]:
        """Something happens to a new customer, now: who, and when we began to publish it."""
        self._number += 1
        # Whoever is known by the first kind of id is who is asked for: other types of event name other ids.
        while True:
            (chunk,) = self._traffic.events(1, int(time.time() * 1000), 0.0, [self._number])
            if chunk[0].key.decode() == self._traffic.id_of(self._number, self._traffic.kinds[0]):
                break
        began = time.monotonic()
        self._rig.publish(chunk)
        return self._traffic.minted(self._number), began

    def _wait(self, began: float, where: str) -> None:
        if time.monotonic() - began > LONGEST_S:
            raise BenchFailed(f"freshness: expected an event in {where} within {LONGEST_S:.0f} s")
        time.sleep(NAP_S)


class Steady(NamedTuple):
    """Events published a second, and whether that is what was asked for and the machine keeps up with it."""

    rate: int
    kept_up: bool


def steady_rate(rig: Rig, wanted: int, customers: int, file: Path, say: Say) -> Steady:
    """Publish at the rate asked for, or at the highest of a few lower ones that the machine keeps up with.

    Errors: `BenchFailed` when nothing is folded at all.
    """
    rate = wanted
    file.write_text("100")
    rig.start("publisher", "-m", "kairos.bench.publisher", str(file), str(customers))
    _until(rig, lambda: rig.folded() > 100, "events to be folded")
    while True:
        say(f"publishing {rate:,} events/s")
        file.write_text(str(rate))
        time.sleep(SETTLE_S / 5)
        done = _rate(rig, SETTLE_S)
        lag = lag_of(rig)
        if lag <= rate * (BEHIND_S + rig.flush_s) and done >= KEPT * rate:
            return Steady(rate, rate == wanted)
        say(f"   that is too much here: {done:,.0f} events/s were folded, {lag:,} wait")
        if rate <= LEAST:
            if done <= 0:
                raise BenchFailed(
                    f"expected some of {rate} events/s to be folded, found none in {SETTLE_S:.0f} s; "
                    "the machine is too busy"
                )
            return Steady(rate, False)
        lower = min(0.6 * rate, 0.7 * done)
        rate = max(LEAST, int(lower // 100 * 100 if lower >= 100 else lower))
        file.write_text("0")
        _until(rig, lambda: lag_of(rig) == 0, "what waits to be folded")


def _rate(rig: Rig, seconds: float) -> float:
    """Records folded a second, over so many seconds."""
    before = rig.folded(), time.monotonic()
    ends = before[1] + seconds
    while time.monotonic() < ends:
        rig.check()
        time.sleep(0.05)
    return (rig.folded() - before[0]) / (time.monotonic() - before[1])


def _until(rig: Rig, there: Callable[[], bool], what: str) -> None:
    ends = time.monotonic() + READY_S
    while not there():
        rig.check()
        if time.monotonic() > ends:
            raise BenchFailed(f"freshness: expected {what} within {READY_S:.0f} s")
        time.sleep(0.05)


def lag_of(rig: Rig) -> int:
    """Events that wait: for intake, and behind it for the fold."""
    return rig.unread() + rig.logged() - rig.folded()


def _ready(rig: Rig) -> None:
    ends = time.monotonic() + READY_S
    reason = "no answer"
    while time.monotonic() < ends:
        rig.check()
        door = http.client.HTTPConnection(rig.settings.host, rig.settings.port, timeout=2)
        try:
            door.request("GET", "/health/ready")
            answer = door.getresponse()
            reason = answer.read().decode(errors="replace")
            if answer.status == 200:
                return
        except OSError as error:
            reason = str(error)
        finally:
            door.close()
        time.sleep(0.1)
    raise BenchFailed(f"serve: expected it ready within {READY_S:.0f} s, found: {reason}")
