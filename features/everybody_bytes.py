"""What is counted over everybody at one instant as bytes: what a row takes in, handed to Feast."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.row import Everybody, Warming
from features.state import open_state


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    """Little-endian: float64 `row`, int64 instants from which it and what offers take in may be read.

    Without instants all of it may. `state` is what offers take in, empty for nothing.
    """

    at: int
    read: int | None
    row: bytes
    row_from: bytes
    cross_from: bytes
    state: bytes


def pack_everybody(everybody: Everybody | None, *, offers: bool = False) -> bytes:
    """The bytes of what rows of customers take in, with `offers` those of offers too; none for nothing."""
    if everybody is None:
        return b""
    warming = everybody.warming
    row_from, cross_from = (
        (b"", b"") if warming is None else (_instants(warming.row), _instants(warming.cross))
    )
    state = everybody.state.blob if offers and everybody.state is not None else b""
    row = everybody.row.astype("<f8").tobytes()
    return msgspec.msgpack.encode(_Packed(everybody.at, everybody.read, row, row_from, cross_from, state))


def _instants(instants: NDArray[np.int64]) -> bytes:
    return instants.astype("<i8").tobytes()


def unpack_everybody(packed: bytes, digest: str) -> Everybody | None:
    """What was packed of the plan `digest` (of `Plan.crowd`).

    Errors: `msgspec.DecodeError`, `BlobDamaged`, `UnknownPlan`.
    """
    if not packed:
        return None
    told = msgspec.msgpack.decode(packed, type=_Packed)
    row = np.frombuffer(told.row, dtype="<f8").astype(np.float64)
    warming = None
    if told.row_from or told.cross_from:
        both = (told.row_from, told.cross_from)
        warming = Warming(*(np.frombuffer(each, dtype="<i8").astype(np.int64) for each in both))
    state = open_state(told.state, digest) if told.state else None
    return Everybody(told.at, told.read, row, np.ones(len(row), dtype=np.bool_), state, warming)
