"""The one place where Bytewax runs: a source, one stage, and a store of cursors."""

import gc
import os
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.errors import BytewaxRuntimeError
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from stream.bus_source import BusSource
from stream.counters import Counters
from stream.snapshots import Snapshots
from stream.taps import Poll

EPOCH: Final = timedelta(seconds=0.75)
RECOVERY_PARTITIONS: Final = 2
"""Fixed when a store is made: the engine cannot change it later."""


GC_THRESHOLDS: Final = (100_000, 50, 1_000)
"""A micro-batch makes tens of thousands of objects without a cycle among them: looking for one at the
interpreter's own pace, through every cached state, takes a fifth of all the time."""


class Stage(Protocol):
    """What one process does with what it reads.

    `take` returns only when its effects are durable: the engine saves its cursors after that, and
    never otherwise, so nothing is skipped and a crash only repeats what the stage recognises.
    """

    def take(self, polls: list[Poll]) -> None:
        """Do it for what was read; durable on return."""
        ...

    def close(self) -> None:
        """The flow ends, and all that was taken is durable."""
        ...


class Flow(NamedTuple):
    """One process's work, whoever runs it: where it reads, what it does, what it counts."""

    source: BusSource
    stage: Stage
    counters: Counters


class _StagePartition(StatelessSinkPartition[Poll]):
    def __init__(self, stage: Stage, snapshots: Snapshots | None) -> None:
        self._stage = stage
        self._snapshots = snapshots
        self._whole = True

    def write_batch(self, items: list[Poll]) -> None:
        self._whole = False
        began = time.perf_counter()
        self._stage.take(items)
        if self._snapshots is not None:
            self._snapshots.away(time.perf_counter() - began)
        self._whole = True

    def close(self) -> None:
        # The engine also closes what has failed: that stage knows things that are not durable.
        if self._whole:
            self._stage.close()


class _StageSink(DynamicSink[Poll]):
    def __init__(self, stage: Stage, snapshots: Snapshots | None) -> None:
        self._stage = stage
        self._snapshots = snapshots

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _StagePartition:
        if worker_count != 1:
            raise ValueError(f"stage: expected one worker, found {worker_count}; its state is not shared")
        return _StagePartition(self._stage, self._snapshots)


def run_flow(
    name: str,
    source: BusSource,
    stage: Stage,
    stop: threading.Event,
    positions: Path | None = None,
    epoch: timedelta = EPOCH,
    counters: Counters | None = None,
) -> None:
    """Run `source` into the stage until `stop` is set; cursors are saved below `positions`.

    With `positions` None nothing is saved: the stage says itself where its source goes on. Whatever
    the stage or the source raises is raised here, and then the open epoch is not saved. `counters` are told
    what snapshots cost.
    """
    snapshots = None if counters is None else Snapshots(counters, positions)
    source.measure(snapshots)
    flow = Dataflow(name)
    op.output("stage", op.input("bus", flow, source), _StageSink(stage, snapshots))
    recovery = None
    if positions is not None:
        if not positions.exists():
            fresh = positions.with_name(positions.name + ".new")
            fresh.mkdir(parents=True, exist_ok=True)
            for leftover in fresh.iterdir():
                leftover.unlink()
            init_db_dir(fresh, RECOVERY_PARTITIONS)
            fresh.rename(positions)  # a store half made by a killed process is never opened
        recovery = RecoveryConfig(positions)
    # The engine passes an error on as a panic, whose Rust frames help nobody.
    os.environ["RUST_BACKTRACE"] = "0"
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        cli_main(flow, epoch_interval=epoch, recovery_config=recovery)
    except BytewaxRuntimeError as error:
        cause: BaseException = error
        while isinstance(cause, BytewaxRuntimeError) and cause.__cause__ is not None:
            cause = cause.__cause__
        raise cause from None
    finally:
        source.shut()
        gc.set_threshold(*thresholds)
        gc.unfreeze()
