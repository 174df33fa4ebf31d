"""Events into cells: a settled part is taken apart, and each event added to the cells that it touches."""

from features.kernel import settled
from features.kernel.buckets import joined
from features.kernel.cell import begin_cell, load_cell, settle_cell, size_of
from features.kernel.compiled import Bytes, Words, compiled, int64
from features.kernel.directory import (
    AWAY,
    ENTRY,
    INDEX,
    LIVE,
    PAYLOAD,
    SLOT,
    THIN,
    clear,
    enter,
    find,
    list_cells,
)
from features.kernel.halves import add_halves, add_interval, half_of
from features.kernel.layout import (
    BANK,
    BANK_COLUMNS,
    CELL_COUNT,
    CELL_EVER,
    CELL_FIRST,
    CELL_LAST,
    CELL_LATEST,
    CELL_MAX,
    CELL_MIN,
    CELL_N,
    CELL_SUM,
    CELL_THIN,
    CELL_WEIGHT,
    CONDITION,
    EVER,
    FIRST,
    HALF_AT,
    HALF_LIVES_KEPT,
    HALVES,
    HEAD,
    HISTOGRAM,
    INTERVAL,
    KEY,
    LAST,
    LATEST,
    LEVELS,
    MATCH,
    MISSING,
    ROW_KIND,
    ROW_MARK,
    ROW_TIME,
    ROW_WORDS,
    SAMPLE,
    STEP_COLUMNS,
    STEPS_AT,
    STEPS_END,
    TILE,
    TYPE_COLUMNS,
    VALUE,
    WEIGHT_CELL,
    WEIGHT_HALF,
    WEIGHT_TILE,
)
from features.kernel.sample import add_value, kept_at
from features.kernel.scratch import (
    CELLS_END,
    DEGREE,
    FLAGS,
    FULL,
    FULL_CELLS,
    LISTED,
    NEWEST,
    STORED_WEIGHT,
    TOP,
    WEIGHT,
    Scratch,
    Tables,
)
from features.kernel.tiles import add_tile, add_whole, place_of
from features.kernel.varint import get_half, get_word

ROOM = 2048
"""Tiles that a settled cell never exceeds: 8 levels of at most 202."""


@compiled
def room_of(banks: Words, bank: int, held: int, coming: int) -> int:
    """Tiles for which a cell needs room that holds `held` and to which so many events come."""
    if banks[bank * BANK_COLUMNS + SAMPLE]:
        return max(held, min(banks[bank * BANK_COLUMNS + SAMPLE], held + coming)) + 1
    if banks[bank * BANK_COLUMNS + LEVELS]:
        return held + min(coming, ROOM) + 1
    return 0


@compiled
def held_tiles(banks: Words, buf: Bytes, bank: int, payload: int) -> int:
    """How many tiles or sample entries a cell in bytes has; it begins with their number."""
    if banks[bank * BANK_COLUMNS + SAMPLE] or banks[bank * BANK_COLUMNS + LEVELS]:
        value = int64(buf[payload]) & 127
        shift = 7
        while buf[payload] >= 128:
            payload += 1
            value |= (int64(buf[payload]) & 127) << shift
            shift += 7
        return value
    return 0


@compiled
def open_settled(tables: Tables, scratch: Scratch, buf: Bytes, start: int, end: int) -> None:
    """List the cells of the settled part buf[start:end], none loaded yet; nothing when it is empty."""
    now = scratch.now
    clear(scratch.lists, tables.n_banks)
    now[LISTED] = now[TOP] = now[WEIGHT] = now[STORED_WEIGHT] = now[DEGREE] = now[FLAGS] = 0
    now[FULL] = 0
    now[NEWEST], now[CELLS_END] = -1, end
    if end > start:
        listed = get_half(buf, start + settled.CELLS)
        if ENTRY * (listed + 1) > scratch.cells_room:
            now[FULL] = FULL_CELLS
            return
        now[NEWEST] = get_word(buf, start + settled.NEWEST)
        now[DEGREE], now[FLAGS] = int64(buf[start + settled.DEGREE]), int64(buf[start + settled.FLAGS])
        now[WEIGHT] = now[STORED_WEIGHT] = get_half(buf, start + settled.WEIGHT)
        at = start + settled.HEADER
        now[LISTED], now[CELLS_END] = list_cells(tables.banks, buf, at, listed, scratch.cells, scratch.lists)


@compiled
def load_entry(tables: Tables, scratch: Scratch, buf: Bytes, entry: int, coming: int) -> int:
    """Load the cell of a row of the directory for so many events to come: its offset, -1 when there is no
    room."""
    cells, now = scratch.cells, scratch.now
    bank = cells[entry * ENTRY]
    held = held_tiles(tables.banks, buf, bank, cells[entry * ENTRY + PAYLOAD])
    room = room_of(tables.banks, bank, held, coming)
    cell = now[TOP]
    if cell + size_of(tables.banks, bank, room) > scratch.room:
        now[FULL] = FULL_CELLS
        return -1
    load_cell(
        tables.banks, scratch.words, cell, bank, cells[entry * ENTRY + 1], room, buf,
        cells[entry * ENTRY + PAYLOAD],
    )  # fmt: skip
    now[STORED_WEIGHT] -= scratch.words[cell + CELL_WEIGHT]
    cells[entry * ENTRY + SLOT] = cell
    now[TOP] += size_of(tables.banks, bank, room)
    return cell


