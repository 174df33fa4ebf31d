"""The one fold: events into the state of a customer. Stream, backfill, tests and simulation all call this.

**The law.** States of disjoint sets of events form a commutative monoid: `merge` is associative and
commutative, and folding a log is merging its singletons. So late events, backfill, rescaling and any
batching give the same state, and `settled` the same bytes; the same log gives the same bytes at once, however
it is cut. It holds because everything kept is a sum, a minimum or a
maximum over the events of a piece of time (see `features.kernel.tiles`), and because which piece an event
belongs to follows from its own time and the newest time alone. Past a declared bound (bytes of a customer,
keys of a family, values of a sample) detail is let go and the state says so; then the law holds of what was
kept.
"""

import enum
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from events.envelope import Event
from features.batch import Batch, batch_of, looks_of
from features.given import Attributes
from features.hits import Hits, hits_of
from features.kernel.folding import BEHIND, FOLDED, LATE, REPEAT, fixed_size, fold_states
from features.kernel.layout import LIMIT_MOST, LIMIT_WIDEST, MOST_RECENT, PROBE
from features.kernel.merging import merge_size, merge_states
from features.kernel.recent import EVENTS
from features.kernel.scratch import FULL_HITS
from features.kernel.trigger_layout import VERBOSE
from features.plan import Plan
from features.room import ROOM, positions_for, quarters
from features.settle import settle
from features.state import BlobDamaged, State, UnknownPlan, middle_of, open_state
from features.trigger_room import TRIGGER_ROOM

__all__ = [
    "BlobDamaged",
    "Fate",
    "Folded",
    "State",
    "UnknownPlan",
    "decode",
    "empty",
    "encode",
    "fold",
    "fold_batch",
    "fold_log",
    "fold_parts",
    "look_parts",
    "merge",
    "settled",
]


class Fate(enum.Enum):
    """What became of an event: folded, known already, too late, read already, or no concern."""

    FOLDED = "folded"
    REPEAT = "repeat"
    LATE = "late"
    BEHIND = "behind"
    IRRELEVANT = "irrelevant"


IRRELEVANT = 4
FATES = {
    FOLDED: Fate.FOLDED,
    REPEAT: Fate.REPEAT,
    LATE: Fate.LATE,
    BEHIND: Fate.BEHIND,
    IRRELEVANT: Fate.IRRELEVANT,
}


class Folded(NamedTuple):
    """What a batch came to: each customer's new bytes, and of each event what became of it.

    `fates` are keys of `FATES`; `hits` say what the events did to triggers (see `features.hits`).
    """

    blobs: list[bytes]
    fates: NDArray[np.uint8]
    hits: Hits


class FoldedParts(NamedTuple):
    """The same in parts: each customer's new recent part, and its new settled part, None where it stays.

    `dues` are the watermarks (ms) at which customers are to be looked at next; -1: as before, `NEVER`: not
    at all.
    """

    recents: list[bytes]
    settled: list[bytes | None]
    fates: NDArray[np.uint8]
    hits: Hits
    dues: NDArray[np.int64]


def fold_batch(
    plan: Plan,
    blobs: Sequence[bytes | None],
    events: Sequence[Event],
    owners: Sequence[int],
    partitions: Sequence[int],
    positions: Sequence[int],
) -> Folded:
    """Fold events into states in one compiled pass, each customer's in the order given.

    `blobs[c]` is the state of customer c, None for nobody known; event n is of customer owners[n] and
    stands at `positions[n]` of `partitions[n]` of the log: what is at or below a state's position is
    skipped, so that reading a piece of log again changes nothing. Blobs are taken as checked (see `decode`):
    the compiled pass believes what they say of themselves.
    """
    middles = [0 if blob is None else middle_of(blob) for blob in blobs]
    recents = [blob and blob[:middle] for blob, middle in zip(blobs, middles, strict=True)]
    settled = [b"" if blob is None else blob[middle:] for blob, middle in zip(blobs, middles, strict=True)]
    batch = batch_of(plan, events, owners, len(blobs), partitions, positions)
    done = fold_parts(plan, recents, settled, batch, len(events))
    whole = [
        recent + (before if after is None else after)
        for recent, before, after in zip(done.recents, settled, done.settled, strict=True)
    ]
    return Folded(whole, done.fates, done.hits)


