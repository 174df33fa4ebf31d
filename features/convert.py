"""A state of one plan as a state of another: cells of unchanged aggregates are carried over, others are not.

Works on the bytes: cells are renumbered and not opened. The state is then merged with the empty one, so that
what comes out is as canonical as what was folded.
"""

import struct
from collections.abc import Collection, Sequence
from typing import Final

import numpy as np

from features.fold import BlobDamaged, State, UnknownPlan, empty, merge, settled
from features.kernel import recent as head
from features.kernel import settled as part
from features.kernel.looking import GOOD, check_state
from features.plan import LAYOUT, Plan
from features.remembered import pack, unpack
from features.settle import settle
from features.state import middle_of, with_memory
from features.storage import Storage, storage_of

_MAGIC: Final = head.MAGIC.to_bytes(4, "little")
_KEY_BYTES: Final = 8
_HASH_BYTES: Final = 8


def digest_of(blob: bytes) -> str:
    """The digest (16 hex) of the plan that a state was folded under. Errors: `BlobDamaged`."""
    if len(blob) < head.HEADER or blob[:4] != _MAGIC:
        raise BlobDamaged(
            f"state of a customer: expected at least {head.HEADER} bytes that begin with {_MAGIC!r}, "
            f"found {len(blob)} bytes {blob[:8]!r}...; delete it and fold the customer's log again"
        )
    return blob[head.DIGEST : head.NEWEST].hex()


def convert(storage: Storage, plan: Plan, blob: bytes, without: Collection[str] = ()) -> bytes:
    """The state, of the plan that `storage` tells of, as a state of `plan`.

    What both store is carried over, unless its key is among `without`; the rest begins empty. What a trigger
    remembers is carried over if the trigger is the same. Errors: `BlobDamaged`; `UnknownPlan` when the bytes
    are not of that storage, or are laid out as they were in another version.
    """
    _check(blob, storage)
    ours = storage_of(plan)
    if not without and storage.cells == ours.cells:
        # Other triggers, the same cells: events kept as they came mean the same, too.
        state = State(blob)
        begin = bytearray(state.recent)
        begin[head.DIGEST : head.NEWEST] = bytes.fromhex(plan.digest)
        recent = with_memory(bytes(begin), _carried(state.memory, storage, ours))
        return recent + state.settled
    numbers = {each.key: number for number, each in enumerate(ours.stored) if each.key not in without}
    state = _rewritten(plan, storage, blob, [numbers.get(each.key, -1) for each in storage.stored])
    state.remember(_carried(State(blob).memory, storage, ours))
    return state.blob


def only(plan: Plan, blob: bytes, keys: Collection[str]) -> bytes:
    """The state of `plan` with no other cells than those of these keys, and without memory of triggers.

    It keeps positions and ids of recent events. Errors: `BlobDamaged`, `UnknownPlan`.
    """
    storage = storage_of(plan)
    _check(blob, storage)
    kept = [n if each.key in keys else -1 for n, each in enumerate(storage.stored)]
    return _rewritten(plan, storage, blob, kept).blob


def graft(plan: Plan, blob: bytes, side: bytes) -> bytes:
    """The state with the cells of `side` added, which `only` made of a fold of events that it has seen too.

    Both are of `plan`. Ids of recent events that both remember are remembered once; of the memory of triggers
    nothing changes.
    """
    mine, its = settled(plan, State(blob)), settled(plan, State(side))
    known = set(_marks(mine.recent))
    kept = [mark for mark in _marks(its.recent) if mark not in known]
    return merge(plan, mine, State(_with(its, kept, its.settled[part.HEADER :]))).blob


def cells_of(blob: bytes) -> int:
    """How many cells a state has in its settled part: 0 when nothing has been settled."""
    return _count(blob, middle_of(blob) + part.CELLS) if len(blob) > middle_of(blob) else 0


