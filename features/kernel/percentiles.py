"""Percentiles: the buckets of a histogram, in order, counted up to a rank.

The percentile p of n numbers is the one of rank p n / 100, rounded up (nearest rank); read as the middle of
its bucket. What is in a window is asked of each bucket's cell as of any other (`features.kernel.reading`).
"""

from features.kernel.additions import (
    ADDED_KEY,
    ADDED_NEXT,
    ADDED_TIME,
    ADDITION,
    Additions,
    add_recent,
    join_additions,
)
from features.kernel.applying import held_tiles, load_entry, room_of
from features.kernel.buckets import middle_of
from features.kernel.cell import begin_cell, load_cell, size_of
from features.kernel.compiled import Bytes, Floats, Words, compiled, int64
from features.kernel.directory import AWAY, ENTRY, GONE, INDEX, SLOT, THIN, in_order
from features.kernel.layout import (
    BANK_COLUMNS,
    CELL_BANK,
    CELL_COUNT,
    CELL_EVER,
    CELL_KEY,
    FEATURE_AT,
    FEATURE_COLUMNS,
    FEATURES_END,
    FUNCTION,
    HISTOGRAM,
    KEYS,
    LEVELS,
    MATCH,
    MOST_LEVELS,
    NUMBER,
    OUT,
    PERCENTILE,
    SPAN,
    WINDOW,
)
from features.kernel.reading import sum_windows
from features.kernel.scratch import DEGREE, FULL, FULL_CELLS, TOP, Read, Scratch, Tables
from features.kernel.varint import get, get_word

BUCKET = MOST_LEVELS + 2
"""Words of a bucket that is read: its key, how many are in each window, and of all time."""


@compiled
def count_bucket(
    tables: Tables, words: Words, cell: int, degree: int, at: int, sums: Words, bucket: int
) -> None:
    """Write what a cell in scratch counts at `at` to the bucket at this offset; `sums` is scratch."""
    levels = tables.banks[words[cell + CELL_BANK] * BANK_COLUMNS + LEVELS]
    words[bucket] = words[cell + CELL_KEY]
    if levels:
        sum_windows(tables.banks, tables.spans, words, cell, degree, at, sums)
    for level in range(levels):
        words[bucket + 1 + level] = sums[5 * level + 1]
    words[bucket + 1 + MOST_LEVELS] = words[cell + CELL_COUNT] if words[cell + CELL_EVER] else int64(0)


@compiled
def write_percentiles(
    tables: Tables, features: Words, scales: Floats, bank: int, thin: int, words: Words, buckets: int, n: int,
    row: Floats,
) -> None:  # fmt: skip
    """Write the percentiles of which there is any number into their columns, off `n` buckets in order."""
    column = bank * BANK_COLUMNS
    for feature in range(tables.banks[column + FEATURE_AT], tables.banks[column + FEATURES_END]):
        at = feature * FEATURE_COLUMNS
        span = features[at + NUMBER] if features[at + SPAN] == WINDOW else int64(MOST_LEVELS)
        counts, whole = buckets + 1 + span, int64(0)
        for place in range(counts, counts + n * BUCKET, BUCKET):
            whole += words[place]
        if whole == 0:
            continue
        rank = ((features[at + FUNCTION] - PERCENTILE) * whole + 99) // 100
        place, upto = counts, words[counts]
        while upto < rank:
            place += BUCKET
            upto += words[place]
        row[features[at + OUT]] = middle_of(words[place - 1 - span], thin) / scales[bank]


@compiled
def read_percentiles(
    tables: Tables, read: Read, scratch: Scratch, buf: Bytes, bank: int, coming: int, at: int
) -> None:
    """Write the percentiles of a bank at `at` into their columns of `read.row`, off its cells in scratch.

    A column of which there is nothing stays as it is. Cells that are still in `buf` are loaded for so many
    events to come; `now[FULL]` is set when there was no room.
    """
    cells, words, now, order = scratch.cells, scratch.words, scratch.now, scratch.order
    listed = in_order(cells, scratch.lists, bank, order)
    for number in range(listed):
        if cells[order[number] * ENTRY + SLOT] == AWAY:
            load_entry(tables, scratch, buf, order[number], coming)
            if now[FULL]:
                return
    buckets, n = now[TOP], int64(0)  # behind what is loaded, for as long as this takes
    if buckets + listed * BUCKET > scratch.room:
        now[FULL] = FULL_CELLS
        return
    for number in range(listed):
        cell = cells[order[number] * ENTRY + SLOT]
        if cell == GONE:
            continue
        count_bucket(tables, words, cell, now[DEGREE], at, read.sums, buckets + n * BUCKET)
        n += 1
    thin = scratch.lists[bank * INDEX + THIN]
    write_percentiles(tables, read.features, read.scales, bank, thin, words, buckets, n, read.row)


@compiled
def read_histograms(
    tables: Tables, features: Words, scales: Floats, added: Additions, came: int, buf: Bytes, place: int,
    count: int, degree: int, at: int, row: Floats, words: Words, buckets: int, room: int,
) -> bool:  # fmt: skip
    """Write the percentiles of every histogram of a state, whose `count` cells begin at `place`.

    Scratch is words[buckets:room], and words[:buckets] for sums of windows; whether it sufficed.
    """
    banks = tables.banks
    for bank in range(tables.n_banks):
        column = bank * BANK_COLUMNS
        if banks[column + MATCH] != HISTOGRAM or banks[column + FEATURE_AT] == banks[column + FEATURES_END]:
            continue
        n, thin = int64(0), int64(0)
        while count:
            its, key_at = get(buf, place)
            if its > bank:
                break
            count -= 1
            length, begin = get(buf, key_at + 8 if banks[its * BANK_COLUMNS + KEYS] else key_at)
            place = begin + length
            if its < bank:
                continue
            key = get_word(buf, key_at)
            _, payload = get(buf, begin)
            if key == 0:
                thin, _ = get(buf, payload)
                join_additions(added, bank, thin)
                continue
            cell = buckets + (n + 1) * BUCKET
            tiles = room_of(banks, bank, held_tiles(banks, buf, bank, payload), 0)
            if cell + size_of(banks, bank, tiles) > room:
                return False
            load_cell(banks, words, cell, bank, key, tiles, buf, payload)
            count_bucket(tables, words, cell, degree, at, words, buckets + n * BUCKET)
            n += 1
        # What recent events add counts beside what is settled, each bucket put where it belongs.
        number = added.first[bank]
        while number >= 0:
            addition = number * ADDITION
            number = added.additions[addition + ADDED_NEXT]
            if added.additions[addition + ADDED_TIME] < 0:
                continue
            key = added.additions[addition + ADDED_KEY]
            cell = buckets + (n + 1) * BUCKET
            tiles = room_of(banks, bank, 0, came)
            if cell + size_of(banks, bank, tiles) > room:
                return False
            begin_cell(banks, words, cell, bank, key, tiles)
            add_recent(tables, added, words, cell, bank, key, degree)
            bucket = buckets + n * BUCKET
            while bucket > buckets and words[bucket - BUCKET] > key:
                for word in range(bucket, bucket + BUCKET):
                    words[word] = words[word - BUCKET]
                bucket -= BUCKET
            count_bucket(tables, words, cell, degree, at, words, bucket)
            n += 1
        write_percentiles(tables, features, scales, bank, thin, words, buckets, n, row)
    return True
