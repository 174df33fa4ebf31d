"""Aggregates that are new to a running system: from when on their values may be read, and who must be told.

A new aggregate has seen nothing of what happened before, so its values are missing until `backfill` has
folded the log for it, or, of a window, until a whole window has passed. What is known of this stands in
Redis: who folds says which plan it folds, and since which position of the log it folds each aggregate.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.bank import FINENESS
from features.declare import features_of
from features.feature import Feature, stored
from features.plan import Plan
from features.row import Floats, Value
from features.storage import Storage, storage_of, unpack

PLANS_KEY: Final = "kairos:plans"
"""Hash: digest of a plan -> its `Storage`, of every plan that ever folded or served here."""

FOLDING_KEY: Final = "kairos:plan"
"""Hash: partition -> digest of the plan that folds it now."""

WARMING_KEY: Final = "kairos:warming"
"""Hash: `key|partition` -> `Since`; `key` -> the instant (ms) from which on `backfill` has made it known."""

NEVER: Final = 1 << 62


def side_key(customer: str) -> str:
    """The Redis key of what a backfill found for a customer, in the slot of the customer's state.

    >>> side_key("{007}abc")
    'kairos:backfill:{007}abc'
    """
    return f"kairos:backfill:{customer}"


def ready_key(partition: int) -> str:
    """The Redis list of the customers for whom a backfill has found something that is to be merged."""
    return f"kairos:backfill:ready:{partition}"


def cut_key(partition: int, place: str) -> str:
    """The Redis hash of customers whose state was past that place when it was taken over: how far."""
    return f"kairos:warming:cut:{partition}:{place}"


def merged_key(partition: int, place: str) -> str:
    """The Redis set of customers into whose state the backfill up to that place has been merged."""
    return f"kairos:warming:merged:{partition}:{place}"


class Since(msgspec.Struct, frozen=True):
    """An aggregate is folded behind `position` of a partition; all before `ms` was read then (-1: unknown).

    Position -1: nothing was durable before; what was written all the same is told apart by `cut_key`. `plan`
    is the digest of the plan that brought it; `complete`: a backfill has folded what was before.
    """

    name: str
    position: int
    ms: int
    plan: str
    complete: bool = False

    @property
    def place(self) -> str:
        """The change that brought it, within a partition: two changes may come at one position."""
        return f"{self.position}:{self.plan}"


class Record(NamedTuple):
    """What Redis holds about plans: `since` by key and partition, `known` by key, the storages by digest."""

    since: Mapping[str, Mapping[int, Since]]
    known: Mapping[str, int]
    storages: Mapping[str, Storage]

    def lacking(self, partition: int) -> dict[str, Since]:
        """The keys that are folded from the middle of the partition on, and were not backfilled since."""
        return {
            key: parts[partition]
            for key, parts in self.since.items()
            if key not in self.known and partition in parts and not parts[partition].complete
        }


EMPTY: Final = Record({}, {}, {})


def record_of(warming: Mapping[bytes, bytes], plans: Mapping[bytes, bytes]) -> Record:
    """The record that these two hashes hold."""
    since: dict[str, dict[int, Since]] = {}
    known: dict[str, int] = {}
    for field, value in warming.items():
        key, bar, partition = field.decode().partition("|")
        if bar:
            since.setdefault(key, {})[int(partition)] = msgspec.json.decode(value, type=Since)
        else:
            known[key] = int(value)
    return Record(since, known, {digest.decode(): unpack(packed) for digest, packed in plans.items()})


class Mask(NamedTuple):
    """From which instant (ms) on each visible value may be read; in the order of the rows."""

    row: NDArray[np.int64]
    cross: NDArray[np.int64]
    names: frozenset[str]

    def on_row(self, values: Floats, at: int) -> Floats:
        """The row with what is warming at the instant missing (NaN); attributes behind it stay."""
        if not self.names:
            return values
        values = values.copy()
        values[: len(self.row)][self.row > at] = np.nan
        return values

    def on_cross(self, values: Floats, at: int) -> Floats:
        """The same of a cross row (n, C)."""
        if not self.names:
            return values
        values = values.copy()
        values[:, self.cross > at] = np.nan
        return values

    def on_values(self, values: Sequence[Value], at: int) -> list[Value]:
        """The same of values for people."""
        warming = set(np.flatnonzero(self.row > at).tolist())
        return [
            each._replace(value=None, status="missing") if place in warming else each
            for place, each in enumerate(values)
        ]


def mask_of(plan: Plan, record: Record, partitions: int, held: Storage | None = None) -> Mask:
    """What of the plan's rows is warming; `held` is what a state of another plan was made of, None for ours.

    What such a state does not hold is missing, unless it has been backfilled since.
    """
    from_when = _from_when(plan, record, partitions, held)

    def of(features: Sequence[Feature]) -> NDArray[np.int64]:
        return np.array([_from(feature, from_when) for feature in features], dtype=np.int64)

    row, cross = of(plan.customer_features), of(plan.cross_features)
    every = (*plan.customer_features, *plan.cross_features)
    return Mask(row, cross, frozenset(each.name for each in every if _from(each, from_when) > 0))


def quiet_until(plan: Plan, record: Record, partitions: int) -> dict[str, int]:
    """Of each trigger that reads what is warming the instant (ms) before which it must not fire: what it
    reads is missing until then, hence unknown."""
    from_when = _from_when(plan, record, partitions, None)
    row, crossed = features_of(plan.playbook)
    known = {each.name: _from(each, from_when) for each in (*row, *crossed)}
    quiet = {
        each.trigger.name: max((known.get(name, 0) for name in each.reads), default=0)
        for each in plan.triggers.triggers
    }
    return {name: until for name, until in quiet.items() if until > 0}


def _from_when(plan: Plan, record: Record, partitions: int, held: Storage | None) -> dict[str, int]:
    """From which instant (ms) on each stored number may be read."""
    keys = [each.key for each in storage_of(plan).stored]
    absent: Collection[str] = () if held is None else set(keys) - set(held.keys)
    return {
        feature.name: _known_from(key, feature, record, partitions, key in absent)
        for bank, key in zip(plan.banks, keys, strict=True)
        for feature in stored(bank.aggregate)
    }


def _from(feature: Feature, from_when: Mapping[str, int]) -> int:
    if feature.derived is not None:
        return max(from_when.get(name, 0) for name in feature.derived[:2])
    return from_when.get(feature.name, 0)


def _known_from(key: str, feature: Feature, record: Record, partitions: int, absent: bool) -> int:
    if key in record.known:
        return record.known[key]
    parts = record.since.get(key)
    if parts is None:
        return NEVER if absent else 0
    begun = [since.ms for since in parts.values()]
    if feature.window_ms is None or len(begun) < partitions or min(begun) < 0:
        return NEVER
    # A window's edge may lie a tile earlier.
    return max(begun) + feature.window_ms + feature.window_ms // FINENESS