def fold_parts(
    plan: Plan,
    recents: Sequence[bytes | None],
    settled: Sequence[bytes],
    batch: Batch,
    count: int,
    verbose: bool = False,
) -> FoldedParts:
    """`fold_batch` of states in parts, and of `count` events laid out already.

    `verbose`: the hits say, too, why triggers did not fire. Most settled parts are not looked at: those of
    customers who have gathered too many events, or of whose events a trigger reads features.
    """
    fates = np.empty(len(batch.order), dtype=np.uint8)
    made, new, hits, dues = _run(plan, recents, settled, batch, fates, verbose)
    every = np.full(count, IRRELEVANT, dtype=np.uint8)
    every[batch.order] = fates
    return FoldedParts(made, new, every, hits, dues)


def look_parts(
    plan: Plan,
    recents: Sequence[bytes],
    settled: Sequence[bytes],
    watermark: int,
    attributes: Attributes | None = None,
    verbose: bool = False,
) -> FoldedParts:
    """Look at the waits of customers that are over: the log has been read up to `watermark` (ms).

    `attributes` are those that conditions read, a value for each customer; a hit's `event` is the place of
    the customer. `verbose` as in `fold_parts`.
    """
    batch = looks_of(plan, len(recents), attributes)
    made, new, hits, dues = _run(plan, recents, settled, batch, _NO_FATES, verbose, watermark)
    return FoldedParts(made, new, _NO_FATES, hits, dues)


def fold(plan: Plan, state: State, event: Event, partition: int, position: int) -> Fate:
    """Fold one event of the log into the state, in place; `fold_batch` folds many for the price of a few."""
    if event.type not in plan.programs:
        return Fate.IRRELEVANT
    return FATES[int(fold_log(plan, state, [event], partition, [position]).fates[0])]


def fold_log(
    plan: Plan,
    state: State,
    events: Sequence[Event],
    partition: int,
    positions: Sequence[int],
    attributes: Attributes | None = None,
    verbose: bool = False,
) -> FoldedParts:
    """Fold a piece of one customer's log into the state, in place, in one pass.

    `attributes` are those that triggers read, a value for each event; `verbose` as in `fold_parts`.
    """
    count = len(events)
    batch = batch_of(plan, events, [0] * count, 1, [partition] * count, positions, attributes)
    folded = fold_parts(plan, [state.recent], [state.settled], batch, count, verbose)
    (after,) = folded.settled
    state.become(folded.recents[0], state.settled if after is None else after)
    return folded


def merge(plan: Plan, a: State, b: State) -> State:
    """The state of the events of both, which must have none in common; both are left as they are.

    What triggers remember is no part of the law: the greater memory is kept, as a whole.
    Errors: `UnknownPlan` when either was folded under another plan.
    """
    for state in (a, b):
        if state.digest != plan.digest:
            raise UnknownPlan(state.digest, plan.digest)
    one, other = (_whole(settled(plan, state).blob) for state in (a, b))
    both = State(_merged(plan, one, other))
    both.remember(max(a.memory, b.memory))
    return both


def empty(plan: Plan) -> State:
    """The state of a customer to whom nothing has happened: the monoid's neutral element."""
    (recent,), _, _, _ = _run(plan, [None], [b""], batch_of(plan, [], [], 1, [], []), _NO_FATES)
    return State(recent)


def settled(plan: Plan, state: State) -> State:
    """The state with its recent events added to its cells: the same bytes for the same events, however they
    came."""
    return State(settle(plan.settling, state.blob))


def encode(plan: Plan, state: State) -> bytes:
    """The state's canonical bytes."""
    if state.digest != plan.digest:
        raise UnknownPlan(state.digest, plan.digest)
    return state.blob


def decode(plan: Plan, blob: bytes) -> State:
    """The state in these bytes.

    Errors: `BlobDamaged`; `UnknownPlan` when it was folded under another plan.
    """
    return open_state(blob, plan.digest)


