"""The one fold, compiled: the events of many customers into their states, bytes to bytes, in one pass.

Of each customer the cells that its events touch, and those that time alone has changed, are read into scratch;
the events are applied one after the other, in log order; everything else is copied as it stands.
"""

import numpy as np

from features.kernel.cell import (
    begin_cell,
    load_cell,
    longest_cell,
    settle_cell,
    size_of,
    store_cell,
    weigh_cell,
)
from features.kernel.compiled import Bytes, Floats, Words, compiled
from features.kernel.directory import (
    AWAY,
    CHAIN,
    DUE,
    END,
    ENTRY,
    GONE,
    INDEX,
    LIVE,
    NEXT,
    PAYLOAD,
    RANGE_AT,
    RANGE_END,
    SLOT,
    START,
    THIN,
    clear,
    enter,
    find,
    in_order,
    list_cells,
)
from features.kernel.halves import add_halves, add_interval, half_of
from features.kernel.header import (
    APPLIED,
    CELLS,
    COARSENED,
    DEGREE,
    DIGEST,
    FLAGS,
    FORGOT_MARKS,
    HEADER,
    LENGTH,
    MARKS,
    MEMORY,
    MOST_MARKS,
    NEWEST,
    POSITION,
    THINNED,
    WEIGHT,
    add_mark,
    applied_of,
    load_marks,
    store_header,
    store_marks,
)
from features.kernel.layout import (
    BANK,
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
    COARSEST,
    CONDITION,
    DUE_BITS,
    EVER,
    FEATURE_AT,
    FEATURES_END,
    FIRST,
    HALF_AT,
    HALF_LIVES_KEPT,
    HALVES,
    HEAD,
    INTERVAL,
    KEY,
    KEYS,
    LAST,
    LATEST,
    LEVELS,
    MISSING,
    MOST_LEVELS,
    OUT,
    SAMPLE,
    TILE,
    VALUE,
    WEIGHT_CELL,
    WEIGHT_HALF,
    WEIGHT_TILE,
)
from features.kernel.reading import derive, read_cell
from features.kernel.sample import add_value, kept_at
from features.kernel.tiles import add_tile, add_whole, place_of
from features.kernel.varint import checksum, get_half, get_word, put, put_half, put_word

FOLDED, REPEAT, LATE, BEHIND = range(4)
ROOM = 2048
"""Tiles that a settled cell never exceeds: 8 levels of at most 202."""

MOST_THIN = 48


@compiled
def longer(words: Words, wanted: int) -> Words:
    """The same words with room for at least `wanted`."""
    if wanted <= words.size:
        return words
    grown = np.empty(max(wanted, 2 * words.size), dtype=np.int64)
    grown[: words.size] = words
    return grown


@compiled
def longer_bytes(buf: Bytes, wanted: int) -> Bytes:
    """The same bytes with room for at least `wanted`."""
    if wanted <= buf.size:
        return buf
    grown = np.empty(max(wanted, 2 * buf.size), dtype=np.uint8)
    grown[: buf.size] = buf
    return grown


@compiled
def more_rows(cells: Words, wanted: int) -> Words:
    """The same rows with room for at least `wanted`."""
    if wanted <= cells.shape[0]:
        return cells
    grown = np.empty((max(wanted, 2 * cells.shape[0]), ENTRY), dtype=np.int64)
    grown[: cells.shape[0]] = cells
    return grown


@compiled
def room_of(banks: Words, words: Words, bank: int, held: int, coming: int) -> int:
    """Tiles for which a cell needs room that holds `held` and to which so many events come."""
    if banks[bank, SAMPLE]:
        return max(held, min(banks[bank, SAMPLE], held + coming)) + 1
    if banks[bank, LEVELS]:
        return held + min(coming, ROOM) + 1
    return 0


