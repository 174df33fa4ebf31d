"""A verb of the command line, run as ever, while it is watched where its processor time goes.

`python -m kairos.bench.sampled FILE VERB ...` writes {stage: seconds} and how large its micro-batches were:
records folded at once, states written at once.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import orjson

from features.feast_store import RedisStateStore
from features.store import Values
from kairos.__main__ import main
from kairos.bench.stages import Sampler
from stream.behaviour_fold import BehaviourFold, Effects
from stream.intake import IntakeStage
from stream.taps import Poll

MOST: Final = 60
"""Functions that are named, those that took most."""


def run(file: Path, words: Sequence[str]) -> int:
    """Run the verb to its end, then write what was seen to `file`; the verb's exit code."""
    sampler = Sampler()
    records: list[int] = []
    rows: list[int] = []
    process, take, write = BehaviourFold.process, IntakeStage.take, RedisStateStore.write_many
    begun = once(sampler.anew)  # imports and what is compiled at first are no event's

    def processed(self: BehaviourFold, polls: Sequence[Poll]) -> Effects:
        records.append(sum(len(poll.records) for poll in polls))
        effects = process(self, polls)
        begun()
        return effects

    def taken(self: IntakeStage, polls: list[Poll]) -> None:
        take(self, polls)
        if any(poll.records for poll in polls):
            begun()

    def written(self: RedisStateStore, states: Sequence[tuple[str, Values, int]]) -> None:
        rows.append(len(states))
        write(self, states)

    BehaviourFold.process = processed  # type: ignore[method-assign]
    IntakeStage.take = taken  # type: ignore[method-assign]
    RedisStateStore.write_many = written  # type: ignore[method-assign]
    sampler.start()
    code = main(words)
    stages = sampler.finish()
    seen = sorted(sampler.functions.items(), key=lambda pair: -pair[1])
    told = {"stages": stages, "records": records, "rows": rows, "functions": dict(seen[:MOST])}
    file.write_bytes(orjson.dumps(told))
    return code


def once(action: Callable[[], None]) -> Callable[[], None]:
    """The action, the first time it is called for; then nothing."""
    left = [action]
    return lambda: left.pop()() if left else None


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))
