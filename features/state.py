"""What is kept about one customer: an element of a commutative monoid, and its bytes.

The bytes are the state: folding makes new ones of old ones, reading reads them, and both are compiled (see
`features.kernel`). A recent part in front has the newest events as they came, a settled part behind it what
the others came to. The same log gives the same bytes; settled, so do the same events in whatever order.
`features.fold` tells the law.
"""

import struct

import numpy as np

from events.faults import Refusal
from features.kernel import recent as head
from features.kernel.looking import GOOD, SHORT, check_state
from features.kernel.varint import checksum

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
    """What is kept about one customer: its bytes in two parts, opened.

    `recent`: the head, positions, ids, the newest events as they came, and the memory of triggers. `settled`:
    the cells of what came before. `newest`: time of its newest event, ms, -1 when none. `applied`: for each
    partition of the log the last position folded in. `memory`: what the triggers remember, in bytes.
    `degree`: how far tiles were coarsened beyond what was declared, to keep within the bound. `flags`: what
    else was let go (see `features.kernel.settled`).
    """

    __slots__ = ("digest", "newest", "recent", "settled")

    def __init__(self, blob: bytes) -> None:
        middle = middle_of(blob)
        self.become(blob[:middle], blob[middle:])

    def become(self, recent: bytes, settled: bytes) -> None:
        """Be the state of these parts from now on."""
        self.recent, self.settled = recent, settled
        self.digest = recent[16:24].hex()
        self.newest: int = int.from_bytes(recent[24:32], "little", signed=True)

    @property
    def blob(self) -> bytes:
        """Both parts as they are."""
        return self.recent + self.settled

    @property
    def applied(self) -> dict[int, int]:
        """For each partition of the log the last position folded in."""
        (count,) = struct.unpack_from("<H", self.recent, head.APPLIED)
        end = head.HEADER + count * _POSITION.size
        return dict(_POSITION.iter_unpack(self.recent[head.HEADER : end]))

    @property
    def held(self) -> int:
        """How many events are kept as they came, to be added to the cells later."""
        return held_of(self.recent)

    @property
    def degree(self) -> int:
        """How far tiles were coarsened beyond what was declared; 0 for not at all."""
        return self.recent[head.DEGREE]

    @property
    def flags(self) -> int:
        """What was let go to keep within bounds."""
        return self.recent[head.FLAGS]

    @property
    def memory(self) -> bytes:
        """What the triggers remember (see `features.remembered`)."""
        return memory_of(self.recent)

    def remember(self, memory: bytes) -> None:
        """Have the triggers remember this."""
        self.recent = with_memory(self.recent, memory)


def memory_of(recent: bytes) -> bytes:
    """What the triggers remember in a recent part."""
    (length,) = struct.unpack_from("<I", recent, head.MEMORY)
    return recent[len(recent) - length :] if length else b""


def with_memory(recent: bytes, memory: bytes) -> bytes:
    """A recent part in which the triggers remember this."""
    (length,) = struct.unpack_from("<I", recent, head.MEMORY)
    body = bytearray(recent[: len(recent) - length] + memory)
    struct.pack_into("<I", body, head.MEMORY, len(memory))
    struct.pack_into("<I", body, head.LENGTH, len(body))
    bytes_of = np.frombuffer(body, dtype=np.uint8)
    struct.pack_into("<q", body, head.CHECK, checksum(bytes_of, head.DIGEST, len(body)))
    return bytes(body)


def middle_of(blob: bytes) -> int:
    """Where the settled part begins in the bytes of both."""
    return int.from_bytes(blob[head.LENGTH : head.LENGTH + 4], "little")


def parts_of(blob: bytes) -> tuple[bytes, bytes]:
    """The recent and the settled part in the bytes of both."""
    middle = middle_of(blob)
    return blob[:middle], blob[middle:]


def held_of(recent: bytes) -> int:
    """How many events a recent part keeps as they came."""
    return int.from_bytes(recent[head.EVENTS : head.EVENTS + 2], "little")


def open_state(blob: bytes, digest: str) -> State:
    """The state in these bytes, which must have been folded under the plan `digest`.

    Errors: `BlobDamaged`, `UnknownPlan`.
    """
    found = check_state(np.frombuffer(blob or b"?", dtype=np.uint8))
    if found != GOOD:
        what = "whole" if found == SHORT else "fit their check"
        raise BlobDamaged(
            f"state of a customer: expected bytes that begin with K3 and are {what}, found {len(blob)} bytes "
            f"{blob[:8]!r}...; delete it and fold the customer's log again"
        )
    state = State(blob)
    if state.digest != digest:
        raise UnknownPlan(state.digest, digest)
    return state
