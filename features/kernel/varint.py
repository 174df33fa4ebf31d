"""Whole numbers in as few bytes as they need (LEB128), and fixed ones of 4 and 8 bytes, little end first."""

import numpy as np

from features.kernel.compiled import Bytes, compiled, int64

_MIX = np.uint64(0xC2B2AE3D27D4EB4F)


@compiled
def put(buf: Bytes, at: int, value: int) -> int:
    """Write the 64 bits of `value` as an unsigned number at `at`; where to go on."""
    while value & -128:
        buf[at] = (value & 127) | 128
        value = (value >> 7) & 0x01FFFFFFFFFFFFFF
        at += 1
    buf[at] = value
    return at + 1


@compiled
def get(buf: Bytes, at: int) -> tuple[int, int]:
    """Read what `put` wrote: (value, where to go on)."""
    value = int64(buf[at])
    at += 1
    if value < 128:
        return value, at
    value &= 127
    shift = 7
    while shift < 64:
        byte = int64(buf[at])
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
    return value, at


@compiled
def put_signed(buf: Bytes, at: int, value: int) -> int:
    """Write a number of either sign, small ones short."""
    return put(buf, at, (value << 1) ^ (value >> 63))


@compiled
def get_signed(buf: Bytes, at: int) -> tuple[int, int]:
    """Read what `put_signed` wrote."""
    coded, at = get(buf, at)
    return ((coded >> 1) & 0x7FFFFFFFFFFFFFFF) ^ -(coded & 1), at


@compiled
def put_word(buf: Bytes, at: int, value: int) -> int:
    """Write 8 bytes."""
    for n in range(8):
        buf[at + n] = (value >> (8 * n)) & 255
    return at + 8


@compiled
def get_word(buf: Bytes, at: int) -> int:
    """Read 8 bytes."""
    value = int64(0)
    for n in range(8):
        value |= int64(buf[at + n]) << (8 * n)
    return value


@compiled
def put_half(buf: Bytes, at: int, value: int) -> int:
    """Write 4 bytes."""
    for n in range(4):
        buf[at + n] = (value >> (8 * n)) & 255
    return at + 4


@compiled
def get_half(buf: Bytes, at: int) -> int:
    """Read 4 bytes, unsigned."""
    value = int64(0)
    for n in range(4):
        value |= int64(buf[at + n]) << (8 * n)
    return value


@compiled
def checksum(buf: Bytes, start: int, end: int) -> int:
    """A 64-bit check of buf[start:end]: words multiplied and rotated in, about a nanosecond each."""
    check = np.uint64(end - start) * _MIX
    at = start
    while at + 8 <= end:
        check = (check ^ np.uint64(get_word(buf, at))) * _MIX
        check ^= check >> np.uint64(29)
        at += 8
    while at < end:
        check = (check ^ np.uint64(buf[at])) * _MIX
        check ^= check >> np.uint64(29)
        at += 1
    return int64(check)
