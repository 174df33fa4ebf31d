"""What is kept about one customer: an element of a commutative monoid, and its bytes.

A state is small sums over pieces of time (tiles), so that two states of one customer merge by adding, in any
order; see `features.fold` for the law. Its bytes are canonical: the same events give the same bytes.
"""

import struct
import zlib
from typing import Any

import msgspec

from events.faults import Refusal

MAGIC = b"K1"
_HEAD = struct.Struct("<2sI")
_BIG = 1
_WORD = 1 << 63

Tile = int | list[int]
Cell = list[Any]


class BlobDamaged(Refusal):
    """The bytes are no whole state: cut short, altered, or of another kind."""

    exit_code = 4


class UnknownPlan(Refusal):
    """The state was folded under another plan; fold the log again, or run the plan it names."""

    exit_code = 4

    def __init__(self, found: str, expected: str) -> None:
        self.found, self.expected = found, expected
        super().__init__(
            f"state of a customer: expected plan {expected}, found plan {found}; fold the log again"
        )


class State:
    """What is kept about one customer.

    `newest`: time of its newest event, ms, -1 when none. `applied`: for each partition of the log the last
    position folded in. `banks`: for each aggregate the cells by key. `recent`: hashes of the ids of recent
    events with their times, by which repeats are known. `memory`: what the triggers remember. `ordered`: no
    event came after a later one since the state was last settled, so its tiles are in order already.
    """

    __slots__ = ("applied", "banks", "digest", "memory", "newest", "ordered", "recent")

    def __init__(self, digest: str, banks: int) -> None:
        self.digest = digest
        self.newest = -1
        self.applied: dict[int, int] = {}
        self.banks: list[dict[str, Cell]] = [{} for _ in range(banks)]
        self.recent: dict[int, int] = {}
        self.memory: dict[str, list[Any]] = {}
        self.ordered = True


def pack(state: State) -> bytes:
    """The bytes of a state that `features.fold.settle` has brought into canonical form."""
    by_time: dict[int, list[int]] = {}
    for mark, time in state.recent.items():
        by_time.setdefault(time, []).append(mark)
    body = [
        bytes.fromhex(state.digest),
        state.newest,
        dict(sorted(state.applied.items())),
        state.banks,
        {time: struct.pack(f"<{len(marks)}Q", *sorted(marks)) for time, marks in sorted(by_time.items())},
        state.memory,
    ]
    try:
        packed = _encode(body)
    except OverflowError:
        packed = _encode(_narrowed(body))
    return _HEAD.pack(MAGIC, zlib.crc32(packed)) + packed


def unpack(blob: bytes, digest: str) -> State:
    """The state in these bytes, which must have been folded under the plan `digest`.

    Errors: `BlobDamaged`, `UnknownPlan`.
    """
    if len(blob) <= _HEAD.size:
        raise BlobDamaged(f"state of a customer: expected more than {_HEAD.size} bytes, found {len(blob)}")
    magic, check = _HEAD.unpack_from(blob)
    packed = memoryview(blob)[_HEAD.size :]
    if magic != MAGIC or zlib.crc32(packed) != check:
        raise BlobDamaged(
            f"state of a customer: expected {len(blob)} bytes that begin with {MAGIC!r} and fit their check, "
            f"found {blob[:8]!r}...; delete it and fold the customer's log again"
        )
    found, newest, applied, banks, by_time, memory = _decode(packed)
    if found.hex() != digest:
        raise UnknownPlan(found.hex(), digest)
    state = State.__new__(State)
    state.digest = digest
    state.newest = newest
    state.applied = applied
    state.banks = banks
    state.recent = {}
    for time, marks in by_time.items():
        for mark in struct.unpack(f"<{len(marks) // 8}Q", marks):
            state.recent[mark] = time
    state.memory = memory
    state.ordered = True
    return state


def _narrowed(value: Any) -> Any:
    """The same with whole numbers past 64 bits, which sums of extreme values reach, as extensions."""
    if isinstance(value, dict):
        return {key: _narrowed(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_narrowed(each) for each in value]
    if isinstance(value, int) and not -_WORD <= value < _WORD:
        return msgspec.msgpack.Ext(_BIG, value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))
    return value


def _widened(code: int, data: memoryview) -> int:
    if code != _BIG:
        raise BlobDamaged(f"state of a customer: expected a big number, found extension {code}")
    return int.from_bytes(data, "little", signed=True)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ext_hook=_widened).decode
