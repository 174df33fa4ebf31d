"""Records of the log, as MessagePack, into columns: what the fold needs of an event, without an object.

A record is ["e", type, id, time, customer, {field: value}] or ["t", time] (see `events.codec`). What is not
quite so, or is of a kind that no table has room for, is left to who asks, who decodes it the slow way.
"""

from typing import Any

import numpy as np

from features.kernel.compiled import Bytes, Words, compiled, int64, pointer
from features.kernel.layout import MISSING
from features.kernel.varint import get_word

IRRELEVANT, TICK, UNREAD = -1, -2, -3
"""Kinds of rows beside the numbers of types: of no concern, the clock, not understood."""

NONE, TRUTH, NUMBER, TEXT, OTHER = range(5)
"""Kinds of values; a field that an event does not have is `NONE`."""

ROW_KIND, ROW_TIME, ROW_MARK, ROW_OWNER, ROW_CELLS = range(5)
ROW_COLUMNS = 5
CELL_KIND, CELL_VALUE, CELL_CODE = range(3)
CELL_COLUMNS = 3
"""Of each wanted field: kind of its value; the number, the truth, or the hash of the text; a code of it."""

KEY_SEED = 0x4B
CODE_NONE, CODE_FALSE, CODE_TRUE, FIRST_TEXT = range(4)

_C1, _C2 = np.uint64(0x87C37B91114253D5), np.uint64(0x4CF5AD432745937F)
_M1, _M2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_N1, _N2, _FIVE = np.uint64(0x52DCE729), np.uint64(0x38495AB5), np.uint64(5)


@compiled
def _turn(x: Any, bits: int) -> Any:
    return (x << np.uint64(bits)) | (x >> np.uint64(64 - bits))


@compiled
def _mix(x: Any) -> Any:
    x = (x ^ (x >> np.uint64(33))) * _M1
    x = (x ^ (x >> np.uint64(33))) * _M2
    return x ^ (x >> np.uint64(33))


@compiled
def hash_bytes(buf: Bytes, start: int, end: int, seed: int) -> int:
    """The first 64 bits of MurmurHash3 x64 128 of buf[start:end]."""
    one: Any = np.uint64(seed)
    two: Any = np.uint64(seed)
    at = start
    while at + 16 <= end:
        one ^= _turn(np.uint64(get_word(buf, at)) * _C1, 31) * _C2
        one = (_turn(one, 27) + two) * _FIVE + _N1
        two ^= _turn(np.uint64(get_word(buf, at + 8)) * _C2, 33) * _C1
        two = (_turn(two, 31) + one) * _FIVE + _N2
        at += 16
    k1: Any = np.uint64(0)
    k2: Any = np.uint64(0)
    for n in range(min(end - at, 8)):
        k1 |= np.uint64(buf[at + n]) << np.uint64(8 * n)
    for n in range(8, end - at):
        k2 |= np.uint64(buf[at + n]) << np.uint64(8 * (n - 8))
    one ^= _turn(k1 * _C1, 31) * _C2
    two ^= _turn(k2 * _C2, 33) * _C1
    one ^= np.uint64(end - start)
    two ^= np.uint64(end - start)
    one += two
    two += one
    return int64(_mix(one) + _mix(two))


@compiled
def same_bytes(buf: Bytes, start: int, end: int, other: Bytes, other_start: int, other_end: int) -> bool:
    """Whether both are the same bytes."""
    if end - start != other_end - other_start:
        return False
    for n in range(end - start):  # noqa: SIM110  # compiled, which knows no generators
        if buf[start + n] != other[other_start + n]:
            return False
    return True


@compiled
def text_at(buf: Bytes, at: int, end: int) -> tuple[int, int]:
    """Where the text at `at` begins and ends; -1 for the end when there is none."""
    if at >= end:
        return at, -1
    byte = int64(buf[at])
    if 0xA0 <= byte <= 0xBF:
        start, size = at + 1, byte & 31
    elif 0xD9 <= byte <= 0xDB:
        width = 1 << (byte - 0xD9)
        start, size = at + 1 + width, int64(0)
        if start > end:
            return at, -1
        for n in range(width):
            size = size << 8 | int64(buf[at + 1 + n])
    else:
        return at, -1
    return start, start + size if start + size <= end else -1


