"""A cell: what is kept for one key of one aggregate; its bytes, and its form in scratch memory.

Bytes of a cell: bank, for a family the key (8 bytes), length of the rest, when it next changes by time alone
(units of 2^16 ms, 0: never), then tiles (or a sample), all of time, moments, half-lives, each only if the
bank has it. Tiles and intervals are in order, each place told as its distance from the one before.
"""

from features.kernel.compiled import Bytes, Words, compiled, int64
from features.kernel.halves import half_of, settle_halves
from features.kernel.layout import (
    BANK_COLUMNS,
    CELL_BANK,
    CELL_CAP,
    CELL_COUNT,
    CELL_EVER,
    CELL_FIRST,
    CELL_KEY,
    CELL_LAST,
    CELL_LATEST,
    CELL_MAX,
    CELL_MIN,
    CELL_N,
    CELL_SUM,
    CELL_THIN,
    CELL_WEIGHT,
    COUNTS,
    DUE_BITS,
    EVER,
    EXTREMES,
    FIRST,
    HALF_AT,
    HALF_LIVES_KEPT,
    HALVES,
    HEAD,
    HORIZON,
    INTERVAL,
    INTERVALS,
    KEYS,
    LAST,
    LATEST,
    LEVEL_AT,
    LEVELS,
    SAMPLE,
    SUMS,
    TILE,
    WEIGHT_CELL,
    WEIGHT_HALF,
    WEIGHT_TILE,
)
from features.kernel.sample import settle_sample
from features.kernel.tiles import settle_tiles, width_of
from features.kernel.varint import get, get_signed, get_word, put, put_signed, put_word

NEVER = 1 << 62


@compiled
def size_of(banks: Words, bank: int, room: int) -> int:
    """Words of scratch that a cell with room for so many tiles takes."""
    return HEAD + TILE * room + banks[bank * BANK_COLUMNS + HALVES] * (1 + INTERVAL * INTERVALS)


@compiled
def begin_cell(banks: Words, words: Words, cell: int, bank: int, key: int, room: int) -> None:
    """An empty cell at this offset."""
    for word in range(HEAD):
        words[cell + word] = 0
    words[cell + CELL_BANK], words[cell + CELL_KEY], words[cell + CELL_CAP] = bank, key, room
    words[cell + CELL_FIRST] = words[cell + CELL_LAST] = words[cell + CELL_LATEST] = -1
    for number in range(banks[bank * BANK_COLUMNS + HALVES]):
        words[half_of(words, cell, number)] = 0


@compiled
def weigh_cell(banks: Words, words: Words, cell: int) -> int:
    """Bytes that the cell takes at most when it is stored."""
    bank = words[cell + CELL_BANK]
    weight = (
        banks[bank * BANK_COLUMNS + WEIGHT_CELL]
        + words[cell + CELL_N] * banks[bank * BANK_COLUMNS + WEIGHT_TILE]
    )
    for number in range(banks[bank * BANK_COLUMNS + HALVES]):
        weight += words[half_of(words, cell, number)] * banks[bank * BANK_COLUMNS + WEIGHT_HALF]
    return weight


@compiled
def settle_cell(banks: Words, spans: Words, words: Words, cell: int, degree: int, newest: int) -> bool:
    """Bring the cell into canonical form; whether anything is left of it."""
    bank = words[cell + CELL_BANK]
    if banks[bank * BANK_COLUMNS + SAMPLE]:
        settle_sample(banks, words, cell, bank, newest)
    elif banks[bank * BANK_COLUMNS + LEVELS]:
        settle_tiles(banks, spans, words, cell, bank, degree, newest)
    settle_halves(banks, spans, words, cell, bank, newest)
    if words[cell + CELL_N] or words[cell + CELL_EVER] or words[cell + CELL_THIN]:
        return True
    if words[cell + CELL_FIRST] >= 0 or words[cell + CELL_LAST] >= 0 or words[cell + CELL_LATEST] >= 0:
        return True
    intervals = 0
    for number in range(banks[bank * BANK_COLUMNS + HALVES]):
        intervals += words[half_of(words, cell, number)]
    return intervals > 0


