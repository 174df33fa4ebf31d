"""What everybody does, as requests read it: refreshed once a second, computed beside them, never in one."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from events.setup import Clock
from features.everybody import Cut
from features.everybody_store import FIELDS, Kept, everybody_key, kept_of, seen_at
from features.fold import BlobDamaged, UnknownPlan
from features.plan import Plan
from features.row import Everybody, counted
from models.catalogue import Catalogue
from serving.metrics import Metrics
from serving.redis_line import RedisAway, RedisLine

EVERY_S: Final = 1.0

log = logging.getLogger("kairos.serving")


class Seen(NamedTuple):
    """What is counted over everybody at one instant: for rows, for every offer, and how to have it again.

    `offers` has a row for each offer of a placement's assortment, in its order.
    """

    everybody: Everybody
    cut: Cut
    offers: Mapping[str, NDArray[np.float64]]


class EverybodyRoom:
    """Reads the states of all partitions, merges them and computes what every offer's columns come to.

    With `clock="wall"` the values are those of the moment of refreshing; with the log's clock those of the
    instant up to which every partition has been read. While Redis is away, or what it holds cannot be read,
    the values grow old and are missing once past their limit.
    """

    def __init__(
        self,
        line: RedisLine,
        plan: Plan,
        catalogue: Catalogue,
        partitions: int,
        clock: Clock,
        metrics: Metrics,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._line, self._plan, self._catalogue = line, plan, catalogue
        self._partitions, self._clock, self._metrics, self._now = partitions, clock, metrics, now
        self._refreshing = asyncio.Lock()
        self._said = ""
        self.seen: Seen | None = None

    async def catch_up(self, watermark: int | None) -> Seen | None:
        """What is known; in a replay, where days pass in seconds, read anew if a partition was read further.

        Errors: `RedisAway`.
        """
        if self._behind(watermark):
            async with self._refreshing:
                if self._behind(watermark):  # whoever waited here before may have read it
                    await self._refresh()
        return self.seen

    async def refresh(self) -> None:
        """Read and compute anew. Errors: `RedisAway`."""
        if self._plan.crowd is not None:
            async with self._refreshing:
                await self._refresh()

    def _behind(self, watermark: int | None) -> bool:
        if self._clock == "wall" or watermark is None or self._plan.crowd is None:
            return False
        return self.seen is None or self.seen.cut.read < watermark

    async def _refresh(self) -> None:
        asked = [("HMGET", everybody_key(partition), *FIELDS) for partition in range(self._partitions)]
        told = await self._line.ask(*asked)
        try:
            self.seen = await asyncio.to_thread(self._compute, [kept_of(each) for each in told])
        except (BlobDamaged, UnknownPlan, ValueError) as error:
            self._metrics.unreadable.inc()
            if str(error) != self._said:
                self._said = str(error)
                log.warning("counts over everybody cannot be read: %s", error)

    async def run(self) -> None:
        """Look again every second until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.refresh()
            except RedisAway as error:
                log.debug("everybody: %s", error)

    def _compute(self, told: Sequence[Kept]) -> Seen:
        plan = self._plan
        everybody, cut = seen_at(plan, told, None if self._clock == "events" else int(self._now() * 1000))
        offers = {
            name: counted(plan, everybody, assortment.keys)
            for name, assortment in self._catalogue.assortments.items()
        }
        return Seen(everybody, cut, offers)