@compiled
def number_at(buf: Bytes, at: int, end: int) -> tuple[int, int]:
    """The whole number at `at` and where to go on; -1 for the latter when there is none of 64 bits."""
    if at >= end:
        return 0, -1
    byte = int64(buf[at])
    if byte < 0x80:
        return byte, at + 1
    if byte >= 0xE0:
        return byte - 256, at + 1
    if not 0xCC <= byte <= 0xD3:
        return 0, -1
    width = 1 << (byte & 3)
    if at + 1 + width > end:
        return 0, -1
    value = int64(0)
    for n in range(width):
        value = value << 8 | int64(buf[at + 1 + n])
    if byte >= 0xD0:
        if width < 8 and value >= 1 << (8 * width - 1):
            value -= 1 << (8 * width)
    elif value < 0:
        return 0, -1
    return value, at + 1 + width


@compiled
def after_other(buf: Bytes, at: int, end: int) -> int:
    """Where a float, bytes, or a whole number past 64 bits ends; -1 when it is none of these."""
    byte = int64(buf[at])
    if byte in (0xCB, 0xCF):
        past = at + 9
    elif byte == 0xCA:
        past = at + 5
    elif 0xC4 <= byte <= 0xC6:
        width = 1 << (byte - 0xC4)
        if at + 1 + width > end:
            return -1
        size = int64(0)
        for n in range(width):
            size = size << 8 | int64(buf[at + 1 + n])
        past = at + 1 + width + size
    else:
        return -1
    return past if past <= end else -1


@compiled
def code_of(
    buf: Bytes, start: int, end: int, mark: int, table: Words, mask: int, known: Words, count: int
) -> int:
    """The number of a text among those `known` (start and end of each); `count` when it is new."""
    slot = mark & mask
    while table[slot]:
        code = table[slot] - 1
        if same_bytes(buf, start, end, buf, known[2 * code], known[2 * code + 1]):
            return code
        slot = (slot + 1) & mask
    table[slot] = count + 1
    known[2 * count], known[2 * count + 1] = start, end
    return count


@compiled
def read_fields(
    buf: Bytes, at: int, end: int, names: Bytes, fields: Words, first: int, wanted: int,
    cells: Words, into: int,
) -> int:  # fmt: skip
    """Read the map at `at`: of each wanted field its kind, and its number or where its text is.

    They go to `cells` from `into` on. Where the map ends; -1 when it is not understood.
    """
    if at >= end:
        return -1
    byte = int64(buf[at])
    if 0x80 <= byte <= 0x8F:
        count, at = byte & 15, at + 1
    elif byte == 0xDE and at + 3 <= end:
        count, at = int64(buf[at + 1]) << 8 | int64(buf[at + 2]), at + 3
    else:
        return -1
    for n in range(wanted):
        cells[into + n * CELL_COLUMNS + CELL_KIND] = NONE
        cells[into + n * CELL_COLUMNS + CELL_VALUE] = MISSING
    likely = int64(0)
    for _ in range(count):
        start, stop = text_at(buf, at, end)
        if stop < 0 or stop >= end:
            return -1
        cell = int64(-1)
        for n in range(wanted):
            field = likely + n if likely + n < wanted else likely + n - wanted
            of = 2 * (first + field)
            if same_bytes(buf, start, stop, names, fields[of], fields[of + 1]):
                cell, likely = into + field * CELL_COLUMNS, field + 1
                break
        at = stop
        kind, value, code = OTHER, int64(0), int64(0)
        byte = int64(buf[at])
        if byte == 0xC0:
            kind, value, at = NONE, int64(MISSING), at + 1
        elif byte == 0xC2 or byte == 0xC3:
            kind, value, at = TRUTH, byte & 1, at + 1
        else:
            start, stop = text_at(buf, at, end)
            if stop >= 0:
                kind, value, code, at = TEXT, start, stop, stop
            else:
                value, past = number_at(buf, at, end)
                if past >= 0:
                    kind, at = NUMBER, past
                else:
                    at = after_other(buf, at, end)
                    if at < 0:
                        return -1
        if cell >= 0:
            cells[cell + CELL_KIND], cells[cell + CELL_VALUE], cells[cell + CELL_CODE] = kind, value, code
    return at


