"""Tiles: sums over pieces of time, and how pieces coarsen as they age.

With windows w1 < w2 < ..., tiles of level k are 2^width(k) ms wide, at most a hundredth of window k. Widths
nest, so tiles coarsen by adding. An event moves up to level k once the whole tile of level k around it has
left window k-1, and is forgotten once its tile has left the last window: where it belongs follows from its
own time and the newest time alone. A tile's place is `(start in units of the finest width) << 3 | level`,
so places sort by start.

`degree` is how far a state that is too large has been coarsened beyond that: each step doubles the width of
the oldest level not yet doubled as often as allowed, and of those above it.
"""

from features.kernel.compiled import Words, compiled
from features.kernel.layout import (
    BANK_COLUMNS,
    CELL_CAP,
    CELL_N,
    COARSEST,
    EXTREMES,
    HEAD,
    LEVEL_AT,
    LEVELS,
    TILE,
)

_TOP = (1 << 63) - 1


@compiled
def add_whole(a: int, b: int) -> int:
    """The sum, held at the ends of 64 bits: nothing wraps round."""
    # Asked before adding: the compiler takes it that sums of signed numbers never wrap.
    if b > 0 and a > _TOP - b:
        return _TOP
    if b < 0 and a < -_TOP - b:
        return -_TOP
    return a + b


@compiled
def width_of(banks: Words, spans: Words, bank: int, level: int, degree: int) -> int:
    """Width (power of two) of the tiles of a level in a state coarsened so far."""
    extra = degree - (banks[bank * BANK_COLUMNS + LEVELS] - 1 - level)
    return spans[banks[bank * BANK_COLUMNS + LEVEL_AT] + 2 * level + 1] + min(max(extra, 0), COARSEST)


@compiled
def limit_of(banks: Words, spans: Words, bank: int, level: int, degree: int, newest: int) -> int:
    """The instant before which nothing stays at this level (at the last one: nothing stays at all)."""
    wide = width_of(banks, spans, bank, min(level + 1, banks[bank * BANK_COLUMNS + LEVELS] - 1), degree)
    since = max(newest - spans[banks[bank * BANK_COLUMNS + LEVEL_AT] + 2 * level], 0)
    return since >> wide << wide


@compiled
def place_of(banks: Words, spans: Words, bank: int, degree: int, time: int, least: int, newest: int) -> int:
    """Where what happened at `time` belongs, at `least` at this level; -1 when it is forgotten."""
    levels = banks[bank * BANK_COLUMNS + LEVELS]
    level = least
    while time < limit_of(banks, spans, bank, level, degree, newest):
        level += 1
        if level == levels:
            return -1
    wide = width_of(banks, spans, bank, level, degree)
    finest = spans[banks[bank * BANK_COLUMNS + LEVEL_AT] + 1]
    return (time >> wide << wide >> finest << 3) | level


@compiled
def add_into(words: Words, tile: int, extremes: int, count: int, total: int, low: int, high: int) -> None:
    """Add to the tile at this offset."""
    words[tile + 1] += count
    words[tile + 2] = add_whole(words[tile + 2], total)
    if extremes:
        words[tile + 3] = min(words[tile + 3], low)
        words[tile + 4] = max(words[tile + 4], high)


@compiled
def add_tile(
    banks: Words, words: Words, cell: int, bank: int, place: int, count: int, total: int, low: int, high: int
) -> int:
    """Add to the tile at `place`: 1 when it is new, 0 when it was there, -1 when there is no room for it."""
    n = words[cell + CELL_N]
    first = cell + HEAD
    at = n
    if n and words[first + TILE * (n - 1)] >= place:
        low_at, high_at = 0, n - 1  # the first tile at or behind `place` is at most the last
        while low_at < high_at:
            middle = (low_at + high_at) >> 1
            if words[first + TILE * middle] < place:
                low_at = middle + 1
            else:
                high_at = middle
        at = low_at
        if words[first + TILE * at] == place:
            add_into(words, first + TILE * at, banks[bank * BANK_COLUMNS + EXTREMES], count, total, low, high)
            return 0
    if n == words[cell + CELL_CAP]:
        return -1
    tile = first + TILE * at
    for word in range(first + TILE * n - 1, tile - 1, -1):
        words[word + TILE] = words[word]
    words[tile], words[tile + 1], words[tile + 2] = place, count, total
    words[tile + 3], words[tile + 4] = low, high
    words[cell + CELL_N] = n + 1
    return 1


@compiled
def put_back(banks: Words, words: Words, bank: int, first: int, last: int, place: int, tile: int) -> int:
    """Put the tile at the offset `tile` under `place` among those from `first` to `last`, which are in order
    and end behind it; words by which these have become more."""
    count, total, low, high = words[tile + 1], words[tile + 2], words[tile + 3], words[tile + 4]
    at = last
    while at > first and words[at - TILE] >= place:
        at -= TILE
    if words[at] == place:
        add_into(words, at, banks[bank * BANK_COLUMNS + EXTREMES], count, total, low, high)
        return 0
    for word in range(last + TILE - 1, at - 1, -1):
        words[word + TILE] = words[word]
    words[at], words[at + 1], words[at + 2], words[at + 3], words[at + 4] = place, count, total, low, high
    return TILE


@compiled
def settle_tiles(
    banks: Words, spans: Words, words: Words, cell: int, bank: int, degree: int, newest: int
) -> None:
    """Bring each tile where it belongs by now, adding those that meet, forgetting what is past."""
    n = words[cell + CELL_N]
    if n == 0:
        return
    finest = spans[banks[bank * BANK_COLUMNS + LEVEL_AT] + 1]
    top = banks[bank * BANK_COLUMNS + LEVELS] - 1
    forgotten = limit_of(banks, spans, bank, top, degree, newest)
    level = top
    limit = limit_of(banks, spans, bank, level - 1, degree, newest) if level else 0
    wide = width_of(banks, spans, bank, level, degree)
    first = cell + HEAD
    kept = first - TILE
    previous = -1
    for number in range(n):
        tile = first + TILE * number
        start = words[tile] >> 3 << finest
        own = words[tile] & 7
        if start < forgotten:
            continue
        while level and start >= limit:  # from the oldest on, levels only fall
            level -= 1
            limit = limit_of(banks, spans, bank, level - 1, degree, newest) if level else 0
            wide = width_of(banks, spans, bank, level, degree)
        if own <= level:
            place = (start >> wide << wide >> finest << 3) | level
        else:
            wider = width_of(banks, spans, bank, own, degree)
            place = (start >> wider << wider >> finest << 3) | own
        if place == previous:
            add_into(
                words, kept, banks[bank * BANK_COLUMNS + EXTREMES],
                words[tile + 1], words[tile + 2], words[tile + 3], words[tile + 4],
            )  # fmt: skip
        elif place < previous:
            # Coarsened further than when it left its level, it reaches back over finer ones.
            kept += put_back(banks, words, bank, first, kept, place, tile)
            previous = words[kept]
        else:
            kept += TILE
            previous = place
            words[kept] = place
            if kept != tile:
                for word in range(1, TILE):
                    words[kept + word] = words[tile + word]
    words[cell + CELL_N] = (kept + TILE - first) // TILE
