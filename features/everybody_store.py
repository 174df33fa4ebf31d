"""What is kept of everybody in Redis: a hash for each partition of the log, read and written as a whole.

The hash says how far it goes and since when each aggregate is in it, as the log is not folded again for one
that is new to a running system: its windows are missing until a whole one has passed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from features.bank import FINENESS
from features.convert import convert, digest_of
from features.everybody import Cut, merge_everybody
from features.feature import Feature
from features.fold import UnknownPlan
from features.plan import Plan
from features.row import Everybody, Warming, read_everybody
from features.storage import pack, storage_of, unpack

FIELDS: Final = ("state", "read", "since", "storage")
"""Of the hash, in the order in which `kept_of` takes their values."""

NEVER: Final = 1 << 62


def everybody_key(partition: int) -> str:
    """The Redis hash of everybody in a partition of the log.

    >>> everybody_key(3)
    'kairos:everybody:3'
    """
    return f"kairos:everybody:{partition}"


class Kept(NamedTuple):
    """Everybody in one partition: the state, and up to when (ms) every event is in it; None for never.

    `since` says by the key of each aggregate that is not in it from the log's beginning up to when (ms) the
    log had been read then, -1 where nobody knew. `storage` tells of the plan of `state`.
    """

    state: bytes | None
    read: int | None
    since: Mapping[str, int]
    storage: bytes | None


NOTHING: Final = Kept(None, None, {}, None)


def kept_of(values: Sequence[bytes | None]) -> Kept:
    """What the values of `FIELDS` say."""
    state, read, since, storage = values
    told = {} if since is None else msgspec.json.decode(since, type=dict[str, int])
    return Kept(state, None if read is None else int(read), told, storage)


def read_kept(redis: Any, partitions: int) -> list[Kept]:
    """What a client's Redis keeps of everybody in so many partitions. Errors: `redis.RedisError`."""
    pipeline = redis.pipeline(transaction=False)
    for partition in range(partitions):
        pipeline.hmget(everybody_key(partition), FIELDS)
    return [kept_of(values) for values in pipeline.execute()]


def fields_of(crowd: Plan, state: bytes, read: int | None, since: Mapping[str, int]) -> dict[str, Any]:
    """The hash of a state that was folded under `crowd`."""
    told = {"state": state, "since": msgspec.json.encode(since), "storage": pack(storage_of(crowd))}
    return told if read is None else told | {"read": read}


def opened(crowd: Plan, kept: Kept) -> Kept:
    """The same as a state of `crowd`: what another plan did not store is in it since `NEVER`.

    Errors: `BlobDamaged`; `UnknownPlan` when nobody can say what was stored.
    """
    if kept.state is None or digest_of(kept.state) == crowd.digest:
        return kept
    if kept.storage is None:
        raise UnknownPlan(digest_of(kept.state), crowd.digest)
    held = unpack(kept.storage)
    absent = [each.key for each in storage_of(crowd).stored if each.key not in held.keys]
    since = {key: ms for key, ms in kept.since.items() if key in storage_of(crowd).keys}
    since |= dict.fromkeys(absent, NEVER)
    return Kept(convert(held, crowd, kept.state), kept.read, since, pack(storage_of(crowd)))


def seen_at(plan: Plan, partitions: Sequence[Kept], at: int | None) -> tuple[Everybody, Cut]:
    """What all partitions together say at `at` (ms), and where that can be had again.

    `at` None: at the instant up to which all have been read. Errors: `BlobDamaged`, `UnknownPlan`.
    """
    assert plan.crowd is not None, "only a plan that counts over everybody has such states"
    kept = [opened(plan.crowd, each) for each in partitions]
    state = merge_everybody(plan.crowd, [each.state for each in kept])
    marks = [-1 if each.read is None else each.read for each in kept]
    read = min(marks, default=-1)
    if at is None:
        at = max(read, -1 if state is None else state.newest + 1)
    applied = {} if state is None else state.applied
    positions = tuple(applied.get(partition, -1) for partition in range(len(kept)))
    everybody = read_everybody(plan, state, at, None if read < 0 else read, warming_of(plan, kept))
    return everybody, Cut(at, read, positions)


def warming_of(plan: Plan, kept: Sequence[Kept]) -> Warming | None:
    """From when on what is counted over everybody may be read; None when all of it may."""
    assert plan.crowd is not None, "only a plan that counts over everybody has such states"
    if not any(each.since for each in kept):
        return None
    both = (plan.crowd.customer_features, plan.crowd.cross_features)
    row, cross = (np.array(_known_from(plan.crowd, kept, each), dtype=np.int64) for each in both)
    return Warming(row, cross)


def _known_from(crowd: Plan, kept: Sequence[Kept], features: Sequence[Feature]) -> list[int]:
    keys = {
        bank.aggregate.name: stored.key
        for bank, stored in zip(crowd.banks, storage_of(crowd).stored, strict=True)
    }
    found = []
    for feature in features:
        begun = [each.since[key] for each in kept if (key := keys[feature.aggregate]) in each.since]
        window = feature.window_ms or NEVER
        # A window's edge may lie a tile earlier; where nobody knew the time, nobody knows the end either.
        ends = [NEVER if ms in (NEVER, -1) else ms + window + window // FINENESS for ms in begun]
        found.append(min(max(ends, default=0), NEVER))
    return found