@compiled
def load_cell(
    banks: Words, words: Words, cell: int, bank: int, key: int, room: int, buf: Bytes, at: int
) -> None:
    """Read the cell whose payload begins at `at`; `room` is for at least as many tiles as it has."""
    begin_cell(banks, words, cell, bank, key, room)
    counts, sums, extremes = (
        banks[bank * BANK_COLUMNS + COUNTS],
        banks[bank * BANK_COLUMNS + SUMS],
        banks[bank * BANK_COLUMNS + EXTREMES],
    )
    tile = cell + HEAD
    if banks[bank * BANK_COLUMNS + SAMPLE]:
        n, at = get(buf, at)
        words[cell + CELL_THIN], at = get(buf, at)
        words[cell + CELL_N] = n
        for _ in range(n):
            words[tile] = get_word(buf, at)
            words[tile + 1], at = get(buf, at + 8)
            tile += TILE
    elif banks[bank * BANK_COLUMNS + LEVELS]:
        n, at = get(buf, at)
        words[cell + CELL_N] = n
        place = int64(0)
        for _ in range(n):
            step, at = get(buf, at)
            place += step
            words[tile] = place
            words[tile + 1] = words[tile + 2] = 0
            if counts:
                words[tile + 1], at = get(buf, at)
            if sums:
                words[tile + 2], at = get_signed(buf, at)
            if extremes:
                low, at = get_signed(buf, at)
                step, at = get(buf, at)
                words[tile + 3], words[tile + 4] = low, low + step
            tile += TILE
    if banks[bank * BANK_COLUMNS + EVER]:
        words[cell + CELL_EVER] = 1
        if counts:
            words[cell + CELL_COUNT], at = get(buf, at)
        if sums:
            words[cell + CELL_SUM], at = get_signed(buf, at)
        if extremes:
            low, at = get_signed(buf, at)
            step, at = get(buf, at)
            words[cell + CELL_MIN], words[cell + CELL_MAX] = low, low + step
    if banks[bank * BANK_COLUMNS + FIRST]:
        words[cell + CELL_FIRST], at = get(buf, at)
    if banks[bank * BANK_COLUMNS + LAST]:
        words[cell + CELL_LAST], at = get(buf, at)
    if banks[bank * BANK_COLUMNS + LATEST]:
        words[cell + CELL_LATEST], at = get(buf, at)
        words[cell + CELL_LATEST + 1] = get_word(buf, at)
        words[cell + CELL_LATEST + 2], at = get_signed(buf, at + 8)
    for number in range(banks[bank * BANK_COLUMNS + HALVES]):
        half = half_of(words, cell, number)
        n, at = get(buf, at)
        words[half] = n
        interval = int64(0)
        place = half + 1
        for _ in range(n):
            step, at = get(buf, at)
            interval += step
            words[place] = interval
            words[place + 1] = words[place + 2] = words[place + 3] = 0
            if counts:
                words[place + 1], at = get(buf, at)
            if sums:
                words[place + 2], at = get_signed(buf, at)
                words[place + 3], at = get(buf, at)
            place += INTERVAL
    words[cell + CELL_WEIGHT] = weigh_cell(banks, words, cell)


@compiled
def due_of(banks: Words, spans: Words, words: Words, cell: int, degree: int) -> int:
    """The least newest time at which settling changes the cell, in units of 2^16 ms, rounded down; 0:
    never."""
    bank = words[cell + CELL_BANK]
    due = NEVER
    tile = cell + HEAD
    if banks[bank * BANK_COLUMNS + SAMPLE]:
        if banks[bank * BANK_COLUMNS + HORIZON]:
            for _ in range(words[cell + CELL_N]):
                due = min(due, words[tile + 1] + banks[bank * BANK_COLUMNS + HORIZON] + 1)
                tile += TILE
    elif banks[bank * BANK_COLUMNS + LEVELS]:
        finest = spans[banks[bank * BANK_COLUMNS + LEVEL_AT] + 1]
        before = -1
        for _ in range(words[cell + CELL_N]):
            level = words[tile] & 7
            if level != before:  # the first of a level is the oldest
                before = level
                wide = width_of(
                    banks, spans, bank, min(level + 1, banks[bank * BANK_COLUMNS + LEVELS] - 1), degree
                )
                start = words[tile] >> 3 << finest
                due = min(
                    due,
                    spans[banks[bank * BANK_COLUMNS + LEVEL_AT] + 2 * level]
                    + (((start >> wide) + 1) << wide),
                )
            tile += TILE
    for number in range(banks[bank * BANK_COLUMNS + HALVES]):
        half = half_of(words, cell, number)
        if words[half]:
            length = spans[banks[bank * BANK_COLUMNS + HALF_AT] + number]
            due = min(due, (words[half + 1] + HALF_LIVES_KEPT + 1) * length)
    return 0 if due == NEVER else max(due >> DUE_BITS, 1)


