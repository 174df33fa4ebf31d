"""A verb of the command line, run as ever, while it is watched where its processor time goes.

`python -m kairos.bench.sampled FILE VERB ...` writes {stage: seconds} and how large its micro-batches were:
records folded at once, states written at once.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson

from features.feast_store import RedisStateStore
from kairos.__main__ import main
from kairos.bench.stages import Sampler
from stream.behaviour_fold import BehaviourFold, Effects
from stream.taps import Poll

MOST: Final = 60
"""Functions that are named, those that took most."""


def run(file: Path, words: Sequence[str]) -> int:
    """Run the verb to its end, then write what was seen to `file`; the verb's exit code."""
    records: list[int] = []
    rows: list[int] = []
    process, write = BehaviourFold.process, RedisStateStore.write_many

    def processed(self: BehaviourFold, polls: Sequence[Poll]) -> Effects:
        records.append(sum(len(poll.records) for poll in polls))
        return process(self, polls)

    def written(self: RedisStateStore, states: Sequence[tuple[str, bytes, int]]) -> None:
        rows.append(len(states))
        write(self, states)

    BehaviourFold.process = processed  # type: ignore[method-assign]
    RedisStateStore.write_many = written  # type: ignore[method-assign]
    sampler = Sampler()
    sampler.start()
    code = main(words)
    stages = sampler.finish()
    seen = sorted(sampler.functions.items(), key=lambda pair: -pair[1])
    told = {"stages": stages, "records": records, "rows": rows, "functions": dict(seen[:MOST])}
    file.write_bytes(orjson.dumps(told))
    return code


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))
