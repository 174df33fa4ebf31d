"""A state's bytes and an instant make a row, compiled: what every decision reads.

Recent events are added, in scratch, to each cell that is read, so that a state reads the same before and
after it is settled.
"""

import numpy as np
from numpy.typing import NDArray

from features.kernel import recent, settled
from features.kernel.additions import (
    ADDED_KEY,
    ADDED_NEXT,
    ADDED_TIME,
    ADDITION,
    Additions,
    add_recent,
    list_additions,
)
from features.kernel.applying import held_tiles, room_of
from features.kernel.cell import begin_cell, load_cell, size_of
from features.kernel.compiled import Bytes, Floats, Words, compiled, int64, pointer
from features.kernel.layout import (
    BANK_COLUMNS,
    FEATURE_AT,
    FEATURE_COLUMNS,
    FEATURES_END,
    HISTOGRAM,
    KEYS,
    MATCH,
    MOST_LEVELS,
    OUT,
)
from features.kernel.percentiles import read_histograms
from features.kernel.reading import read_cell
from features.kernel.remembering import read_fired
from features.kernel.sample import kept_at
from features.kernel.scratch import Tables
from features.kernel.varint import checksum, get, get_half, get_word

GOOD, SHORT, ALTERED = range(3)
SUMS_ROOM = 5 * MOST_LEVELS + 5
"""Words before the cell in scratch, for sums of windows."""


@compiled
def check_state(buf: Bytes) -> int:
    """Whether these are the whole, unaltered bytes of a state."""
    size, buf = buf.size, pointer(buf)
    if size < recent.HEADER or get_half(buf, 0) != recent.MAGIC:
        return SHORT
    middle, behind = get_half(buf, recent.LENGTH), get_half(buf, recent.SETTLED)
    if middle < recent.HEADER or middle + behind != size or 0 < behind < settled.HEADER:
        return SHORT
    if get_word(buf, recent.CHECK) != checksum(buf, recent.DIGEST, middle):
        return ALTERED
    if behind == 0:
        return GOOD if get_word(buf, recent.SETTLED_CHECK) == 0 else ALTERED
    check = get_word(buf, middle + settled.CHECK)
    if check != get_word(buf, recent.SETTLED_CHECK):
        return ALTERED
    return GOOD if check == checksum(buf, middle + settled.NEWEST, size) else ALTERED


@compiled
def read_row(
    banks: Words, spans: Words, features: Words, scales: Floats, steps: Words, types: Words,
    fired: Words, buf: Bytes, at: int, row: Floats, fixed: NDArray[np.int64], stride: int, loaded: Words,
) -> bool:  # fmt: skip
    """Write what is not empty of a state at an instant into `row`; whether the room for a cell sufficed.

    `fired` are two columns a trigger, for how often it fired and how long ago. `fixed` (of `read_size`
    words) and `loaded` are scratch; a recent event takes `stride` words of it.
    """
    n_banks = banks.size // BANK_COLUMNS
    tables = Tables(pointer(banks), pointer(spans), pointer(steps), pointer(types), n_banks)
    features, scales, buf, row = pointer(features), pointer(scales), pointer(buf), pointer(row)
    came = recent.get_quarter(buf, recent.EVENTS)
    added = Additions(pointer(fixed), pointer(fixed[n_banks + came * stride :]), get_word(buf, recent.NEWEST))
    list_additions(tables, buf, pointer(fixed[n_banks:]), stride, added.first, added.additions)
    words = pointer(loaded)
    degree = int64(buf[recent.DEGREE])
    start = get_half(buf, recent.LENGTH)
    place, count = start, int64(0)
    if get_half(buf, recent.SETTLED):
        place, count = start + settled.HEADER, get_half(buf, start + settled.CELLS)
    first, cells, histograms = place, count, False
    done = int64(0)
    while done < n_banks:
        # The cells that are there come in order of banks; those that only recent events begin, between.
        bank, payload, end, keyed = int64(n_banks), int64(-1), place, False
        if count:
            bank, place = get(buf, place)
            keyed = tables.banks[bank * BANK_COLUMNS + KEYS] > 0
            length, place = get(buf, place + 8 if keyed else place)
            end = place + length
            _, payload = get(buf, place)
            count -= 1
        place = end
        for number in range(done, min(bank + 1, n_banks)):
            column = number * BANK_COLUMNS
            if tables.banks[column + KEYS] or (number < bank and added.first[number] < 0):
                histograms = histograms or tables.banks[column + MATCH] == HISTOGRAM
                continue
            if tables.banks[column + FEATURES_END] == tables.banks[column + FEATURE_AT]:
                continue
            held = held_tiles(tables.banks, buf, bank, payload) if number == bank else int64(0)
            coming = came if added.first[number] >= 0 else int64(0)
            room = room_of(tables.banks, number, held, coming)
            if SUMS_ROOM + size_of(tables.banks, number, room) > loaded.size:
                return False
            if number == bank:
                load_cell(tables.banks, words, SUMS_ROOM, number, 0, room, buf, payload)
            else:
                begin_cell(tables.banks, words, SUMS_ROOM, number, 0, room)
            if coming:
                add_recent(tables, added, words, SUMS_ROOM, number, 0, degree)
            read_cell(
                tables.banks, tables.spans, features, scales, words, SUMS_ROOM, degree, at, words, row, 0
            )
        done = max(done, bank + 1)
    if fired.size and get_half(buf, recent.MEMORY):
        read_fired(buf, recent.events_end(buf, 0), at, pointer(fired), fired.size, row)
    return not histograms or read_histograms(
        tables, features, scales, added, came, buf, first, cells, degree, at, row, words, SUMS_ROOM,
        loaded.size,
    )  # fmt: skip


