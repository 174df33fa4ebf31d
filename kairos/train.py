"""Train the batch model of a placement on what was served, and let the registry name it."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import redis
from rich.console import Console

from events import topics
from events.bus import Bus, connect
from events.codec import decode
from events.envelope import DECISION, OUTCOME, Tick
from events.faults import Fault, PlaybookRefused, did_you_mean
from experiments.attribution import Attribution, Example
from experiments.registry import Registry
from experiments.training import TooFew, train
from features.attribute_past import AttributePast
from features.declare import load as load_playbook
from features.everybody_store import read_kept
from features.feast_store import RedisStateStore
from features.plan import Plan, compile_plan
from kairos.history import everything
from kairos.settings import Settings
from kairos.verify import parity
from models import catalogue as offers
from models.catalogue import Catalogue
from models.online import online_key, registered_name
from models.record import DecisionRecord, unpack
from models.scorers.river_propensity import RiverScorer
from stream.swap import read_record

AUDITED = 200
NOT_YET = 4


@dataclass(frozen=True)
class Log:
    """What the log of behaviour teaches about one placement."""

    examples: list[Example]
    served: list[DecisionRecord]


def run(settings: Settings, *, placements: Sequence[str], alias: str) -> int:
    """Train, register and name a model of each placement; 4 when one has too little to learn from yet.

    Errors: `experiments.audit.Leak` when a served value cannot be had from the log before its moment.
    """
    console = Console(highlight=False, soft_wrap=True)
    plan = compile_plan(load_playbook(settings.playbook))
    catalogue = offers.load(settings.playbook, plan, settings.catalogue)
    unknown = [name for name in placements if name not in catalogue.placements]
    if unknown:
        hint = did_you_mean(unknown[0], catalogue.placements)
        raise PlaybookRefused([Fault("offers.toml", "[[placement]]", unknown[0], "none", hint)])
    bus = connect(settings.bus, timeout_s=settings.wait_s)
    console.print(f"reading topic {topics.BEHAVIOUR} for decisions and their outcomes")
    logs = read(bus, catalogue, placements)
    newest = [record for log in logs.values() for record in log.served[-AUDITED:]]
    refuse_leaks(bus, settings, plan, catalogue, newest)
    registry = Registry(settings.mlflow)
    code = 0
    for placement, log in logs.items():
        answered = sum(example.label for example in log.examples)
        console.print(f"{placement}: {len(log.examples):,} offers shown, {answered:,} answered")
        try:
            trained = train(log.examples, zone=catalogue.zone)
        except TooFew as few:
            console.print(str(few))
            code = NOT_YET
            continue
        name = registered_name(placement)
        digest = blake2b(b"".join(e.decision_id.encode() for e in log.examples), digest_size=8).hexdigest()
        artefact = trained.artefact(plan=plan.digest)
        version = registry.log_model(name, artefact, "lightgbm", trained.metrics, trained.params, digest)
        registry.set_alias(name, alias, version)
        console.print(f"{name} version {version} is now {alias}: " + _told(dict(trained.metrics)))
        keep_online(settings, registry, placement, alias, console)
    return code


def read(bus: Bus, catalogue: Catalogue, placements: Sequence[str]) -> dict[str, Log]:
    """Every closed example and every decision record of these placements that the log holds."""
    attribution = Attribution.of(catalogue)
    logs = {placement: Log([], []) for placement in placements}
    newest: dict[int, int] = {}
    for record in everything(bus, topics.BEHAVIOUR):
        item = decode(record.value)
        if isinstance(item, Tick):
            newest[record.partition] = item.time
        elif item.type == DECISION and item.fields["placement"] in logs:
            packed = item.fields["record"]
            attribution.decision(packed)
            logs[item.fields["placement"]].served.append(unpack(packed))
        elif item.type == OUTCOME:
            told = [str(item.fields[name]) for name in ("decision_id", "offer", "kind")]
            attribution.outcome(told[0], told[1], told[2], item.time)
    for example in attribution.settle(min(newest.values())) if newest else []:
        if example.placement in logs:
            logs[example.placement].examples.append(example)
    return logs


def refuse_leaks(
    bus: Bus, settings: Settings, plan: Plan, catalogue: Catalogue, served: list[DecisionRecord]
) -> None:
    """Recompute served rows from the log cut before their moments; `Leak` when any differs."""
    store = RedisStateStore(settings.redis, settings.project)
    past = AttributePast.read(plan, settings.run_dir)
    with redis.Redis.from_url(settings.redis) as client:
        plans, kept = read_record(client), read_kept(client, settings.partitions)
    sides = (bus, store, plan, catalogue, served)
    parity(*sides, states=0, strict=True, past=past, plans=plans, kept=kept)


def keep_online(settings: Settings, registry: Registry, placement: str, alias: str, console: Console) -> None:
    """Keep a copy of the online model, as it stands, in the registry too."""
    import msgspec

    packed = redis.Redis.from_url(settings.redis).get(online_key(placement))
    if not isinstance(packed, bytes):
        console.print(f"no online model of {placement} yet")
        return
    online = msgspec.msgpack.decode(packed)
    RiverScorer.from_snapshot(online["bytes"], str(online["version"]))  # what cannot be read is not kept
    name = f"{registered_name(placement)}-online"
    version = registry.log_model(name, online["bytes"], "river", {"learned": float(online["n"])})
    registry.set_alias(name, alias, version)
    console.print(f"{name} version {version} is now {alias}: {online['n']:,} outcomes learned")


def _told(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