@compiled
def held_tiles(banks: Words, buf: Bytes, bank: int, payload: int) -> int:
    """How many tiles or sample entries a cell in bytes has; it begins with their number."""
    if banks[bank, SAMPLE] or banks[bank, LEVELS]:
        value = np.int64(buf[payload]) & 127
        shift = 7
        while buf[payload] >= 128:
            payload += 1
            value |= (np.int64(buf[payload]) & 127) << shift
            shift += 7
        return value
    return 0


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
    banks: Words, spans: Words, words: Words, cell: int, degree: int, newest: int, time: int, mark: int, value: int
) -> int:
    """Apply one event to a cell; by how much it may have become heavier."""
    bank = words[cell]
    weight = np.int64(0)
    if banks[bank, SAMPLE]:
        weight += add_value(banks, words, cell, bank, value, time, newest) * banks[bank, WEIGHT_TILE]
    elif banks[bank, LEVELS]:
        place = place_of(banks, spans, bank, degree, time, 0, newest)
        if place >= 0:
            new = put_in(banks, spans, words, cell, degree, newest, place, 1, value, value, value)
            weight += new * banks[bank, WEIGHT_TILE]
    if banks[bank, EVER]:
        if words[cell + CELL_EVER]:
            words[cell + CELL_COUNT] += 1
            words[cell + CELL_SUM] = add_whole(words[cell + CELL_SUM], value)
            words[cell + CELL_MIN] = min(words[cell + CELL_MIN], value)
            words[cell + CELL_MAX] = max(words[cell + CELL_MAX], value)
        else:
            words[cell + CELL_EVER] = words[cell + CELL_COUNT] = 1
            words[cell + CELL_SUM] = words[cell + CELL_MIN] = words[cell + CELL_MAX] = value
    if banks[bank, FIRST] and not 0 <= words[cell + CELL_FIRST] <= time:
        words[cell + CELL_FIRST] = time
    if banks[bank, LAST]:
        words[cell + CELL_LAST] = max(words[cell + CELL_LAST], time)
    if banks[bank, LATEST]:
        before = words[cell + CELL_LATEST]
        if time > before or (time == before and mark > words[cell + CELL_LATEST + 1]):
            words[cell + CELL_LATEST] = time
            words[cell + CELL_LATEST + 1] = mark
            words[cell + CELL_LATEST + 2] = value
    if banks[bank, HALVES]:
        weight += add_halves(banks, spans, words, cell, bank, time, newest, value) * banks[bank, WEIGHT_HALF]
    return weight


@compiled
def add_cell(banks: Words, spans: Words, words: Words, cell: int, other: int, degree: int, newest: int) -> None:
    """Add a whole cell to another of the same bank and key: the monoid's sum."""
    bank = words[cell]
    if banks[bank, SAMPLE]:
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
    for number in range(banks[bank, HALVES]):
        half = half_of(words, other, number)
        oldest = newest // spans[banks[bank, HALF_AT] + number] - HALF_LIVES_KEPT
        for place in range(half + 1, half + 1 + INTERVAL * words[half], INTERVAL):
            add_interval(
                words, half_of(words, cell, number), words[place], oldest,
                words[place + 1], words[place + 2], words[place + 3],
            )  # fmt: skip


