"""What is kept about one customer: an element of a commutative monoid, and its bytes.

The bytes are the state: folding makes new ones of old ones, reading reads them, and both are compiled (see
`features.kernel`). They are canonical: the same events give the same bytes. `features.fold` tells the law.
"""

import struct
from typing import Any

import msgspec
import numpy as np

from events.faults import Refusal
from features.kernel import header
from features.kernel.looking import GOOD, SHORT, check_state
from features.kernel.varint import checksum

_FIXED = struct.Struct("<4sIq8sqBBHIIII")
assert _FIXED.size == header.HEADER
_POSITION = struct.Struct("<Iq")


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
    """What is kept about one customer: its bytes, opened.

    `newest`: time of its newest event, ms, -1 when none. `applied`: for each partition of the log the last
    position folded in. `memory`: what the triggers remember; changes of it are kept by `seal`. `degree`:
    how far tiles were coarsened beyond what was declared, to keep within the bound. `flags`: what else was
    let go (see `features.kernel.header`).
    """

    __slots__ = ("_memory", "_packed", "blob", "digest", "newest")

    def __init__(self, blob: bytes) -> None:
        self.become(blob)

    def become(self, blob: bytes) -> None:
        """Be the state in these bytes from now on."""
        self.blob = blob
        self.digest = blob[16:24].hex()
        self.newest: int = int.from_bytes(blob[24:32], "little", signed=True)
        self._memory: dict[str, list[Any]] | None = None
        self._packed = b""

    @property
    def applied(self) -> dict[int, int]:
        """For each partition of the log the last position folded in."""
        (count,) = struct.unpack_from("<H", self.blob, header.APPLIED)
        end = header.HEADER + count * _POSITION.size
        return dict(_POSITION.iter_unpack(self.blob[header.HEADER : end]))

    @property
    def degree(self) -> int:
        """How far tiles were coarsened beyond what was declared; 0 for not at all."""
        return self.blob[header.DEGREE]

    @property
    def flags(self) -> int:
        """What was let go to keep within bounds."""
        return self.blob[header.FLAGS]

    @property
    def memory(self) -> dict[str, list[Any]]:
        """What the triggers remember; may be changed, and is kept with `seal`."""
        if self._memory is None:
            (length,) = struct.unpack_from("<I", self.blob, header.MEMORY)
            self._packed = self.blob[len(self.blob) - length :] if length else b""
            self._memory = _decode(self._packed) if length else {}
        return self._memory

    def seal(self) -> bytes:
        """The bytes, with what the triggers remember now."""
        if self._memory is None:
            return self.blob
        names = sorted(self._memory)
        packed = _encode({name: self._memory[name] for name in names}) if names else b""
        if packed != self._packed:
            body = bytearray(self.blob[: len(self.blob) - len(self._packed)] + packed)
            struct.pack_into("<I", body, header.MEMORY, len(packed))
            struct.pack_into("<I", body, header.LENGTH, len(body))
            bytes_of = np.frombuffer(body, dtype=np.uint8)
            struct.pack_into("<q", body, header.CHECK, checksum(bytes_of, header.DIGEST, len(body)))
            self.blob, self._packed = bytes(body), packed
        return self.blob


def open_state(blob: bytes, digest: str) -> State:
    """The state in these bytes, which must have been folded under the plan `digest`.

    Errors: `BlobDamaged`, `UnknownPlan`.
    """
    found = check_state(np.frombuffer(blob or b"?", dtype=np.uint8))
    if found != GOOD:
        what = "whole" if found == SHORT else "fit their check"
        raise BlobDamaged(
            f"state of a customer: expected bytes that begin with K2 and are {what}, found {len(blob)} bytes "
            f"{blob[:8]!r}...; delete it and fold the customer's log again"
        )
    state = State(blob)
    if state.digest != digest:
        raise UnknownPlan(state.digest, digest)
    return state


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, list[Any]]).decode
