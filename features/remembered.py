"""What triggers remember of one customer, opened in plain Python: for wake-ups, for other plans, for people.

The bytes are those of `features.kernel.remembering`; what is written here is what compiled code would write.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import numpy as np

from features.kernel import trigger_layout as at
from features.kernel.remembering import details_at, waits_at

_HOLDS = 8


@dataclass(slots=True)
class Entry:
    """Of one trigger: flags, the last firing (ms) with how often, mark and key of its cause, events held."""

    flags: int = 0
    last: int = 0
    times: int = 0
    mark: int = 0
    key: int = 0
    held: tuple[tuple[int, int], ...] = ()

    @property
    def fired(self) -> bool:
        """Whether it ever has."""
        return bool(self.flags & at.HAS_FIRED)


class Wait(NamedTuple):
    """An instant (ms) that is waited for; `began` is -1 for a look that was armed."""

    end: int
    trigger: int
    began: int
    mark: int
    key: int


@dataclass(slots=True)
class Remembered:
    """Entries by number, waits in order, and of waits that began (trigger, mark) -> [cause, payload]."""

    entries: dict[int, Entry] = field(default_factory=dict)
    waits: list[Wait] = field(default_factory=list)
    details: dict[tuple[int, int], list[Any]] = field(default_factory=dict)


def unpack(packed: bytes) -> Remembered:
    """What is remembered in these bytes."""
    found = Remembered()
    if not packed:
        return found
    reader = _Reader(packed)
    number = 0
    for _ in range(reader.whole()):
        number += reader.whole()
        flags = reader.byte()
        entry = found.entries[number] = Entry(flags & (_HOLDS - 1))
        if flags & at.HAS_FIRED:
            entry.last, entry.times = reader.whole(), reader.whole()
            entry.mark, entry.key = reader.word(), reader.signed()
        if flags & _HOLDS:
            entry.held = tuple((reader.whole(), reader.signed()) for _ in range(reader.whole()))
    found.waits = _waits(reader)
    if rest := packed[reader.at :]:
        found.details = {(number, mark): told for number, mark, told in _decode(rest)}
    return found


def waits_of(packed: bytes) -> list[Wait]:
    """The instants that are waited for, alone."""
    return _waits(_behind_entries(packed)) if packed else []


def with_details(packed: bytes, told: Mapping[tuple[int, int], list[Any]]) -> bytes:
    """The same with details of more waits, (trigger, mark) -> [cause, payload, customer]; those of waits that
    are over are left out.

    Entries are stepped over by compiled code: of many triggers they are most of the bytes.
    """
    if not packed:
        return packed
    reader = _behind_entries(packed)
    waits = _waits(reader)
    details = {(number, mark): each for number, mark, each in _decode(packed[reader.at :] or _NONE)}
    return packed[: reader.at] + _details(waits, {**details, **told})


def without_details(
    before: bytes, after: bytes, over: Collection[tuple[int, int]]
) -> tuple[dict[tuple[int, int], list[Any]], bytes]:
    """The details of waits that are over, (trigger, mark), off what was remembered before; and what is
    remembered after, where compiled code carried all details along, without them."""
    carried = before[int(details_at(np.frombuffer(before, dtype=np.uint8))) :]
    details = _decode(carried or _NONE)
    kept = [each for each in details if each[:2] not in over]
    found = {each[:2]: each[2] for each in details if each[:2] in over}
    return found, after[: len(after) - len(carried)] + (_encode(kept) if kept else b"")


def pack(found: Remembered) -> bytes:
    """The bytes of what is remembered; details of waits that are over are left out."""
    entries = sorted((n, e) for n, e in found.entries.items() if e.flags or e.held)
    out = bytearray()
    if entries or found.waits:
        _whole(out, len(entries))
        before = 0
        for number, entry in entries:
            _whole(out, number - before)
            before = number
            out.append(entry.flags | (_HOLDS if entry.held else 0))
            if entry.fired:
                _whole(out, entry.last)
                _whole(out, entry.times)
                out += entry.mark.to_bytes(8, "little", signed=True)
                _signed(out, entry.key)
            if entry.held:
                _whole(out, len(entry.held))
                for time, key in entry.held:
                    _whole(out, time)
                    _signed(out, key)
        _whole(out, len(found.waits))
        for wait in found.waits:
            _whole(out, wait.trigger)
            _whole(out, wait.end)
            _whole(out, wait.began + 1)
            out += wait.mark.to_bytes(8, "little", signed=True)
            _signed(out, wait.key)
    return bytes(out) + _details(found.waits, found.details)


def _waits(reader: "_Reader") -> list[Wait]:
    waits = []
    for _ in range(reader.whole()):
        trigger, end, began = reader.whole(), reader.whole(), reader.whole() - 1
        waits.append(Wait(end, trigger, began, reader.word(), reader.signed()))
    return waits


def _details(waits: Iterable[Wait], details: Mapping[tuple[int, int], list[Any]]) -> bytes:
    open_ = {(wait.trigger, wait.mark) for wait in waits if wait.began >= 0}
    kept = sorted(key for key in details if key in open_)
    return _encode([[*key, details[key]] for key in kept]) if kept else b""


def _behind_entries(packed: bytes) -> "_Reader":
    reader = _Reader(packed)
    reader.at = int(waits_at(np.frombuffer(packed, dtype=np.uint8)))
    return reader


class _Reader:
    def __init__(self, packed: bytes) -> None:
        self._packed, self.at = packed, 0

    def byte(self) -> int:
        self.at += 1
        return self._packed[self.at - 1]

    def whole(self) -> int:
        value, shift = 0, 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def signed(self) -> int:
        coded = self.whole()
        return (coded >> 1) ^ -(coded & 1)

    def word(self) -> int:
        self.at += 8
        return int.from_bytes(self._packed[self.at - 8 : self.at], "little", signed=True)


def _whole(out: bytearray, value: int) -> None:
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def _signed(out: bytearray, value: int) -> None:
    _whole(out, ((value << 1) ^ (value >> 63)) & 0xFFFFFFFFFFFFFFFF)


_encode = msgspec.msgpack.Encoder().encode
_NONE = _encode([])
_decode = msgspec.msgpack.Decoder(list[tuple[int, int, list[Any]]]).decode