@compiled
def longest_cell(words: Words, cell: int, banks: Words) -> int:
    """Bytes that a cell cannot exceed, whatever its numbers are."""
    bank = words[cell + CELL_BANK]
    return 128 + 50 * words[cell + CELL_N] + banks[bank * BANK_COLUMNS + HALVES] * (10 + 40 * INTERVALS)


@compiled
def store_cell(banks: Words, spans: Words, words: Words, cell: int, degree: int, buf: Bytes, at: int) -> int:
    """Write a settled cell at `at`; where to go on. Needs `longest_cell` bytes of room."""
    bank = words[cell + CELL_BANK]
    counts, sums, extremes = (
        banks[bank * BANK_COLUMNS + COUNTS],
        banks[bank * BANK_COLUMNS + SUMS],
        banks[bank * BANK_COLUMNS + EXTREMES],
    )
    at = put(buf, at, bank)
    if banks[bank * BANK_COLUMNS + KEYS]:
        at = put_word(buf, at, words[cell + CELL_KEY])
    body = at + 3  # the length comes before what it counts: three bytes are kept for it
    at = put(buf, body, due_of(banks, spans, words, cell, degree))
    tile = cell + HEAD
    if banks[bank * BANK_COLUMNS + SAMPLE]:
        at = put(buf, at, words[cell + CELL_N])
        at = put(buf, at, words[cell + CELL_THIN])
        for _ in range(words[cell + CELL_N]):
            at = put_word(buf, at, words[tile])
            at = put(buf, at, words[tile + 1])
            tile += TILE
    elif banks[bank * BANK_COLUMNS + LEVELS]:
        at = put(buf, at, words[cell + CELL_N])
        place = int64(0)
        for _ in range(words[cell + CELL_N]):
            at = put(buf, at, words[tile] - place)
            place = words[tile]
            if counts:
                at = put(buf, at, words[tile + 1])
            if sums:
                at = put_signed(buf, at, words[tile + 2])
            if extremes:
                at = put_signed(buf, at, words[tile + 3])
                at = put(buf, at, words[tile + 4] - words[tile + 3])
            tile += TILE
    if banks[bank * BANK_COLUMNS + EVER]:
        if counts:
            at = put(buf, at, words[cell + CELL_COUNT])
        if sums:
            at = put_signed(buf, at, words[cell + CELL_SUM])
        if extremes:
            at = put_signed(buf, at, words[cell + CELL_MIN])
            at = put(buf, at, words[cell + CELL_MAX] - words[cell + CELL_MIN])
    if banks[bank * BANK_COLUMNS + FIRST]:
        at = put(buf, at, words[cell + CELL_FIRST])
    if banks[bank * BANK_COLUMNS + LAST]:
        at = put(buf, at, words[cell + CELL_LAST])
    if banks[bank * BANK_COLUMNS + LATEST]:
        at = put(buf, at, words[cell + CELL_LATEST])
        at = put_word(buf, at, words[cell + CELL_LATEST + 1])
        at = put_signed(buf, at, words[cell + CELL_LATEST + 2])
    for number in range(banks[bank * BANK_COLUMNS + HALVES]):
        half = half_of(words, cell, number)
        at = put(buf, at, words[half])
        interval = int64(0)
        place = half + 1
        for _ in range(words[half]):
            at = put(buf, at, words[place] - interval)
            interval = words[place]
            if counts:
                at = put(buf, at, words[place + 1])
            if sums:
                at = put_signed(buf, at, words[place + 2])
                at = put(buf, at, words[place + 3])
            place += INTERVAL
    length = at - body
    buf[body - 3] = length & 127 | 128
    buf[body - 2] = (length >> 7) & 127 | 128
    buf[body - 1] = length >> 14
    return at
