"""Float32 arrays as bytes, with zeros left out where that is smaller: most of a wide row is zero."""

import numpy as np
from numpy.typing import NDArray

from models.scorer import Floats

DENSE, SPARSE = b"\x00", b"\x01"
FLOAT, _WORD = np.dtype("<f4"), np.dtype("<u4")


def pack_floats(values: NDArray[np.float32]) -> bytes:
    r"""The bytes of `values`: a mark, then all of them, or a bitmap of the non-zero ones and those.

    Bit for bit: NaN and -0.0 come back as they were.

    >>> pack_floats(np.array([0, 0, 0, 0, 0, 0, 0, 1.5], dtype=np.float32))
    b'\x01\x08\x00\x00\x00\x01\x00\x00\xc0?'
    """
    flat = np.ascontiguousarray(values, dtype=FLOAT).reshape(-1)
    words = flat.view(_WORD)
    count = int(np.count_nonzero(words))
    if 4 + (len(flat) + 7) // 8 + 4 * count >= 4 * len(flat):
        return DENSE + flat.tobytes()
    present = words != 0
    bitmap = np.packbits(present).tobytes()
    return b"".join((SPARSE, len(flat).to_bytes(4, "little"), bitmap, flat[present].tobytes()))


def unpack_floats(packed: bytes) -> Floats:
    """The values, flat; ValueError when the bytes are no such array.

    >>> unpack_floats(pack_floats(np.array([0, 2], dtype=np.float32))).tolist()
    [0.0, 2.0]
    """
    if packed[:1] == DENSE:
        return np.frombuffer(packed, dtype="<f4", offset=1).astype(np.float32)
    if packed[:1] != SPARSE or len(packed) < 5:
        raise ValueError(f"packed floats: expected a mark of 0 or 1, found {packed[:1]!r}")
    length = int.from_bytes(packed[1:5], "little")
    edge = 5 + (length + 7) // 8
    present = np.unpackbits(np.frombuffer(packed[5:edge], dtype=np.uint8), count=length).view(np.bool_)
    values = np.zeros(length, dtype=np.float32)
    values[present] = np.frombuffer(packed, dtype="<f4", offset=edge)
    return values