@compiled
def cell_of(tables: Tables, scratch: Scratch, buf: Bytes, bank: int, key: int, coming: int) -> int:
    """The offset of a cell, loaded or begun for so many events to come; -1 when there is no room."""
    cells, now = scratch.cells, scratch.now
    found = find(cells, scratch.lists, bank, key)
    if found >= 0:
        if cells[found * ENTRY + SLOT] >= 0:
            return cells[found * ENTRY + SLOT]
        if cells[found * ENTRY + SLOT] == AWAY:
            return load_entry(tables, scratch, buf, found, coming)
    room = room_of(tables.banks, bank, 0, coming)
    cell = now[TOP]
    size = size_of(tables.banks, bank, room)
    if cell + size > scratch.room or ENTRY * (now[LISTED] + 1) > scratch.cells_room:
        now[FULL] = FULL_CELLS
        return -1
    begin_cell(tables.banks, scratch.words, cell, bank, key, room)
    if found < 0:
        enter(cells, scratch.lists, now[LISTED], bank, key, cell)
        now[LISTED] += 1
    else:
        cells[found * ENTRY + SLOT] = cell
        scratch.lists[bank * INDEX + LIVE] += 1
    now[WEIGHT] += tables.banks[bank * BANK_COLUMNS + WEIGHT_CELL]
    now[TOP] += size
    return cell


@compiled
def apply_event(tables: Tables, scratch: Scratch, buf: Bytes, rows: Words, row: int, coming: int) -> None:
    """Add the event of this row to every cell that it touches.

    `now[FULL]` is set, and the event half applied, when there was no room.
    """
    types, now, kind = tables.types, scratch.now, rows[row + ROW_KIND]
    now[NEWEST] = max(now[NEWEST], rows[row + ROW_TIME])
    for step in range(
        types[kind * TYPE_COLUMNS + STEPS_AT] * STEP_COLUMNS,
        types[kind * TYPE_COLUMNS + STEPS_END] * STEP_COLUMNS,
        STEP_COLUMNS,
    ):
        if concerns(tables.steps, rows, row, step):
            apply_step(tables, scratch, buf, rows, row, step, coming)
            if now[FULL]:
                return


@compiled
def concerns(steps: Words, rows: Words, row: int, step: int) -> bool:
    """Whether the event of this row, of the type of the step, is counted by it."""
    words = row + ROW_WORDS
    if steps[step + CONDITION] >= 0 and rows[words + steps[step + CONDITION]] != 1:
        return False
    if steps[step + VALUE] >= 0 and rows[words + steps[step + VALUE]] == MISSING:
        return False
    return steps[step + KEY] < 0 or rows[words + steps[step + KEY]] != MISSING


@compiled
def apply_step(
    tables: Tables, scratch: Scratch, buf: Bytes, rows: Words, row: int, step: int, coming: int
) -> None:
    """Add the event of this row to the cell that the step says; `now[FULL]` is set when there was no room."""
    banks, steps, now, words = tables.banks, tables.steps, scratch.now, row + ROW_WORDS
    bank = steps[step + BANK]
    value, key = int64(0), int64(0)
    if steps[step + VALUE] >= 0:
        value = rows[words + steps[step + VALUE]]
    if steps[step + KEY] >= 0:
        key = rows[words + steps[step + KEY]]
        thin = scratch.lists[bank * INDEX + THIN]
        if banks[bank * BANK_COLUMNS + MATCH] == HISTOGRAM:
            key = joined(key, thin)
        elif not kept_at(key, thin):
            return
    cell = cell_of(tables, scratch, buf, bank, key, coming)
    if cell < 0:
        return
    now[WEIGHT] += add_event(
        banks, tables.spans, scratch.words, cell, now[DEGREE], now[NEWEST], rows[row + ROW_TIME],
        rows[row + ROW_MARK], value,
    )  # fmt: skip
    if scratch.words[cell + CELL_THIN]:
        now[FLAGS] |= settled.THINNED


@compiled
def put_in(
    banks: Words, spans: Words, words: Words, cell: int, degree: int, newest: int,
    place: int, count: int, total: int, low: int, high: int,
) -> int:  # fmt: skip
    """Add to a tile of the cell, making room by settling if need be; 1 when the tile is new."""
    bank = words[cell]
    new = add_tile(banks, words, cell, bank, place, count, total, low, high)
    if new < 0:
        settle_cell(banks, spans, words, cell, degree, newest)
        new = add_tile(banks, words, cell, bank, place, count, total, low, high)
    return new