@compiled
def fold_states(
    banks: Words,
    spans: Words,
    features: Words,
    scales: Floats,
    steps: Words,
    types: Words,
    defaults: Floats,
    derived: Words,
    factors: Floats,
    probed: Words,
    limits: Words,
    buf: Bytes,
    starts: Words,
    others: Bytes,
    other_starts: Words,
    groups: Words,
    events: Words,
    flat: Words,
    fates: Bytes,
    probes: Floats,
) -> tuple[Bytes, Words]:
    """Fold events into states and, if given, merge other states in: (the new states' bytes, where each begins).

    `limits`: lateness (ms), bound (bytes), digest of the plan, whether ids are remembered, where in `probed` the
    columns begin, behind the banks that they need. State n is
    buf[starts[n]:starts[n + 1]], empty for none; likewise `others`. Its events are rows groups[n] to groups[n + 1] of
    `events`: type, time, mark, partition, position, where its words begin in `flat`, row of `probes` (-1: none).
    What became of each goes to `fates`; of those that ask, the row just after them at `probed` columns to `probes`.
    """
    lateness, bound, digest, remembers = limits[0], limits[1], limits[2], limits[3]
    count = starts.size - 1
    out = np.empty(max(buf.size + others.size + 4096, 1 << 16), dtype=np.uint8)
    out_starts = np.zeros(count + 1, dtype=np.int64)
    words = np.empty(1 << 16, dtype=np.int64)
    cells = np.empty((1024, ENTRY), dtype=np.int64)
    index = np.empty((banks.shape[0], INDEX), dtype=np.int64)
    other_cells = np.empty((0, ENTRY), dtype=np.int64)
    other_index = np.empty((banks.shape[0], INDEX), dtype=np.int64)
    marks = np.empty(2 * MOST_MARKS + 2, dtype=np.int64)
    other_marks = np.empty(2 * MOST_MARKS + 2, dtype=np.int64)
    applied = np.empty(64, dtype=np.int64)
    order = np.empty(1024, dtype=np.int64)
    sums = np.empty(5 * MOST_LEVELS + 5, dtype=np.int64)
    row = defaults.copy()
    at = np.int64(0)
    for number in range(count):
        base = starts[number]
        clear(index)
        newest, degree, flags, weight = np.int64(-1), np.int64(0), np.int64(0), np.int64(0)
        n_applied, n_marks, n_cells = np.int64(0), np.int64(0), np.int64(0)
        memory = memory_end = np.int64(0)
        if starts[number + 1] > base:
            newest = get_word(buf, base + NEWEST)
            degree, flags = np.int64(buf[base + DEGREE]), np.int64(buf[base + FLAGS])
            weight = get_half(buf, base + WEIGHT)
            n_applied = applied_of(buf, base)
            applied = longer(applied, 2 * n_applied + 2)
            for n in range(n_applied):
                applied[2 * n] = get_half(buf, base + HEADER + POSITION * n)
                applied[2 * n + 1] = get_word(buf, base + HEADER + POSITION * n + 4)
            n_marks = get_half(buf, base + MARKS)
            place = load_marks(buf, base + HEADER + POSITION * n_applied, n_marks, marks)
            listed = get_half(buf, base + CELLS)
            cells = more_rows(cells, listed + 1)
            n_cells, memory = list_cells(banks, buf, place, listed, cells, index)
            memory_end = memory + get_half(buf, base + MEMORY)
        settled_weight = weight
        top = np.int64(0)
        coming = groups[number + 1] - groups[number]

        # Merge another state of the same customer in.
        other = other_starts[number]
        if other_starts[number + 1] > other:
            clear(other_index)
            its_newest = get_word(others, other + NEWEST)
            newest = max(newest, its_newest)
            degree = max(degree, np.int64(others[other + DEGREE]))
            flags |= np.int64(others[other + FLAGS])
            for n in range(applied_of(others, other)):
                partition = get_half(others, other + HEADER + POSITION * n)
                position = get_word(others, other + HEADER + POSITION * n + 4)
                applied = longer(applied, 2 * n_applied + 2)
                n_applied = advance_applied(applied, n_applied, partition, position)
            n_others = get_half(others, other + MARKS)
            place = other + HEADER + POSITION * applied_of(others, other)
            place = load_marks(others, place, n_others, other_marks)
            for n in range(n_others):
                if n_marks == MOST_MARKS and marks[0] >= newest - lateness:
                    flags |= FORGOT_MARKS
                n_marks = add_mark(marks, n_marks, other_marks[2 * n], other_marks[2 * n + 1])
            listed = get_half(others, other + CELLS)
            other_cells = more_rows(other_cells, listed + 1)
            listed, _ = list_cells(banks, others, place, listed, other_cells, other_index)
            for bank in range(banks.shape[0]):
                index[bank, THIN] = max(index[bank, THIN], other_index[bank, THIN])
            for n in range(listed):
                bank, key = other_cells[n, 0], other_cells[n, 1]
                its = held_tiles(banks, others, bank, other_cells[n, PAYLOAD])
                found = find(cells, index, bank, key)
                held = np.int64(0)
                if found >= 0:
                    held = held_tiles(banks, buf, bank, cells[found, PAYLOAD])
                room = room_of(banks, words, bank, held + its, coming)
                size = size_of(banks, bank, room)
                words = longer(words, top + size + size_of(banks, bank, its + 1))
                if found < 0:
                    cells = more_rows(cells, n_cells + 1)
                    begin_cell(banks, words, top, bank, key, room)
                    enter(cells, index, n_cells, bank, key, top)
                    n_cells += 1
                else:
                    load_cell(banks, words, top, bank, key, room, buf, cells[found, PAYLOAD])
                    settled_weight -= words[top + CELL_WEIGHT]
                    cells[found, SLOT] = top
                cell = top
                top += size
                load_cell(banks, words, top, bank, key, its + 1, others, other_cells[n, PAYLOAD])
                weight += words[top + CELL_WEIGHT]
                add_cell(banks, spans, words, cell, top, degree, newest)

        # Then the events, in log order. A pass without an event comes first after a merge, to mind the bounds.
        first_event = groups[number]
        if other_starts[number + 1] > other:
            first_event -= 1
        for event in range(first_event, groups[number + 1]):
            if event >= groups[number]:
                kind, time, mark = events[event, 0], events[event, 1], events[event, 2]
                partition, position, its_words = events[event, 3], events[event, 4], events[event, 5]
                if position <= position_of(applied, n_applied, partition):
                    fates[event] = BEHIND
                    continue
                applied = longer(applied, 2 * n_applied + 2)
                n_applied = advance_applied(applied, n_applied, partition, position)
                if remembers:
                    oldest = newest - lateness
                    if time < oldest:
                        fates[event] = LATE
                        continue
                    known = False
                    for n in range(n_marks - 1, -1, -1):
                        if marks[2 * n + 1] == mark and marks[2 * n] >= oldest:
                            known = True
                            break
                    if known:
                        fates[event] = REPEAT
                        continue
                    if n_marks == MOST_MARKS and marks[0] >= max(newest, time) - lateness:
                        flags |= FORGOT_MARKS
                    n_marks = add_mark(marks, n_marks, time, mark)
                fates[event] = FOLDED
                newest = max(newest, time)
                for step in range(types[kind, 0], types[kind, 1]):
                    if steps[step, CONDITION] >= 0 and flat[its_words + steps[step, CONDITION]] != 1:
                        continue
                    value, key = np.int64(0), np.int64(0)
                    if steps[step, VALUE] >= 0:
                        value = flat[its_words + steps[step, VALUE]]
                        if value == MISSING:
                            continue
                    if steps[step, KEY] >= 0:
                        key = flat[its_words + steps[step, KEY]]
                        if key == MISSING:
                            continue
                    bank = steps[step, BANK]
                    if not kept_at(key, index[bank, THIN]):
                        continue
                    found = find(cells, index, bank, key)
                    new_cell = found < 0 or cells[found, SLOT] == GONE
                    if found < 0:
                        room = room_of(banks, words, bank, 0, coming)
                        words = longer(words, top + size_of(banks, bank, room))
                        begin_cell(banks, words, top, bank, key, room)
                        cells = more_rows(cells, n_cells + 1)
                        enter(cells, index, n_cells, bank, key, top)
                        found = n_cells
                        n_cells += 1
                        top += size_of(banks, bank, room)
                    elif cells[found, SLOT] == GONE:
                        room = room_of(banks, words, bank, 0, coming)
                        words = longer(words, top + size_of(banks, bank, room))
                        begin_cell(banks, words, top, bank, key, room)
                        cells[found, SLOT] = top
                        index[bank, LIVE] += 1
                        top += size_of(banks, bank, room)
                    elif cells[found, SLOT] == AWAY:
                        held = held_tiles(banks, buf, bank, cells[found, PAYLOAD])
                        room = room_of(banks, words, bank, held, coming)
                        words = longer(words, top + size_of(banks, bank, room))
                        load_cell(banks, words, top, bank, key, room, buf, cells[found, PAYLOAD])
                        settled_weight -= words[top + CELL_WEIGHT]
                        cells[found, SLOT] = top
                        top += size_of(banks, bank, room)
                    cell = cells[found, SLOT]
                    if new_cell:
                        weight += banks[bank, WEIGHT_CELL]
                    weight += add_event(banks, spans, words, cell, degree, newest, time, mark, value)
                    if words[cell + CELL_THIN]:
                        flags |= THINNED

            # Bounds: only what settling leaves counts, so that the answer does not hang on batches.
            crowded = weight > bound
            if not crowded:
                if event < groups[number]:
                    crowded = True
                else:
                    for step in range(types[events[event, 0], 0], types[events[event, 0], 1]):
                        bank = steps[step, BANK]
                        if banks[bank, KEYS] and index[bank, LIVE] > banks[bank, KEYS]:
                            crowded = True
            if crowded:
                everything = weight > bound or event < groups[number]
                for n in range(n_cells):
                    bank = cells[n, 0]
                    over = banks[bank, KEYS] > 0 and index[bank, LIVE] > banks[bank, KEYS]
                    if (everything or over) and cells[n, SLOT] == AWAY:
                        held = held_tiles(banks, buf, bank, cells[n, PAYLOAD])
                        room = room_of(banks, words, bank, held, coming)
                        words = longer(words, top + size_of(banks, bank, room))
                        load_cell(banks, words, top, bank, cells[n, 1], room, buf, cells[n, PAYLOAD])
                        settled_weight -= words[top + CELL_WEIGHT]
                        cells[n, SLOT] = top
                        top += size_of(banks, bank, room)
                if everything:
                    weight = settle_all(banks, spans, words, cells, n_cells, index, degree, newest)
                else:
                    for bank in range(banks.shape[0]):
                        if banks[bank, KEYS] > 0 and index[bank, LIVE] > banks[bank, KEYS]:
                            weight += settle_bank(banks, spans, words, cells, index, bank, degree, newest)
                for bank in range(banks.shape[0]):
                    while banks[bank, KEYS] > 0 and index[bank, LIVE] > banks[bank, KEYS]:
                        index[bank, THIN] += 1
                        flags |= THINNED
                        weight += settle_bank(banks, spans, words, cells, index, bank, degree, newest)
                if everything and weight > bound:
                    steps_left = COARSEST + MOST_LEVELS + MOST_THIN
                    while weight > bound - (bound >> 2) and steps_left:
                        steps_left -= 1
                        if degree < COARSEST + MOST_LEVELS - 1:
                            degree += 1
                            flags |= COARSENED
                        else:
                            flags |= THINNED
                            for bank in range(banks.shape[0]):
                                if banks[bank, KEYS]:
                                    index[bank, THIN] += 1
                            for n in range(n_cells):
                                if cells[n, SLOT] >= 0 and banks[cells[n, 0], SAMPLE]:
                                    words[cells[n, SLOT] + CELL_THIN] += 1
                        weight = settle_all(banks, spans, words, cells, n_cells, index, degree, newest)

            # What a trigger's condition reads, just after this event.
            if event >= groups[number] and events[event, 6] >= 0:
                for n in range(types[kind, 2], types[kind, 3]):
                    bank = probed[n]
                    for feature in range(banks[bank, FEATURE_AT], banks[bank, FEATURES_END]):
                        row[features[feature, OUT]] = defaults[features[feature, OUT]]
                    found = find(cells, index, bank, 0)
                    if found >= 0 and cells[found, SLOT] != GONE:
                        if cells[found, SLOT] == AWAY:
                            held = held_tiles(banks, buf, bank, cells[found, PAYLOAD])
                            room = room_of(banks, words, bank, held, coming)
                            words = longer(words, top + size_of(banks, bank, room))
                            load_cell(banks, words, top, bank, 0, room, buf, cells[found, PAYLOAD])
                            settled_weight -= words[top + CELL_WEIGHT]
                            cells[found, SLOT] = top
                            top += size_of(banks, bank, room)
                        read_cell(
                            banks, spans, features, scales, words, cells[found, SLOT],
                            degree, newest + 1, sums, row,
                        )  # fmt: skip
                derive(derived, factors, defaults, row, row)
                for column in range(probes.shape[1]):
                    probes[events[event, 6], column] = row[probed[limits[4] + column]]

        # Write the state: untouched cells as they stand.
        begin = at
        out = longer_bytes(out, at + HEADER + POSITION * n_applied + 18 * n_marks + 4096)
        at += HEADER
        for n in range(n_applied):
            at = put_word(out, put_half(out, at, applied[2 * n]), applied[2 * n + 1])
        n_kept, at = store_marks(out, at, marks, n_marks, newest - lateness)
        stored = np.int64(0)
        order = longer(order, n_cells + 1)
        for bank in range(banks.shape[0]):
            if index[bank, THIN]:
                out = longer_bytes(out, at + 64)
                at = put(out, at, bank)
                at = put_word(out, at, 0)
                at = put(out, at, 2)
                at = put(out, at, 0)
                at = put(out, at, index[bank, THIN])
                stored += 1
            if index[bank, RANGE_END] == index[bank, RANGE_AT] and index[bank, CHAIN] < 0:
                continue
            for n in range(in_order(cells, index, bank, order)):
                entry = order[n]
                if cells[entry, SLOT] == GONE:
                    continue
                if cells[entry, SLOT] == AWAY:
                    due = cells[entry, DUE]
                    if (due == 0 or newest >> DUE_BITS < due) and kept_at(cells[entry, 1], index[bank, THIN]):
                        begin_at, end_at = cells[entry, START], cells[entry, END]
                        out = longer_bytes(out, at + end_at - begin_at)
                        out[at : at + end_at - begin_at] = buf[begin_at:end_at]
                        at += end_at - begin_at
                        stored += 1
                        continue
                    held = held_tiles(banks, buf, bank, cells[entry, PAYLOAD])
                    words = longer(words, top + size_of(banks, bank, held + 1))
                    load_cell(banks, words, top, bank, cells[entry, 1], held + 1, buf, cells[entry, PAYLOAD])
                    settled_weight -= words[top + CELL_WEIGHT]
                    cells[entry, SLOT] = top  # its scratch is free again once it is stored
                cell = cells[entry, SLOT]
                left = settle_cell(banks, spans, words, cell, degree, newest)
                if left and kept_at(cells[entry, 1], index[bank, THIN]):
                    settled_weight += weigh_cell(banks, words, cell)
                    out = longer_bytes(out, at + longest_cell(words, cell, banks))
                    at = store_cell(banks, spans, words, cell, degree, out, at)
                    stored += 1
        store_header(out, begin, newest, degree, flags, n_applied, n_kept, stored, settled_weight)
        out = longer_bytes(out, at + memory_end - memory)
        out[at : at + memory_end - memory] = buf[memory:memory_end]
        at += memory_end - memory
        put_half(out, begin + MEMORY, memory_end - memory)
        put_word(out, begin + DIGEST, digest)
        put_half(out, begin + LENGTH, at - begin)
        put_word(out, begin + 8, checksum(out, begin + DIGEST, at))
        out_starts[number + 1] = at
    return out[:at], out_starts