@compiled
def read_log(
    buf: Bytes, starts: Words, names: Bytes, types: Words, fields: Words, n_types: int,
    rows: Words, cells: Words, texts: Words, text_table: Words, people: Words, people_table: Words,
    scratch: Bytes,
) -> tuple[int, int, int]:  # fmt: skip
    """Read records into rows: (how many cells, different texts, different customers there are).

    Record n is buf[starts[n]:starts[n + 1]]. Type t is called names[types[4 t]:types[4 t + 1]], and of its
    fields those from types[4 t + 2] to types[4 t + 3] of `fields` (start and end of each name) are wanted, a
    cell for each, in order. `texts` and `people` get start and end of each; tables are powers of two, larger
    than there may be of them. Texts are numbered from `FIRST_TEXT` on.
    """
    count, text_mask, people_mask = starts.size - 1, text_table.size - 1, people_table.size - 1
    buf, starts, names, types, fields = (
        pointer(buf), pointer(starts), pointer(names), pointer(types), pointer(fields),
    )  # fmt: skip
    n_cells, n_texts, n_people = int64(0), int64(0), int64(0)
    for row in range(count):
        out = row * ROW_COLUMNS
        rows[out + ROW_KIND] = UNREAD
        rows[out + ROW_OWNER] = -1
        at, end = starts[row], starts[row + 1]
        if end - at < 4 or buf[at + 1] != 0xA1:
            continue
        if buf[at] == 0x92 and buf[at + 2] == 0x74:  # a tick
            time, at = number_at(buf, at + 3, end)
            if at == end:
                rows[out + ROW_KIND], rows[out + ROW_TIME] = TICK, time
            continue
        if buf[at] != 0x96 or buf[at + 2] != 0x65:
            continue
        kind_at, kind_end = text_at(buf, at + 3, end)
        if kind_end < 0:
            continue
        id_at, id_end = text_at(buf, kind_end, end)
        if id_end < 0:
            continue
        time, at = number_at(buf, id_end, end)
        if at < 0:
            continue
        who_at, who_end = text_at(buf, at, end)
        if who_end < 0:
            continue
        kind = int64(IRRELEVANT)
        for number in range(n_types):
            if same_bytes(buf, kind_at, kind_end, names, types[4 * number], types[4 * number + 1]):
                kind = int64(number)
                break
        rows[out + ROW_TIME] = time
        if kind < 0:
            # Nothing is asked of it, but it must be whole.
            if read_fields(buf, who_end, end, names, fields, 0, 0, cells, 0) == end:
                rows[out + ROW_KIND] = IRRELEVANT
            continue
        first, wanted = types[4 * kind + 2], types[4 * kind + 3] - types[4 * kind + 2]
        size = kind_end - kind_at + 1 + id_end - id_at
        if size > scratch.size:
            continue
        mine = n_cells * CELL_COLUMNS
        if read_fields(buf, who_end, end, names, fields, first, wanted, cells, mine) != end:
            continue
        for n in range(kind_end - kind_at):
            scratch[n] = buf[kind_at + n]
        scratch[kind_end - kind_at] = 0
        for n in range(id_end - id_at):
            scratch[kind_end - kind_at + 1 + n] = buf[id_at + n]
        rows[out + ROW_KIND] = kind
        rows[out + ROW_MARK] = hash_bytes(scratch, 0, size, 0)
        mark = hash_bytes(buf, who_at, who_end, 0)
        owner = code_of(buf, who_at, who_end, mark, people_table, people_mask, people, n_people)
        n_people = max(n_people, owner + 1)
        rows[out + ROW_OWNER] = owner
        rows[out + ROW_CELLS] = n_cells
        for n in range(wanted):
            cell = mine + n * CELL_COLUMNS
            if cells[cell + CELL_KIND] == TEXT:
                start, stop = cells[cell + CELL_VALUE], cells[cell + CELL_CODE]
                mark = hash_bytes(buf, start, stop, KEY_SEED)
                code = code_of(buf, start, stop, mark, text_table, text_mask, texts, n_texts)
                n_texts = max(n_texts, code + 1)
                cells[cell + CELL_VALUE] = 1 if mark == 0 or mark == MISSING else mark
                cells[cell + CELL_CODE] = FIRST_TEXT + code
            elif cells[cell + CELL_KIND] == TRUTH:
                cells[cell + CELL_CODE] = CODE_FALSE + cells[cell + CELL_VALUE]
            else:
                cells[cell + CELL_CODE] = CODE_NONE
        n_cells += wanted
    return n_cells, n_texts, n_people
