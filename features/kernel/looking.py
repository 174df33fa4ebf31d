"""A state's bytes and an instant make a row, compiled: what every decision reads."""

import numpy as np

from features.kernel.cell import load_cell, size_of
from features.kernel.compiled import Bytes, Floats, Words, compiled, int64, pointer
from features.kernel.folding import held_tiles, longer
from features.kernel.header import CELLS, CHECK, DEGREE, DIGEST, HEADER, LENGTH, MAGIC, cells_at
from features.kernel.layout import (
    BANK_COLUMNS,
    FEATURE_AT,
    FEATURE_COLUMNS,
    FEATURES_END,
    KEYS,
    MATCH,
    MOST_LEVELS,
    OUT,
)
from features.kernel.reading import read_cell
from features.kernel.sample import kept_at
from features.kernel.varint import checksum, get, get_half, get_word

GOOD, SHORT, ALTERED = range(3)
SUMS_ROOM = 5 * MOST_LEVELS + 5
"""Words before the cell in scratch, for sums of windows."""


@compiled
def check_state(buf: Bytes) -> int:
    """Whether these are the whole, unaltered bytes of a state."""
    size, buf = buf.size, pointer(buf)
    if size < HEADER or get_half(buf, 0) != MAGIC or get_half(buf, LENGTH) != size:
        return SHORT
    return GOOD if get_word(buf, CHECK) == checksum(buf, DIGEST, size) else ALTERED


@compiled
def read_row(
    banks: Words, spans: Words, features: Words, scales: Floats, buf: Bytes, at: int, row: Floats
) -> None:
    """Write what is not empty of a state at an instant into `row`."""
    banks, spans, features, scales = pointer(banks), pointer(spans), pointer(features), pointer(scales)
    buf, row = pointer(buf), pointer(row)
    scratch: Words = np.empty(4096, dtype=np.int64)
    degree = int64(buf[DEGREE])
    place = cells_at(buf, 0)
    for _ in range(get_half(buf, CELLS)):
        bank, place = get(buf, place)
        if banks[bank * BANK_COLUMNS + KEYS]:
            place += 8
        length, place = get(buf, place)
        end = place + length
        if (
            not banks[bank * BANK_COLUMNS + KEYS]
            and banks[bank * BANK_COLUMNS + FEATURES_END] > banks[bank * BANK_COLUMNS + FEATURE_AT]
        ):
            _, payload = get(buf, place)
            room = held_tiles(banks, buf, bank, payload)
            scratch = longer(scratch, SUMS_ROOM + size_of(banks, bank, room))
            words = pointer(scratch)
            load_cell(banks, words, SUMS_ROOM, bank, 0, room, buf, payload)
            read_cell(banks, spans, features, scales, words, SUMS_ROOM, degree, at, words, row, 0)
        place = end


@compiled
def read_cross(
    banks: Words, spans: Words, features: Words, scales: Floats, buf: Bytes, at: int,
    keys: Words, ranges: Words, rows: Floats, width: int,
) -> None:  # fmt: skip
    """Write what is known of the keys that offers pick: key n, of the match whose range it is in, to row n
    of `rows`.

    `keys` are sorted within each match, ranges[m] to ranges[m + 1] those of match m. A key that its family
    has let go reads as infinite, which nothing that is kept does.
    """
    banks, spans, features, scales = pointer(banks), pointer(spans), pointer(features), pointer(scales)
    buf, keys, ranges, rows = pointer(buf), pointer(keys), pointer(ranges), pointer(rows)
    scratch: Words = np.empty(4096, dtype=np.int64)
    degree = int64(buf[DEGREE])
    place = cells_at(buf, 0)
    for _ in range(get_half(buf, CELLS)):
        bank, place = get(buf, place)
        if not banks[bank * BANK_COLUMNS + KEYS]:
            length, place = get(buf, place)
            place += length
            continue
        key = get_word(buf, place)
        length, place = get(buf, place + 8)
        end = place + length
        match = banks[bank * BANK_COLUMNS + MATCH]
        _, payload = get(buf, place)
        if key == 0:
            thin, _ = get(buf, payload)
            for n in range(ranges[match], ranges[match + 1]):
                if not kept_at(keys[n], thin):
                    for feature in range(
                        banks[bank * BANK_COLUMNS + FEATURE_AT], banks[bank * BANK_COLUMNS + FEATURES_END]
                    ):
                        rows[n * width + features[feature * FEATURE_COLUMNS + OUT]] = np.inf
        else:
            low, high = ranges[match], ranges[match + 1]
            while low < high:
                middle = (low + high) >> 1
                if keys[middle] < key:
                    low = middle + 1
                else:
                    high = middle
            if low < ranges[match + 1] and keys[low] == key:
                room = held_tiles(banks, buf, bank, payload)
                scratch = longer(scratch, SUMS_ROOM + size_of(banks, bank, room))
                words = pointer(scratch)
                load_cell(banks, words, SUMS_ROOM, bank, key, room, buf, payload)
                read_cell(
                    banks, spans, features, scales, words, SUMS_ROOM, degree, at, words, rows, low * width
                )
        place = end
