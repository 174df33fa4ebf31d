"""`parity`: served rows drawn from the log, recomputed from it, and each feature's mismatch published."""

import random
import threading
import time
from collections.abc import Iterable
from typing import Any

import orjson
import redis
from rich.console import Console
from rich.table import Table

from events.bus import Bus, connect
from events.codec import decode
from events.counters import counters_key
from events.envelope import DECISION, Tick
from events.topics import BEHAVIOUR
from features.attribute_past import AttributePast
from features.declare import load as load_playbook
from features.everybody_store import read_kept
from features.feast_store import RedisStateStore
from features.plan import compile_plan
from kairos.history import everything
from kairos.settings import Settings
from kairos.verify import Parity, parity
from models import catalogue as offers
from models.record import DecisionRecord, unpack
from stream.swap import read_record

PROCESS = "parity"
"""Its counters: rows, mismatches, states, and for each feature `compared.NAME` and `mismatched.NAME`."""


def run(
    settings: Settings, *, sample: int, every_s: float | None, as_json: bool, stop: threading.Event
) -> int:
    """Compare `sample` served rows with the log, once or every `every_s` seconds; 1 when any differs."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    plan = compile_plan(load_playbook(settings.playbook))
    catalogue = offers.load(settings.playbook, plan, settings.catalogue)
    store = RedisStateStore(settings.redis, settings.project)
    bus = connect(settings.bus, timeout_s=settings.wait_s)
    seed = 0
    try:
        while True:
            past = AttributePast.read(plan, settings.run_dir)
            with redis.Redis.from_url(settings.redis) as client:
                plans, kept = read_record(client), read_kept(client, settings.partitions)
            served = drawn(bus, sample, seed)
            found = parity(
                *(bus, store, plan, catalogue, served), states=sample, past=past, plans=plans, kept=kept
            )
            publish(settings.redis, found)
            if as_json:
                print(orjson.dumps(_plain(found)).decode(), flush=True)
            else:
                _print(console, found)
            if every_s is None or stop.wait(every_s):
                return 1 if found.mismatches or found.states_differing else 0
            seed += 1
    finally:
        bus.close()
        store.close()


def drawn(bus: Bus, sample: int, seed: int = 0) -> list[DecisionRecord]:
    """At most `sample` of the decision records that the log holds, each as likely as any other."""
    chance = random.Random(seed)
    kept: list[bytes] = []
    for number, packed in enumerate(_records(bus)):
        if len(kept) < sample:
            kept.append(packed)
        elif (place := chance.randrange(number + 1)) < sample:
            kept[place] = packed
    return [unpack(packed) for packed in kept]


def _records(bus: Bus) -> Iterable[bytes]:
    for record in everything(bus, BEHAVIOUR):
        item = decode(record.value)
        if not isinstance(item, Tick) and item.type == DECISION:
            yield item.fields["record"]


def publish(url: str, found: Parity) -> None:
    """Leave what was found where `/metrics` looks, in place of what was found before."""
    told = {name: value for name, value in _plain(found).items() if name != "features"}
    for name, counts in features(found).items():
        told |= {f"{what}.{name}": count for what, count in counts.items()}
    with redis.Redis.from_url(url) as client:
        pipeline = client.pipeline(transaction=True)
        pipeline.delete(counters_key(PROCESS))
        pipeline.hset(counters_key(PROCESS), mapping=told)
        pipeline.execute()


def features(found: Parity) -> dict[str, dict[str, int]]:
    """How often each feature was compared and how often it differed, those that differed first."""
    names = sorted(found.compared, key=lambda name: (-found.features.get(name, 0), name))
    return {
        name: {"compared": found.compared[name], "mismatched": found.features.get(name, 0)} for name in names
    }


def _plain(found: Parity) -> dict[str, Any]:
    return {
        "at_ms": int(time.time() * 1_000),
        "rows": found.rows,
        "mismatches": found.mismatches,
        "behind": found.behind,
        "skipped": found.skipped,
        "states": found.states,
        "states_differing": found.states_differing,
        "features_differing": len(found.features),
        "features": features(found),
    }


def _print(console: Console, found: Parity) -> None:
    if found.features:
        table = Table(box=None, pad_edge=False)
        for name in ("feature", "compared", "mismatched"):
            table.add_column(name, justify="left" if name == "feature" else "right")
        for name, counts in features(found).items():
            if counts["mismatched"]:
                table.add_row(name, f"{counts['compared']:,}", f"{counts['mismatched']:,}")
        console.print(table)
    console.print(
        f"{found.mismatches:,} of {found.rows:,} served rows differ from the log in any of "
        f"{len(found.compared):,} features; {found.states_differing:,} of {found.states:,} states differ"
    )
    if found.behind:
        console.print(f"{found.behind:,} rows were decided while events were on their way to the state")
    if found.skipped:
        console.print(f"{found.skipped:,} rows are of another plan or catalogue and were not compared")