@compiled
def position_of(applied: Words, n: int, partition: int) -> int:
    """The last position applied of a partition; -1 when none."""
    for at in range(n):
        if applied[2 * at] == partition:
            return applied[2 * at + 1]
    return -1


@compiled
def advance_applied(applied: Words, n: int, partition: int, position: int) -> int:
    """Note a position, partitions in order; how many partitions there are now. Needs room for one more."""
    at = 0
    while at < n and applied[2 * at] < partition:
        at += 1
    if at < n and applied[2 * at] == partition:
        applied[2 * at + 1] = max(applied[2 * at + 1], position)
        return n
    for word in range(2 * n - 1, 2 * at - 1, -1):
        applied[word + 2] = applied[word]
    applied[2 * at], applied[2 * at + 1] = partition, position
    return n + 1


@compiled
def settle_bank(
    banks: Words, spans: Words, words: Words, cells: Words, index: Words, bank: int, degree: int, newest: int
) -> int:
    """Settle a family's loaded cells, letting go of empty and thinned ones; by how much weight changed."""
    change = np.int64(0)
    for old in range(2):
        entry = index[bank, RANGE_AT] if old else index[bank, CHAIN]
        while (entry < index[bank, RANGE_END]) if old else (entry >= 0):
            cell = cells[entry, SLOT]
            if cell >= 0:
                before = weigh_cell(banks, words, cell)
                left = settle_cell(banks, spans, words, cell, degree, newest)
                if left and kept_at(cells[entry, 1], index[bank, THIN]):
                    change += weigh_cell(banks, words, cell) - before
                else:
                    change -= before
                    cells[entry, SLOT] = GONE
                    index[bank, LIVE] -= 1
            entry = entry + 1 if old else cells[entry, NEXT]
    return change


@compiled
def settle_all(
    banks: Words, spans: Words, words: Words, cells: Words, n: int, index: Words, degree: int, newest: int
) -> int:
    """Settle every cell, all loaded; what they weigh."""
    weight = np.int64(0)
    for entry in range(n):
        cell = cells[entry, SLOT]
        if cell < 0:
            continue
        bank = cells[entry, 0]
        left = settle_cell(banks, spans, words, cell, degree, newest)
        if left and kept_at(cells[entry, 1], index[bank, THIN]):
            weight += weigh_cell(banks, words, cell)
        else:
            cells[entry, SLOT] = GONE
            index[bank, LIVE] -= 1
    return weight


assert APPLIED and PAYLOAD
