"""A state's bytes and an instant make a row, compiled: what every decision reads."""

import numpy as np

from features.kernel.cell import load_cell, size_of
from features.kernel.compiled import Bytes, Floats, Words, compiled
from features.kernel.folding import held_tiles, longer
from features.kernel.header import CELLS, CHECK, DEGREE, DIGEST, HEADER, LENGTH, MAGIC, cells_at
from features.kernel.layout import (
    FEATURE_AT,
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


@compiled
def check_state(buf: Bytes) -> int:
    """Whether these are the whole, unaltered bytes of a state."""
    if buf.size < HEADER or get_half(buf, 0) != MAGIC or get_half(buf, LENGTH) != buf.size:
        return SHORT
    return GOOD if get_word(buf, CHECK) == checksum(buf, DIGEST, buf.size) else ALTERED


@compiled
def read_row(
    banks: Words, spans: Words, features: Words, scales: Floats, buf: Bytes, at: int, row: Floats
) -> None:
    """Write what is not empty of a state at an instant into `row`."""
    words = np.empty(4096, dtype=np.int64)
    degree = np.int64(buf[DEGREE])
    sums = np.empty(5 * MOST_LEVELS + 5, dtype=np.int64)
    place = cells_at(buf, 0)
    for _ in range(get_half(buf, CELLS)):
        bank, place = get(buf, place)
        if banks[bank, KEYS]:
            place += 8
        length, place = get(buf, place)
        end = place + length
        if not banks[bank, KEYS] and banks[bank, FEATURES_END] > banks[bank, FEATURE_AT]:
            _, payload = get(buf, place)
            room = held_tiles(banks, buf, bank, payload)
            words = longer(words, size_of(banks, bank, room))
            load_cell(banks, words, 0, bank, 0, room, buf, payload)
            read_cell(banks, spans, features, scales, words, 0, degree, at, sums, row)
        place = end


@compiled
def read_cross(
    banks: Words, spans: Words, features: Words, scales: Floats, buf: Bytes, at: int,
    keys: Words, ranges: Words, rows: Floats,
) -> None:  # fmt: skip
    """Write what is known of the keys that offers pick: key n, of the match whose range it is in, to rows[n].

    `keys` are sorted within each match, ranges[m] to ranges[m + 1] those of match m. A key that its family has
    let go reads as NaN.
    """
    degree = np.int64(buf[DEGREE])
    sums = np.empty(5 * MOST_LEVELS + 5, dtype=np.int64)
    words = np.empty(4096, dtype=np.int64)
    place = cells_at(buf, 0)
    for _ in range(get_half(buf, CELLS)):
        bank, place = get(buf, place)
        if not banks[bank, KEYS]:
            length, place = get(buf, place)
            place += length
            continue
        key = get_word(buf, place)
        length, place = get(buf, place + 8)
        end = place + length
        match = banks[bank, MATCH]
        _, payload = get(buf, place)
        if key == 0:
            thin, _ = get(buf, payload)
            for n in range(ranges[match], ranges[match + 1]):
                if not kept_at(keys[n], thin):
                    for feature in range(banks[bank, FEATURE_AT], banks[bank, FEATURES_END]):
                        rows[n, features[feature, OUT]] = np.nan
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
                words = longer(words, size_of(banks, bank, room))
                load_cell(banks, words, 0, bank, key, room, buf, payload)
                read_cell(banks, spans, features, scales, words, 0, degree, at, sums, rows[low])
        place = end
