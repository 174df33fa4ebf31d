"""What the engine's snapshots cost: they hold cursors only, so they stay small whatever the customers."""

import time
from pathlib import Path
from typing import Final

from stream.counters import Counters

LARGEST_BYTES: Final = 16_000_000
LONGEST_S: Final = 0.05
"""Snapshots past either would mean that something big has crept into them."""


class Snapshots:
    """Measures each snapshot: `snapshot_us`, with the longest, and `snapshot_bytes`, the whole store on disk.

    The store's write-ahead logs are among those bytes, up to four megabytes each whatever they hold.

    The time is that from asking the sources for their cursors until they are asked for records again, less
    what the stage did meanwhile: collecting the cursors and handing them to the store.
    """

    def __init__(self, counters: Counters, store: Path | None) -> None:
        self._counters = counters
        self._store = store
        self._began: float | None = None
        self._elsewhere = 0.0
        self._longest = 0.0

    def begin(self) -> None:
        """A source is asked for its cursor; the first one of an epoch begins it."""
        if self._began is None:
            self._began = time.perf_counter()
            self._elsewhere = 0.0

    def away(self, seconds: float) -> None:
        """The stage worked for so long."""
        self._elsewhere += seconds

    def end(self) -> None:
        """A source is asked for records again."""
        if self._began is None:
            return
        took = max(0.0, time.perf_counter() - self._began - self._elsewhere)
        self._began = None
        self._longest = max(self._longest, took)
        self._counters.add("snapshots")
        self._counters.set("snapshot_us", round(took * 1e6))
        self._counters.set("snapshot_longest_us", round(self._longest * 1e6))
        if self._store is not None:
            self._counters.set("snapshot_bytes", store_bytes(self._store))


def store_bytes(store: Path) -> int:
    """The size of a recovery store on disk, journals included, bytes."""
    return sum(file.stat().st_size for file in store.glob("*") if file.is_file())
