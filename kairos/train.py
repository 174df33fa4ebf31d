"""Train the batch model of a placement on what was served, and let the registry name it."""

from dataclasses import dataclass
from hashlib import blake2b

import redis
from rich.console import Console

from events import topics
from events.bus import Bus, connect
from events.codec import decode
from events.envelope import Tick
from experiments.attribution import Attribution, Example
from experiments.registry import Registry
from experiments.training import TooFew, train
from features.declare import load as load_playbook
from features.feast_store import RedisStateStore
from features.plan import Plan, compile_plan
from kairos.settings import Settings
from kairos.verify import everything, parity
from models import catalogue as offers
from models.catalogue import Catalogue
from models.record import DecisionRecord, unpack
from models.scorers.river_propensity import RiverScorer
from serving.model_shelf import online_key, registered_name

AUDITED = 200
NOT_YET = 4


@dataclass(frozen=True)
class Log:
    """What the log of behaviour teaches about one placement."""

    examples: list[Example]
    served: list[DecisionRecord]


def run(settings: Settings, *, placement: str, alias: str) -> int:
    """Train, register and name a model; 4 when there is too little to learn from yet.

    Errors: `experiments.audit.Leak` when a served value cannot be had from the log before its moment.
    """
    console = Console(highlight=False)
    plan = compile_plan(load_playbook(settings.playbook))
    catalogue = offers.load(settings.playbook, plan, settings.catalogue)
    bus = connect(settings.bus, timeout_s=settings.wait_s)
    console.print(
        f"reading topic {topics.BEHAVIOUR} for decisions of placement {placement} and their outcomes"
    )
    log = read(bus, catalogue, placement)
    console.print(f"{len(log.examples):,} offers shown, {sum(e.label for e in log.examples):,} answered")
    refuse_leaks(bus, settings, plan, catalogue, log.served[-AUDITED:])
    try:
        trained = train(log.examples, zone=catalogue.zone)
    except TooFew as few:
        console.print(str(few))
        return NOT_YET
    registry = Registry(settings.mlflow)
    name = registered_name(placement)
    digest = blake2b(b"".join(e.decision_id.encode() for e in log.examples), digest_size=8).hexdigest()
    version = registry.log_model(
        name, trained.artefact(plan=plan.digest), "lightgbm", trained.metrics, trained.params, digest
    )
    registry.set_alias(name, alias, version)
    console.print(f"{name} version {version} is now {alias}: " + _told(dict(trained.metrics)))
    keep_online(settings, registry, placement, alias, console)
    return 0


def read(bus: Bus, catalogue: Catalogue, placement: str) -> Log:
    """Every closed example and every decision record of a placement that the log holds."""
    attribution = Attribution.of(catalogue)
    served: list[DecisionRecord] = []
    newest: dict[int, int] = {}
    for record in everything(bus, topics.BEHAVIOUR):
        item = decode(record.value)
        if isinstance(item, Tick):
            newest[record.partition] = item.time
        elif item.type == "kairos.decision" and item.fields["placement"] == placement:
            packed = item.fields["record"]
            assert isinstance(packed, bytes)
            attribution.decision(packed)
            served.append(unpack(packed))
        elif item.type == "kairos.outcome":
            attribution.outcome(
                str(item.fields["decision_id"]),
                str(item.fields["offer"]),
                str(item.fields["kind"]),
                item.time,
            )
    examples = attribution.settle(min(newest.values())) if newest else []
    return Log(examples, served)


def refuse_leaks(
    bus: Bus, settings: Settings, plan: Plan, catalogue: Catalogue, served: list[DecisionRecord]
) -> None:
    """Recompute served rows from the log cut before their moments; `Leak` when any differs."""
    store = RedisStateStore(settings.redis, settings.project)
    parity(bus, store, plan, catalogue, served, states=0, strict=True)


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
