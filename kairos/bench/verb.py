"""The verb `bench`: which benchmark, how large, printed how."""

import argparse
from pathlib import Path

from kairos.bench import freshness, row, stream, triggers
from kairos.bench.measure import teller
from kairos.bench.report import show
from kairos.settings import Settings


def run(settings: Settings, args: argparse.Namespace) -> int:
    """Run the benchmark that was asked for and print its figures; 0 when it got to its end."""
    say = teller()
    folder: Path = args.playbook
    if args.what == "stream":
        names = [name for name in stream.Sizes._fields if hasattr(args, name)]
        told = stream.run(folder, stream.Sizes(**{name: getattr(args, name) for name in names}), say)
    elif args.what == "row":
        told = row.run(folder, row.Sizes(args.features, args.customers, args.history, args.rows), say)
    elif args.what == "triggers":
        names = list(triggers.Sizes._fields)
        told = triggers.run(triggers.Sizes(**{name: getattr(args, name) for name in names}), say)
    else:
        sizes = freshness.Sizes(args.rate, args.seconds, args.customers)
        told = freshness.run(folder, sizes, say, settings.catalogue)
    show(told, args.json)
    return 0
