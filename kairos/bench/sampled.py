"""A verb of the command line, run as ever, while it is watched where its processor time goes.

`python -m kairos.bench.sampled FILE VERB ...` writes {stage: seconds} and how many states each write held.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson

from features.feast_store import RedisStateStore
from kairos.__main__ import main
from kairos.bench.stages import Sampler

MOST: Final = 60
"""Functions that are named, those that took most."""


def run(file: Path, words: Sequence[str]) -> int:
    """Run the verb to its end, then write what was seen to `file`; the verb's exit code."""
    rows: list[int] = []
    write = RedisStateStore.write_many

    def counted(self: RedisStateStore, states: Sequence[tuple[str, bytes, int]]) -> None:
        rows.append(len(states))
        write(self, states)

    RedisStateStore.write_many = counted  # type: ignore[method-assign]
    sampler = Sampler()
    sampler.start()
    code = main(words)
    seen = sorted(sampler.functions.items(), key=lambda pair: -pair[1])
    told = {"stages": sampler.finish(), "rows": rows, "functions": dict(seen[:MOST])}
    file.write_bytes(orjson.dumps(told))
    return code


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))
