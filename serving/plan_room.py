"""States of whatever plan the stream folds, read as ours; and which values are warming."""

import asyncio
import logging
from typing import Final

from features.convert import convert, digest_of
from features.fold import State, UnknownPlan, decode
from features.plan import Plan
from features.storage import Storage
from features.warming import EMPTY, PLANS_KEY, WARMING_KEY, Mask, mask_of, record_of
from serving.redis_line import RedisAway, RedisLine

EVERY_S: Final = 1.0

log = logging.getLogger("kairos.serving")


class PlanRoom:
    """Two plans are readable while a playbook is exchanged: ours, and that of a stream before or after it.

    What a state of another plan does not hold is missing, and so is what the stream says is warming.
    """

    def __init__(self, line: RedisLine, plan: Plan, partitions: int) -> None:
        self._line = line
        self._plan = plan
        self._partitions = partitions
        self._seen: object = None
        self._storages: dict[str, Storage] = {}
        self._masks: dict[str, Mask] = {}
        self._record = EMPTY
        self.mask = mask_of(plan, EMPTY, partitions)

    def open(self, blob: bytes) -> tuple[State, Mask]:
        """The state in these bytes, and what of it may be read. Errors: `BlobDamaged`, `UnknownPlan`."""
        digest = digest_of(blob)
        if digest == self._plan.digest:
            return decode(self._plan, blob), self.mask
        storage = self._record.storages.get(digest)
        if storage is None:
            raise UnknownPlan(digest, self._plan.digest)
        mask = self._masks.get(digest)
        if mask is None:
            mask = self._masks[digest] = mask_of(self._plan, self._record, self._partitions, storage)
        return decode(self._plan, convert(storage, self._plan, blob)), mask

    async def refresh(self) -> None:
        """Read what the stream says of plans. Errors: `RedisAway`."""
        warming, plans = await self._line.ask(("HGETALL", WARMING_KEY), ("HKEYS", PLANS_KEY))
        seen = (sorted(warming[::2]), sorted(warming[1::2]), sorted(plans))
        if seen == self._seen:
            return
        (flat,) = await self._line.ask(("HGETALL", PLANS_KEY))
        pairs = dict(zip(warming[::2], warming[1::2], strict=True))
        self._record = record_of(pairs, dict(zip(flat[::2], flat[1::2], strict=True)))
        self._masks = {}
        self.mask = mask_of(self._plan, self._record, self._partitions)
        self._seen = seen
        if self.mask.names:
            log.info("warming, so missing for now: %s", ", ".join(sorted(self.mask.names)))

    async def run(self) -> None:
        """Look again every second until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.refresh()
            except RedisAway as error:
                log.debug("plans: %s", error)