@compiled
def add_event(
    banks: Words,
    spans: Words,
    words: Words,
    cell: int,
    degree: int,
    newest: int,
    time: int,
    mark: int,
    value: int,
) -> int:
    """Apply one event to a cell; by how much it may have become heavier."""
    bank = words[cell]
    weight = int64(0)
    if banks[bank * BANK_COLUMNS + SAMPLE]:
        weight += (
            add_value(banks, words, cell, bank, value, time, newest)
            * banks[bank * BANK_COLUMNS + WEIGHT_TILE]
        )
    elif banks[bank * BANK_COLUMNS + LEVELS]:
        place = place_of(banks, spans, bank, degree, time, 0, newest)
        if place >= 0:
            new = put_in(banks, spans, words, cell, degree, newest, place, 1, value, value, value)
            weight += new * banks[bank * BANK_COLUMNS + WEIGHT_TILE]
    if banks[bank * BANK_COLUMNS + EVER]:
        if words[cell + CELL_EVER]:
            words[cell + CELL_COUNT] += 1
            words[cell + CELL_SUM] = add_whole(words[cell + CELL_SUM], value)
            words[cell + CELL_MIN] = min(words[cell + CELL_MIN], value)
            words[cell + CELL_MAX] = max(words[cell + CELL_MAX], value)
        else:
            words[cell + CELL_EVER] = words[cell + CELL_COUNT] = 1
            words[cell + CELL_SUM] = words[cell + CELL_MIN] = words[cell + CELL_MAX] = value
    if banks[bank * BANK_COLUMNS + FIRST] and not 0 <= words[cell + CELL_FIRST] <= time:
        words[cell + CELL_FIRST] = time
    if banks[bank * BANK_COLUMNS + LAST]:
        words[cell + CELL_LAST] = max(words[cell + CELL_LAST], time)
    if banks[bank * BANK_COLUMNS + LATEST]:
        before = words[cell + CELL_LATEST]
        if time > before or (time == before and mark > words[cell + CELL_LATEST + 1]):
            words[cell + CELL_LATEST] = time
            words[cell + CELL_LATEST + 1] = mark
            words[cell + CELL_LATEST + 2] = value
    if banks[bank * BANK_COLUMNS + HALVES]:
        weight += (
            add_halves(banks, spans, words, cell, bank, time, newest, value)
            * banks[bank * BANK_COLUMNS + WEIGHT_HALF]
        )
    return weight


@compiled
def add_cell(
    banks: Words, spans: Words, words: Words, cell: int, other: int, degree: int, newest: int
) -> None:
    """Add a whole cell to another of the same bank and key: the monoid's sum."""
    bank = words[cell]
    if banks[bank * BANK_COLUMNS + SAMPLE]:
        words[cell + CELL_THIN] = max(words[cell + CELL_THIN], words[other + CELL_THIN])
        for entry in range(other + HEAD, other + HEAD + TILE * words[other + CELL_N], TILE):
            add_value(banks, words, cell, bank, words[entry], words[entry + 1], newest)
    else:
        for tile in range(other + HEAD, other + HEAD + TILE * words[other + CELL_N], TILE):
            put_in(
                banks, spans, words, cell, degree, newest, words[tile],
                words[tile + 1], words[tile + 2], words[tile + 3], words[tile + 4],
            )  # fmt: skip
    if words[other + CELL_EVER]:
        if words[cell + CELL_EVER]:
            words[cell + CELL_COUNT] += words[other + CELL_COUNT]
            words[cell + CELL_SUM] = add_whole(words[cell + CELL_SUM], words[other + CELL_SUM])
            words[cell + CELL_MIN] = min(words[cell + CELL_MIN], words[other + CELL_MIN])
            words[cell + CELL_MAX] = max(words[cell + CELL_MAX], words[other + CELL_MAX])
        else:
            for word in range(CELL_EVER, CELL_MAX + 1):
                words[cell + word] = words[other + word]
    first = words[other + CELL_FIRST]
    if first >= 0 and not 0 <= words[cell + CELL_FIRST] <= first:
        words[cell + CELL_FIRST] = first
    words[cell + CELL_LAST] = max(words[cell + CELL_LAST], words[other + CELL_LAST])
    mine, its = cell + CELL_LATEST, other + CELL_LATEST
    if words[its] > words[mine] or (words[its] == words[mine] and words[its + 1] > words[mine + 1]):
        for word in range(3):
            words[mine + word] = words[its + word]
    for number in range(banks[bank * BANK_COLUMNS + HALVES]):
        half = half_of(words, other, number)
        oldest = newest // spans[banks[bank * BANK_COLUMNS + HALF_AT] + number] - HALF_LIVES_KEPT
        for place in range(half + 1, half + 1 + INTERVAL * words[half], INTERVAL):
            add_interval(
                words, half_of(words, cell, number), words[place], oldest,
                words[place + 1], words[place + 2], words[place + 3],
            )  # fmt: skip