@compiled
def read_cross(
    banks: Words, spans: Words, features: Words, scales: Floats, steps: Words, types: Words,
    buf: Bytes, at: int, keys: Words, ranges: Words, rows: Floats, width: int,
    fixed: NDArray[np.int64], stride: int, loaded: Words,
) -> bool:  # fmt: skip
    """Write what is known of the keys that offers pick: key n, of the match whose range it is in, to row n
    of `rows`.

    `keys` are sorted within each match, ranges[m] to ranges[m + 1] those of match m. A key that its family
    has let go reads as infinite, which nothing that is kept does. The rest, and the answer, as in `read_row`.
    """
    n_banks = banks.size // BANK_COLUMNS
    tables = Tables(pointer(banks), pointer(spans), pointer(steps), pointer(types), n_banks)
    features, scales, buf = pointer(features), pointer(scales), pointer(buf)
    keys, ranges, rows = pointer(keys), pointer(ranges), pointer(rows)
    came = recent.get_quarter(buf, recent.EVENTS)
    added = Additions(pointer(fixed), pointer(fixed[n_banks + came * stride :]), get_word(buf, recent.NEWEST))
    list_additions(tables, buf, pointer(fixed[n_banks:]), stride, added.first, added.additions)
    words = pointer(loaded)
    degree = int64(buf[recent.DEGREE])
    start = get_half(buf, recent.LENGTH)
    place, count = start, int64(0)
    if get_half(buf, recent.SETTLED):
        place, count = start + settled.HEADER, get_half(buf, start + settled.CELLS)
    for _ in range(count):
        bank, place = get(buf, place)
        column = bank * BANK_COLUMNS
        if tables.banks[column + MATCH] < 0:
            length, place = get(buf, place + 8 if tables.banks[column + KEYS] else place)
            place += length
            continue
        key = get_word(buf, place)
        length, place = get(buf, place + 8)
        _, payload = get(buf, place)
        place += length
        match = tables.banks[column + MATCH]
        if key == 0:
            thin, _ = get(buf, payload)
            forget_thinned(tables, features, added, bank, thin, keys, ranges, rows, width)
            continue
        row = row_of(keys, ranges[match], ranges[match + 1], key)
        if row >= 0:
            room = room_of(tables.banks, bank, held_tiles(tables.banks, buf, bank, payload), came)
            if SUMS_ROOM + size_of(tables.banks, bank, room) > loaded.size:
                return False
            load_cell(tables.banks, words, SUMS_ROOM, bank, key, room, buf, payload)
            add_recent(tables, added, words, SUMS_ROOM, bank, key, degree)
            read_cell(
                tables.banks, tables.spans, features, scales, words, SUMS_ROOM, degree, at, words, rows,
                row * width,
            )  # fmt: skip
    # Keys that only recent events have.
    for bank in range(n_banks if came else 0):
        column = bank * BANK_COLUMNS
        number = added.first[bank] if tables.banks[column + MATCH] >= 0 else int64(-1)
        while number >= 0:
            addition = number * ADDITION
            number = added.additions[addition + ADDED_NEXT]
            if added.additions[addition + ADDED_TIME] < 0:
                continue
            key, match = added.additions[addition + ADDED_KEY], tables.banks[column + MATCH]
            row = row_of(keys, ranges[match], ranges[match + 1], key)
            if row < 0:
                continue
            room = room_of(tables.banks, bank, 0, came)
            if SUMS_ROOM + size_of(tables.banks, bank, room) > loaded.size:
                return False
            begin_cell(tables.banks, words, SUMS_ROOM, bank, key, room)
            add_recent(tables, added, words, SUMS_ROOM, bank, key, degree)
            read_cell(
                tables.banks, tables.spans, features, scales, words, SUMS_ROOM, degree, at, words, rows,
                row * width,
            )  # fmt: skip
    return True


@compiled
def forget_thinned(
    tables: Tables, features: Words, added: Additions, bank: int, thin: int,
    keys: Words, ranges: Words, rows: Floats, width: int,
) -> None:  # fmt: skip
    """Mark what a family thinned so far no longer keeps, and leave out what recent events add to it."""
    column = bank * BANK_COLUMNS
    match = tables.banks[column + MATCH]
    for row in range(ranges[match], ranges[match + 1]):
        if not kept_at(keys[row], thin):
            for feature in range(tables.banks[column + FEATURE_AT], tables.banks[column + FEATURES_END]):
                rows[row * width + features[feature * FEATURE_COLUMNS + OUT]] = np.inf
    number = added.first[bank]
    while number >= 0:
        if not kept_at(added.additions[number * ADDITION + ADDED_KEY], thin):
            added.additions[number * ADDITION + ADDED_TIME] = -1
        number = added.additions[number * ADDITION + ADDED_NEXT]


@compiled
def row_of(keys: Words, low: int, high: int, key: int) -> int:
    """The place of a key among sorted ones; -1 when it is not there."""
    end = high
    while low < high:
        middle = (low + high) >> 1
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low if low < end and keys[low] == key else -1


def read_size(banks: int, most: int, stride: int, steps: int) -> int:
    """Words of scratch for reading: so many recent events of rows so wide, each of at most so many steps."""
    return banks + most * stride + ADDITION * most * steps
