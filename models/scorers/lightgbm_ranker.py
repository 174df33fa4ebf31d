"""The model that was trained on a stretch of the past: LightGBM, as text and names."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightgbm as lgb
import msgspec
import numpy as np

from models.scorer import Columns, Matrix, Places, Scores, dense

NAME = "lightgbm"
_log = logging.getLogger(__name__)


class Artefact(msgspec.Struct, frozen=True):
    """What is kept of a trained model, as MessagePack: LightGBM's own text and the names it was shown."""

    text: str
    names: list[str]
    about: dict[str, str | int | float]


def artefact(text: str, names: Sequence[str], about: Mapping[str, str | int | float]) -> bytes:
    """The bytes a registry keeps; nothing in them can run code."""
    return msgspec.msgpack.encode(Artefact(text, list(names), dict(about)))


@dataclass(slots=True)
class LightGBMRanker:
    """A trained model that scores by feature name; its scores are those of `Booster.predict`.

    A feature the matrix does not have is NaN, and is reported once in the log.
    """

    booster: Any
    names: tuple[str, ...]
    version: str
    about: Mapping[str, str | int | float]
    places: Places
    name: str = NAME
    missing: tuple[str, ...] = ()
    _seen: Columns | None = field(default=None)

    @classmethod
    def from_artefact(cls, packed: bytes, version: str = "") -> "LightGBMRanker":
        """The model in `packed`; msgspec.ValidationError or LightGBMError when it is not one."""
        kept = msgspec.msgpack.decode(packed, type=Artefact)
        booster = lgb.Booster(model_str=kept.text)
        if booster.num_feature() != len(kept.names):
            raise ValueError(
                f"LightGBM artefact: expected {booster.num_feature()} names, found {len(kept.names)}; "
                "register it again with the names it was trained on"
            )
        return cls(
            booster=booster,
            names=tuple(kept.names),
            version=version or str(kept.about.get("version", "")),
            about=kept.about,
            places=Places(tuple(kept.names)),
        )

    def score(self, *matrices: Matrix) -> Scores:
        """Probabilities from one thread: a server has a process for each core already."""
        table = dense(matrices)
        if not len(table):
            return np.empty(0)
        columns = matrices[0].columns
        places = self.places.of(columns)
        if columns is not self._seen:
            self._report(columns)
        if columns.names != self.names:
            table = table[:, places]
        if self.missing:
            table[:, places < 0] = np.nan
        scores: Scores = np.asarray(self.booster.predict(table, num_threads=1), dtype=np.float64)
        return scores

    def _report(self, columns: Columns) -> None:
        self._seen = columns
        self.missing = self.places.missing(columns)
        if self.missing:
            _log.warning(
                "model lightgbm %s: %d of its %d features are not in the row and count as missing: %s",
                self.version,
                len(self.missing),
                len(self.names),
                ", ".join(self.missing[:10]),
            )