def _run(
    plan: Plan,
    recents: Sequence[bytes | None],
    settled: Sequence[bytes],
    batch: Batch,
    fates: NDArray[np.uint8],
    verbose: bool = False,
    watermark: int = -1,
) -> tuple[list[bytes], list[bytes | None], Hits, NDArray[np.int64]]:
    if verbose:  # whatever a trigger reads may be told
        batch = batch._replace(asks=batch.asks._replace(needs=np.ones_like(batch.asks.needs)))
    buf, starts = _joined(recents)
    needed = _needed(plan, buf, starts, batch) if watermark < 0 else range(len(settled))
    looks = np.full(len(settled) if watermark >= 0 else 0, watermark, dtype=np.int64)
    behind: list[bytes | None] = [None] * len(settled)
    for number in needed:
        behind[number] = settled[number]
    tables, rows = plan.tables, plan.row_tables
    count, coming = len(settled), int(np.diff(batch.groups).max(initial=0))
    ends, new_ends = np.empty(count + 1, dtype=np.int64), np.empty(count + 1, dtype=np.int64)
    whole, starts_of = _joined(behind)
    fixed = np.empty(
        fixed_size(len(plan.banks), coming, MOST_RECENT, int(plan.limits[LIMIT_WIDEST])), np.int64
    )
    watched, dues = plan.triggers.tables, np.empty(count, dtype=np.int64)
    if verbose:
        sizes = watched.sizes.copy()
        sizes[VERBOSE] = 1
        watched = watched._replace(sizes=sizes)
    asks = batch.asks
    memories = TRIGGER_ROOM.memories(
        plan.digest, plan.triggers, len(plan.banks), len(plan.cross_tables.defaults)
    )
    while full := fold_states(
        *tables[:4], plan.steps, plan.types, rows.defaults, plan.limits,
        buf, starts, whole, starts_of,
        batch.groups, batch.events.ravel(), batch.flat, fates,
        watched, asks, memories, TRIGGER_ROOM.outcome(plan.triggers, len(asks.needs)),
        looks, dues,
        fixed, rows.defaults.copy(), ROOM.loaded, ROOM.listed, ROOM.ordering,
        positions_for(buf, starts, coming), ROOM.written, ends, ROOM.settled, new_ends,
    ):  # fmt: skip
        if full == FULL_HITS:
            TRIGGER_ROOM.grow()
        else:
            ROOM.grow(full)
    hits = hits_of(TRIGGER_ROOM.outcome(plan.triggers, 0), memories, batch.asking)
    places = ends.tolist()
    made = ROOM.written[: places[-1]].tobytes()
    after: list[bytes | None] = [None] * count
    for number in np.flatnonzero(np.diff(new_ends)).tolist():
        after[number] = ROOM.settled[new_ends[number] : new_ends[number + 1]].tobytes()
    return [made[a:b] for a, b in pairwise(places)], after, hits, dues


def _needed(plan: Plan, buf: NDArray[np.uint8], starts: NDArray[np.int64], batch: Batch) -> list[int]:
    """The states that will be settled, or of which a trigger reads."""
    wanted = quarters(buf, starts, EVENTS) + np.diff(batch.groups) >= plan.limits[LIMIT_MOST]
    if batch.asks.needs.any():
        places = batch.events[:, PROBE]
        needs = np.zeros(len(places), dtype=np.int64)
        needs[places >= 0] = batch.asks.needs[places[places >= 0]]
        asked = np.concatenate(([0], np.cumsum(needs)))
        wanted |= asked[batch.groups[1:]] > asked[batch.groups[:-1]]
    return [int(number) for number in np.flatnonzero(wanted)]


def _joined(parts: Sequence[bytes | None]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    starts = np.zeros(len(parts) + 1, dtype=np.int64)
    np.cumsum([0 if part is None else len(part) for part in parts], out=starts[1:])
    joined = bytearray().join([part for part in parts if part])
    return np.frombuffer(joined or bytearray(1), dtype=np.uint8)[: len(joined)], starts


def _merged(plan: Plan, one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bytes:
    fixed = np.empty(merge_size(len(plan.banks)), dtype=np.int64)
    while True:
        its_listed = np.empty_like(ROOM.listed)
        end = merge_states(
            *plan.tables[:2], plan.steps, plan.types, plan.limits, one, other,
            fixed, ROOM.loaded, ROOM.listed, its_listed, ROOM.ordering, ROOM.written,
        )  # fmt: skip
        if end > 0:
            return ROOM.written[:end].tobytes()
        ROOM.grow(-end)


def _whole(blob: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(blob, dtype=np.uint8)


_NO_FATES = np.zeros(0, dtype=np.uint8)
