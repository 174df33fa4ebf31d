"""A state of one plan as a state of another: cells of unchanged aggregates are carried over, others are not.

Works on the bytes: cells are renumbered and not opened. The state is then merged with the empty one, so that
what comes out is as canonical as what was folded.
"""

import struct
from collections.abc import Collection, Sequence
from typing import Final

import numpy as np

from features.fold import BlobDamaged, State, UnknownPlan, empty, merge
from features.kernel import header
from features.kernel.looking import GOOD, check_state
from features.plan import LAYOUT, Plan
from features.storage import Storage, storage_of

_MAGIC: Final = header.MAGIC.to_bytes(4, "little")
_KEY_BYTES: Final = 8
_HASH_BYTES: Final = 8


def digest_of(blob: bytes) -> str:
    """The digest (16 hex) of the plan that a state was folded under. Errors: `BlobDamaged`."""
    if len(blob) < header.HEADER or blob[:4] != _MAGIC:
        raise BlobDamaged(
            f"state of a customer: expected at least {header.HEADER} bytes that begin with {_MAGIC!r}, "
            f"found {len(blob)} bytes {blob[:8]!r}...; delete it and fold the customer's log again"
        )
    return blob[header.DIGEST : header.NEWEST].hex()


def convert(storage: Storage, plan: Plan, blob: bytes, without: Collection[str] = ()) -> bytes:
    """The state, of the plan that `storage` tells of, as a state of `plan`.

    What both store is carried over, unless its key is among `without`; the rest begins empty. What a trigger
    remembers is carried over if the trigger is the same. Errors: `BlobDamaged`; `UnknownPlan` when the bytes
    are not of that storage, or are laid out as they were in another version.
    """
    _check(blob, storage)
    ours = storage_of(plan)
    numbers = {each.key: number for number, each in enumerate(ours.stored) if each.key not in without}
    state = _rewritten(plan, storage, blob, [numbers.get(each.key, -1) for each in storage.stored])
    same = {name for name, digest in ours.triggers.items() if storage.triggers.get(name) == digest}
    state.memory.update({name: kept for name, kept in State(blob).memory.items() if name in same})
    return state.seal()


def only(plan: Plan, blob: bytes, keys: Collection[str]) -> bytes:
    """The state of `plan` with no other cells than those of these keys, and without memory of triggers.

    It keeps positions and ids of recent events. Errors: `BlobDamaged`, `UnknownPlan`.
    """
    storage = storage_of(plan)
    _check(blob, storage)
    kept = [n if each.key in keys else -1 for n, each in enumerate(storage.stored)]
    return _rewritten(plan, storage, blob, kept).seal()


def graft(plan: Plan, blob: bytes, side: bytes) -> bytes:
    """The state with the cells of `side` added, which `only` made of a fold of events that it has seen too.

    Both are of `plan`. Ids of recent events that both remember are remembered once; of the memory of triggers
    nothing changes.
    """
    known = set(_marks(blob)[0])
    marks, at = _marks(side)
    head = bytearray(side[: header.HEADER + len(State(side).applied) * header.POSITION_BYTES])
    time, count = 0, 0
    for mark in marks:
        if mark not in known:
            head += _put(mark[0] - time) + mark[1]
            time, count = mark[0], count + 1
    struct.pack_into("<I", head, header.MARKS, count)
    return merge(plan, State(blob), State(bytes(head) + side[at:])).seal()


def cells_of(blob: bytes) -> int:
    """How many cells a state has: 0 when nothing has happened."""
    (count,) = struct.unpack_from("<I", blob, header.CELLS)
    return int(count)


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


def _rewritten(plan: Plan, storage: Storage, blob: bytes, numbers: Sequence[int]) -> State:
    """The state with each cell under the number of its aggregate, those numbered -1 left out; no memory."""
    at = _marks(blob)[1]
    head, pieces = bytearray(blob[:at]), []
    for _ in range(cells_of(blob)):
        bank, after = _varint(blob, at)
        begin = after
        if storage.stored[bank].family:
            after += _KEY_BYTES
        length, payload = _varint(blob, after)
        at = payload + length
        if numbers[bank] >= 0:
            pieces.append(_put(numbers[bank]) + blob[begin:at])
    struct.pack_into("<I", head, header.CELLS, len(pieces))
    struct.pack_into("<I", head, header.MEMORY, 0)
    head[header.DIGEST : header.NEWEST] = bytes.fromhex(plan.digest)
    # The merge weighs the cells, minds the bounds, puts them in order and signs them.
    return merge(plan, empty(plan), State(bytes(head) + b"".join(pieces)))


def _marks(blob: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """The (time, hash) of recent events in order, and where the cells begin."""
    at = header.HEADER + len(State(blob).applied) * header.POSITION_BYTES
    (count,) = struct.unpack_from("<I", blob, header.MARKS)
    time, marks = 0, []
    for _ in range(count):
        step, at = _varint(blob, at)
        time += step
        marks.append((time, blob[at : at + _HASH_BYTES]))
        at += _HASH_BYTES
    return marks, at


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
