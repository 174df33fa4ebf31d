"""The models in use: fetched from where they are made, swapped between two decisions, never by a restart."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec

from events.setup import Setup
from experiments.registry_file import file_of
from features.plan import Plan
from models.catalogue import Catalogue
from models.online import CHAMPION, OnlineModel, online_key, registered_name, unpack
from models.scorer import Scorer
from models.scorers.blend import Blend
from models.scorers.prior import Prior
from models.scorers.river_propensity import RiverScorer
from serving.redis_line import RedisAway, RedisLine

ONLINE_EVERY_S: Final = 0.05
CHAMPION_EVERY_S: Final = 1.0
KIND: Final = "lightgbm"

log = logging.getLogger("kairos.models")


class BatchModel(msgspec.Struct, frozen=True):
    """A model that the registry names champion, ready to score."""

    version: str
    scorer: Scorer


class ModelShelf:
    """Keeps the newest model of each kind; a decision takes a `Blend`, so it sees one state of affairs.

    Online models are looked for every `online_every_s` in one round trip; unchanged bytes cost a comparison.
    Champions are looked for every second in a thread. A model that cannot be read is reported once and
    the one before stays: an old model is better than none.
    """

    def __init__(
        self,
        setup: Setup,
        plan: Plan,
        catalogue: Catalogue,
        line: RedisLine,
        online_every_s: float = ONLINE_EVERY_S,
    ) -> None:
        self._online_every_s = online_every_s
        self._uri, self._line = setup.mlflow, line
        self._placements = catalogue.placements
        self._sources = sorted({placement.model for placement in self._placements.values()})
        self._seen: dict[str, bytes | None] = {}
        self._online: dict[str, tuple[OnlineModel, RiverScorer]] = {}
        self._batch: dict[str, BatchModel] = {}
        self._blends: dict[str, Blend] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="champions")
        self._registry: Any = None
        self._reported: set[str] = set()
        self._arrange()

    def blend(self, placement: str) -> Blend:
        """Give the scorers of a placement as they are now."""
        return self._blends[placement]

    def without_models(self, placement: str) -> Blend:
        """Give what answers when a model fails: the declared prior."""
        return Blend(prior=Prior(self._placements[placement].prior))

    def view(self) -> dict[str, Any]:
        """Say, for each placement, which models answer."""
        told: dict[str, Any] = {}
        for name, placement in sorted(self._placements.items()):
            online, batch = self._online.get(placement.model), self._batch.get(placement.model)
            told[name] = {
                "model": placement.model,
                "rung": self._blends[name].rung,
                "river": online
                and {"version": str(online[0].version), "learned_to": online[0].learned_to, "n": online[0].n},
                "lightgbm": batch and {"version": batch.version},
                "blend": bool(online and batch),
            }
        return told

    async def refresh(self) -> None:
        """Look for online models now. Errors: `RedisAway`."""
        found = await self._line.ask(*[("GET", online_key(source)) for source in self._sources])
        changed = False
        for source, packed in zip(self._sources, found, strict=True):
            if packed is None or packed == self._seen.get(source):
                continue
            self._seen[source] = packed
            try:
                model = unpack(packed)
                scorer = RiverScorer.from_snapshot(model.bytes, str(model.version))
            except (msgspec.DecodeError, ValueError) as error:
                self._report(f"the online model of {source} cannot be read, the one before stays: {error}")
                continue
            self._online[source] = (model, scorer)
            changed = True
        if changed:
            self._arrange()

    async def run(self) -> None:
        """Look for models until cancelled."""
        champions = asyncio.create_task(self._run_champions())
        try:
            while True:
                try:
                    await self.refresh()
                except RedisAway as error:
                    log.debug("online models: %s", error)
                await asyncio.sleep(self._online_every_s)
        finally:
            champions.cancel()

    async def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run_champions(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            found = await loop.run_in_executor(self._thread, self._fetch)
            if found:
                self._batch.update(found)
                self._arrange()
            await asyncio.sleep(CHAMPION_EVERY_S)

    def _fetch(self) -> dict[str, BatchModel]:
        """In the thread: the champions that are not on the shelf yet."""
        found: dict[str, BatchModel] = {}
        file = file_of(self._uri)
        if file is not None and not file.exists():
            return found  # nobody has trained anything yet, and asking would make the file
        try:
            # MLflow takes seconds to import; a door that only decides should not wait for it.
            from experiments.registry import Registry
            from models.scorers.lightgbm_ranker import LightGBMRanker

            if self._registry is None:
                self._registry = Registry(self._uri)
            for source in self._sources:
                name = registered_name(source)
                version = self._registry.version(name, CHAMPION)
                on_shelf = self._batch.get(source)
                if version is None or (on_shelf and on_shelf.version == version):
                    continue
                loaded = self._registry.load(name, CHAMPION)
                if loaded is None:
                    continue
                if loaded.kind != KIND:
                    raise ValueError(f"{name} {version}: expected a {KIND} model, found {loaded.kind}")
                scorer = LightGBMRanker.from_artefact(loaded.bytes, loaded.version)
                found[source] = BatchModel(loaded.version, scorer)
                log.info("%s: the champion is now version %s", name, loaded.version)
        except Exception as error:  # a registry that is away or broken must not stop decisions
            self._report(f"the registry at {self._uri} gives no champion: {type(error).__name__}: {error}")
        return found

    def _arrange(self) -> None:
        for name, placement in self._placements.items():
            online, batch = self._online.get(placement.model), self._batch.get(placement.model)
            self._blends[name] = Blend(
                prior=Prior(placement.prior),
                online=online[1] if online else None,
                batch=batch.scorer if batch else None,
            )

    def _report(self, message: str) -> None:
        if message not in self._reported:
            self._reported.add(message)
            log.warning("%s", message)