def _check(blob: bytes, storage: Storage) -> None:
    if digest_of(blob) != storage.digest:
        raise UnknownPlan(digest_of(blob), storage.digest)
    if storage.layout != LAYOUT:
        raise UnknownPlan(f"{storage.digest}, in version {storage.layout}", f"of version {LAYOUT}")
    if check_state(np.frombuffer(blob, dtype=np.uint8)) != GOOD:
        raise BlobDamaged(
            f"state of a customer: expected whole bytes that fit their check, found {len(blob)} bytes "
            f"{blob[:8]!r}...; delete it and fold the log again"
        )


def _carried(memory: bytes, storage: Storage, ours: Storage) -> bytes:
    """What triggers remember, under the numbers that they have now; of changed ones nothing."""
    places = {name: number for number, name in enumerate(ours.remembered)}
    same = {
        number: places[name]
        for number, name in enumerate(storage.remembered)
        if name in places and storage.triggers[name] == ours.triggers[name]
    }
    found = unpack(memory)
    found.entries = {same[n]: entry for n, entry in found.entries.items() if n in same}
    found.waits = [w._replace(trigger=same[w.trigger]) for w in found.waits if w.trigger in same]
    found.details = {(same[n], mark): told for (n, mark), told in found.details.items() if n in same}
    return pack(found)


def _rewritten(plan: Plan, storage: Storage, blob: bytes, numbers: Sequence[int]) -> State:
    """The state with each cell under the number of its aggregate, those numbered -1 left out; no memory."""
    state = State(settle(storage.settling, blob))
    cells, pieces, at = state.settled, [], part.HEADER
    for _ in range(cells_of(state.blob)):
        bank, after = _varint(cells, at)
        begin = after
        if storage.stored[bank].family:
            after += _KEY_BYTES
        length, payload = _varint(cells, after)
        at = payload + length
        if numbers[bank] >= 0:
            pieces.append(_put(numbers[bank]) + cells[begin:at])
    # The merge weighs the cells, minds the bounds, puts them in order and signs them.
    return merge(
        plan, empty(plan), State(_with(state, _marks(state.recent), b"".join(pieces), len(pieces), plan))
    )


def _with(
    state: State,
    marks: Sequence[tuple[int, bytes]],
    cells: bytes,
    count: int | None = None,
    plan: Plan | None = None,
) -> bytes:
    """A settled state's bytes with other ids and cells and without memory, not yet signed."""
    begin = bytearray(state.recent[: head.HEADER + len(state.applied) * head.POSITION_BYTES])
    times = [time for time, _ in marks]
    steps = [_put(time - before) for before, time in zip([0, *times], times, strict=False)]
    ids = b"".join([mark for _, mark in marks] + steps)
    behind = bytearray(state.settled[: part.HEADER])
    if behind:
        behind += cells
        if count is not None:
            struct.pack_into("<I", behind, part.CELLS, count)
    if plan is not None:
        begin[head.DIGEST : head.NEWEST] = bytes.fromhex(plan.digest)
    struct.pack_into("<II", begin, head.MARKS, len(marks), len(ids))
    struct.pack_into("<I", begin, head.MEMORY, 0)
    struct.pack_into("<I", begin, head.LENGTH, len(begin) + len(ids))
    struct.pack_into("<I", begin, head.SETTLED, len(behind))
    return bytes(begin + ids + behind)


def _marks(recent: bytes) -> list[tuple[int, bytes]]:
    """The (time, hash) of settled events in order, of a recent part without events."""
    first = head.HEADER + _count(recent, head.APPLIED, 2) * head.POSITION_BYTES
    count = _count(recent, head.MARKS)
    time, marks, at = 0, [], first + count * _HASH_BYTES
    for number in range(count):
        step, at = _varint(recent, at)
        time += step
        marks.append((time, recent[first + number * _HASH_BYTES : first + (number + 1) * _HASH_BYTES]))
    return marks


def _count(raw: bytes, at: int, size: int = 4) -> int:
    return int.from_bytes(raw[at : at + size], "little")


def _varint(blob: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = blob[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _put(value: int) -> bytes:
    coded = bytearray()
    while value > 127:
        coded.append(value & 127 | 128)
        value >>= 7
    coded.append(value)
    return bytes(coded)
