"""The one fold, compiled: the events of many customers into their states, bytes to bytes, in one pass.

Of each customer the cells that its events touch, and those that time alone has changed, are read into
scratch; the events are applied one after the other, in log order; everything else is copied as it stands.
"""

import numpy as np
from numpy.typing import NDArray

from features.kernel.cell import (
    begin_cell,
    load_cell,
    longest_cell,
    settle_cell,
    size_of,
    store_cell,
    weigh_cell,
)
from features.kernel.compiled import Bytes, Floats, Words, compiled, int64, pointer
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
    POSITION_BYTES,
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
    COARSEST,
    CONDITION,
    DERIVED_COLUMNS,
    DUE_BITS,
    EVENT_COLUMNS,
    EVER,
    FEATURE_AT,
    FEATURE_COLUMNS,
    FEATURES_END,
    FIRST,
    HALF_AT,
    HALF_LIVES_KEPT,
    HALVES,
    HEAD,
    INTERVAL,
    KEY,
    KEYS,
    KIND,
    LAST,
    LATEST,
    LEVELS,
    MARK,
    MISSING,
    MOST_LEVELS,
    OUT,
    PARTITION,
    POSITION,
    PROBE,
    PROBED_AT,
    PROBED_END,
    SAMPLE,
    STEP_COLUMNS,
    STEPS_AT,
    STEPS_END,
    TILE,
    TIME,
    TYPE_COLUMNS,
    VALUE,
    WEIGHT_CELL,
    WEIGHT_HALF,
    WEIGHT_TILE,
    WORDS_AT,
)
from features.kernel.reading import derive, read_cell
from features.kernel.sample import add_value, kept_at
from features.kernel.tiles import add_tile, add_whole, place_of
from features.kernel.varint import checksum, get_half, get_word, put, put_half, put_word

FOLDED, REPEAT, LATE, BEHIND = range(4)


def fixed_size(banks: int) -> int:
    """Words of scratch that `fold_states` is given for so many banks."""
    return 4 * MOST_MARKS + 5 * MOST_LEVELS + 9 + 2 * INDEX * banks


ROOM = 2048
"""Tiles that a settled cell never exceeds: 8 levels of at most 202."""

MOST_THIN = 48


@compiled
def longer(words: Words, wanted: int) -> Words:
    """The same words with room for at least `wanted`."""
    if wanted <= words.size:
        return words
    grown = np.empty(max(wanted, 2 * words.size), dtype=np.int64)
    for n in range(words.size):
        grown[n] = words[n]
    return grown


@compiled
def longer_bytes(buf: Bytes, wanted: int) -> Bytes:
    """The same bytes with room for at least `wanted`."""
    if wanted <= buf.size:
        return buf
    grown = np.empty(max(wanted, 2 * buf.size), dtype=np.uint8)
    for n in range(buf.size):
        grown[n] = buf[n]
    return grown


@compiled
def copy_bytes(out: Bytes, at: int, buf: Bytes, start: int, end: int) -> None:
    """Copy buf[start:end] to out[at:]."""
    while start + 8 <= end:
        put_word(out, at, get_word(buf, start))
        at += 8
        start += 8
    while start < end:
        out[at] = buf[start]
        at += 1
        start += 1


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
    probes: NDArray[np.float64],
    fixed: NDArray[np.int64],
    row: Floats,
) -> tuple[Bytes, Words]:
    """Fold events into states and, if given, merge other states in: (the new states' bytes, where each
    begins).

    `limits`: lateness (ms), bound (bytes), digest of the plan, whether ids are remembered, where in
    `probed` the columns begin behind the banks that they need, and how many columns. State n is
    buf[starts[n]:starts[n + 1]], empty for none; likewise `others`. Its events are rows groups[n] to
    groups[n + 1] of `events`, their words in `flat`. What became of each goes to `fates`; of those that
    ask, the row just after them at `probed` columns to `probes`. `fixed` (of `fixed_size` words) and `row`
    (a copy of `defaults`) are scratch.
    """
    lateness, bound, digest, remembers = limits[0], limits[1], limits[2], limits[3]
    count, n_banks, n_derived = starts.size - 1, banks.size // BANK_COLUMNS, derived.size // DERIVED_COLUMNS
    written: Bytes = np.empty(max(buf.size + others.size + 4096, 1 << 14), dtype=np.uint8)
    out = pointer(written)
    out_starts = np.zeros(count + 1, dtype=np.int64)
    scratch: Words = np.empty(1 << 12, dtype=np.int64)
    words = pointer(scratch)
    listed_cells: Words = np.empty(256 * ENTRY, dtype=np.int64)
    cells = pointer(listed_cells)
    its_cells: Words = np.empty(0, dtype=np.int64)
    positions: Words = np.empty(64, dtype=np.int64)
    ordering: Words = np.empty(256, dtype=np.int64)
    # Pieces of what the caller keeps: memory of our own would be let go as soon as only pointers use it.
    marks = pointer(fixed)
    other_marks = pointer(fixed[2 * MOST_MARKS + 2 :])
    sums = pointer(fixed[4 * MOST_MARKS + 4 :])
    index = pointer(fixed[4 * MOST_MARKS + 5 * MOST_LEVELS + 9 :])
    other_index = pointer(fixed[4 * MOST_MARKS + 5 * MOST_LEVELS + 9 + INDEX * n_banks :])
    banks, spans, features, scales = pointer(banks), pointer(spans), pointer(features), pointer(scales)
    steps, types, defaults, derived = pointer(steps), pointer(types), pointer(defaults), pointer(derived)
    factors, probed, buf, others = pointer(factors), pointer(probed), pointer(buf), pointer(others)
    events, flat, fates, row = pointer(events), pointer(flat), pointer(fates), pointer(row)
    applied = pointer(positions)
    order = pointer(ordering)
    at = int64(0)
    for number in range(count):
        base = starts[number]
        clear(index, n_banks)
        newest, degree, flags, weight = int64(-1), int64(0), int64(0), int64(0)
        n_applied, n_marks, n_cells = int64(0), int64(0), int64(0)
        memory = memory_end = int64(0)
        if starts[number + 1] > base:
            newest = get_word(buf, base + NEWEST)
            degree, flags = int64(buf[base + DEGREE]), int64(buf[base + FLAGS])
            weight = get_half(buf, base + WEIGHT)
            n_applied = applied_of(buf, base)
            positions = longer(positions, 2 * n_applied + 2)
            applied = pointer(positions)
            for n in range(n_applied):
                applied[2 * n] = get_half(buf, base + HEADER + POSITION_BYTES * n)
                applied[2 * n + 1] = get_word(buf, base + HEADER + POSITION_BYTES * n + 4)
            n_marks = get_half(buf, base + MARKS)
            place = load_marks(buf, base + HEADER + POSITION_BYTES * n_applied, n_marks, marks)
            listed = get_half(buf, base + CELLS)
            listed_cells = longer(listed_cells, ENTRY * (listed + 1))
            cells = pointer(listed_cells)
            n_cells, memory = list_cells(banks, buf, place, listed, cells, index)
            memory_end = memory + get_half(buf, base + MEMORY)
        settled_weight = weight
        top = int64(0)
        coming = groups[number + 1] - groups[number]

        # Merge another state of the same customer in.
        other = other_starts[number]
        if other_starts[number + 1] > other:
            clear(other_index, n_banks)
            its_newest = get_word(others, other + NEWEST)
            newest = max(newest, its_newest)
            degree = max(degree, int64(others[other + DEGREE]))
            flags |= int64(others[other + FLAGS])
            for n in range(applied_of(others, other)):
                partition = get_half(others, other + HEADER + POSITION_BYTES * n)
                position = get_word(others, other + HEADER + POSITION_BYTES * n + 4)
                positions = longer(positions, 2 * n_applied + 2)
                applied = pointer(positions)
                n_applied = advance_applied(applied, n_applied, partition, position)
            n_others = get_half(others, other + MARKS)
            place = other + HEADER + POSITION_BYTES * applied_of(others, other)
            place = load_marks(others, place, n_others, other_marks)
            for n in range(n_others):
                if n_marks == MOST_MARKS and min(marks[0], other_marks[2 * n]) >= newest - lateness:
                    flags |= FORGOT_MARKS
                n_marks = add_mark(marks, n_marks, other_marks[2 * n], other_marks[2 * n + 1])
            listed = get_half(others, other + CELLS)
            its_cells = longer(its_cells, ENTRY * (listed + 1))
            other_cells = pointer(its_cells)
            listed, _ = list_cells(banks, others, place, listed, other_cells, other_index)
            for bank in range(n_banks):
                index[bank * INDEX + THIN] = max(index[bank * INDEX + THIN], other_index[bank * INDEX + THIN])
            for n in range(listed):
                bank, key = other_cells[n * ENTRY], other_cells[n * ENTRY + 1]
                its = held_tiles(banks, others, bank, other_cells[n * ENTRY + PAYLOAD])
                found = find(cells, index, bank, key)
                held = int64(0)
                if found >= 0:
                    held = held_tiles(banks, buf, bank, cells[found * ENTRY + PAYLOAD])
                room = room_of(banks, bank, held + its, coming)
                size = size_of(banks, bank, room)
                scratch = longer(scratch, top + size + size_of(banks, bank, its + 1))
                words = pointer(scratch)
                if found < 0:
                    listed_cells = longer(listed_cells, ENTRY * (n_cells + 1))
                    cells = pointer(listed_cells)
                    begin_cell(banks, words, top, bank, key, room)
                    enter(cells, index, n_cells, bank, key, top)
                    n_cells += 1
                else:
                    load_cell(banks, words, top, bank, key, room, buf, cells[found * ENTRY + PAYLOAD])
                    settled_weight -= words[top + CELL_WEIGHT]
                    cells[found * ENTRY + SLOT] = top
                cell = top
                top += size
                load_cell(banks, words, top, bank, key, its + 1, others, other_cells[n * ENTRY + PAYLOAD])
                weight += words[top + CELL_WEIGHT]
                add_cell(banks, spans, words, cell, top, degree, newest)

        # Then the events, in log order. A pass without an event comes first after a merge, to mind the
        # bounds.
        first_event = groups[number]
        if other_starts[number + 1] > other:
            first_event -= 1
        for event in range(first_event, groups[number + 1]):
            if event >= groups[number]:
                kind, time, mark = (
                    events[event * EVENT_COLUMNS + KIND],
                    events[event * EVENT_COLUMNS + TIME],
                    events[event * EVENT_COLUMNS + MARK],
                )
                partition, position, its_words = (
                    events[event * EVENT_COLUMNS + PARTITION],
                    events[event * EVENT_COLUMNS + POSITION],
                    events[event * EVENT_COLUMNS + WORDS_AT],
                )
                if position <= position_of(applied, n_applied, partition):
                    fates[event] = BEHIND
                    continue
                positions = longer(positions, 2 * n_applied + 2)
                applied = pointer(positions)
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
                for step in range(
                    types[kind * TYPE_COLUMNS + STEPS_AT], types[kind * TYPE_COLUMNS + STEPS_END]
                ):
                    if (
                        steps[step * STEP_COLUMNS + CONDITION] >= 0
                        and flat[its_words + steps[step * STEP_COLUMNS + CONDITION]] != 1
                    ):
                        continue
                    value, key = int64(0), int64(0)
                    if steps[step * STEP_COLUMNS + VALUE] >= 0:
                        value = flat[its_words + steps[step * STEP_COLUMNS + VALUE]]
                        if value == MISSING:
                            continue
                    if steps[step * STEP_COLUMNS + KEY] >= 0:
                        key = flat[its_words + steps[step * STEP_COLUMNS + KEY]]
                        if key == MISSING:
                            continue
                    bank = steps[step * STEP_COLUMNS + BANK]
                    if not kept_at(key, index[bank * INDEX + THIN]):
                        continue
                    found = find(cells, index, bank, key)
                    new_cell = found < 0 or cells[found * ENTRY + SLOT] == GONE
                    if found < 0:
                        room = room_of(banks, bank, 0, coming)
                        scratch = longer(scratch, top + size_of(banks, bank, room))
                        words = pointer(scratch)
                        begin_cell(banks, words, top, bank, key, room)
                        listed_cells = longer(listed_cells, ENTRY * (n_cells + 1))
                        cells = pointer(listed_cells)
                        enter(cells, index, n_cells, bank, key, top)
                        found = n_cells
                        n_cells += 1
                        top += size_of(banks, bank, room)
                    elif cells[found * ENTRY + SLOT] == GONE:
                        room = room_of(banks, bank, 0, coming)
                        scratch = longer(scratch, top + size_of(banks, bank, room))
                        words = pointer(scratch)
                        begin_cell(banks, words, top, bank, key, room)
                        cells[found * ENTRY + SLOT] = top
                        index[bank * INDEX + LIVE] += 1
                        top += size_of(banks, bank, room)
                    elif cells[found * ENTRY + SLOT] == AWAY:
                        held = held_tiles(banks, buf, bank, cells[found * ENTRY + PAYLOAD])
                        room = room_of(banks, bank, held, coming)
                        scratch = longer(scratch, top + size_of(banks, bank, room))
                        words = pointer(scratch)
                        load_cell(banks, words, top, bank, key, room, buf, cells[found * ENTRY + PAYLOAD])
                        settled_weight -= words[top + CELL_WEIGHT]
                        cells[found * ENTRY + SLOT] = top
                        top += size_of(banks, bank, room)
                    cell = cells[found * ENTRY + SLOT]
                    if new_cell:
                        weight += banks[bank * BANK_COLUMNS + WEIGHT_CELL]
                    weight += add_event(banks, spans, words, cell, degree, newest, time, mark, value)
                    if words[cell + CELL_THIN]:
                        flags |= THINNED

            # Bounds: only what settling leaves counts, so that the answer does not hang on batches.
            crowded = weight > bound
            if not crowded:
                if event < groups[number]:
                    crowded = True
                else:
                    for step in range(
                        types[events[event * EVENT_COLUMNS + KIND] * TYPE_COLUMNS + STEPS_AT],
                        types[events[event * EVENT_COLUMNS + KIND] * TYPE_COLUMNS + STEPS_END],
                    ):
                        bank = steps[step * STEP_COLUMNS + BANK]
                        if (
                            banks[bank * BANK_COLUMNS + KEYS]
                            and index[bank * INDEX + LIVE] > banks[bank * BANK_COLUMNS + KEYS]
                        ):
                            crowded = True
            if crowded:
                everything = weight > bound or event < groups[number]
                for n in range(n_cells):
                    bank = cells[n * ENTRY]
                    over = (
                        banks[bank * BANK_COLUMNS + KEYS] > 0
                        and index[bank * INDEX + LIVE] > banks[bank * BANK_COLUMNS + KEYS]
                    )
                    if (everything or over) and cells[n * ENTRY + SLOT] == AWAY:
                        held = held_tiles(banks, buf, bank, cells[n * ENTRY + PAYLOAD])
                        room = room_of(banks, bank, held, coming)
                        scratch = longer(scratch, top + size_of(banks, bank, room))
                        words = pointer(scratch)
                        load_cell(
                            banks,
                            words,
                            top,
                            bank,
                            cells[n * ENTRY + 1],
                            room,
                            buf,
                            cells[n * ENTRY + PAYLOAD],
                        )
                        settled_weight -= words[top + CELL_WEIGHT]
                        cells[n * ENTRY + SLOT] = top
                        top += size_of(banks, bank, room)
                if everything:
                    weight = settle_all(banks, spans, words, cells, n_cells, index, degree, newest)
                else:
                    for bank in range(n_banks):
                        if (
                            banks[bank * BANK_COLUMNS + KEYS] > 0
                            and index[bank * INDEX + LIVE] > banks[bank * BANK_COLUMNS + KEYS]
                        ):
                            weight += settle_bank(banks, spans, words, cells, index, bank, degree, newest)
                for bank in range(n_banks):
                    while (
                        banks[bank * BANK_COLUMNS + KEYS] > 0
                        and index[bank * INDEX + LIVE] > banks[bank * BANK_COLUMNS + KEYS]
                    ):
                        index[bank * INDEX + THIN] += 1
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
                            for bank in range(n_banks):
                                if banks[bank * BANK_COLUMNS + KEYS]:
                                    index[bank * INDEX + THIN] += 1
                            for n in range(n_cells):
                                if (
                                    cells[n * ENTRY + SLOT] >= 0
                                    and banks[cells[n * ENTRY] * BANK_COLUMNS + SAMPLE]
                                ):
                                    words[cells[n * ENTRY + SLOT] + CELL_THIN] += 1
                        weight = settle_all(banks, spans, words, cells, n_cells, index, degree, newest)

            # What a trigger's condition reads, just after this event.
            if event >= groups[number] and events[event * EVENT_COLUMNS + PROBE] >= 0:
                for n in range(
                    types[kind * TYPE_COLUMNS + PROBED_AT], types[kind * TYPE_COLUMNS + PROBED_END]
                ):
                    bank = probed[n]
                    for feature in range(
                        banks[bank * BANK_COLUMNS + FEATURE_AT], banks[bank * BANK_COLUMNS + FEATURES_END]
                    ):
                        row[features[feature * FEATURE_COLUMNS + OUT]] = defaults[
                            features[feature * FEATURE_COLUMNS + OUT]
                        ]
                    found = find(cells, index, bank, 0)
                    if found >= 0 and cells[found * ENTRY + SLOT] != GONE:
                        if cells[found * ENTRY + SLOT] == AWAY:
                            held = held_tiles(banks, buf, bank, cells[found * ENTRY + PAYLOAD])
                            room = room_of(banks, bank, held, coming)
                            scratch = longer(scratch, top + size_of(banks, bank, room))
                            words = pointer(scratch)
                            load_cell(banks, words, top, bank, 0, room, buf, cells[found * ENTRY + PAYLOAD])
                            settled_weight -= words[top + CELL_WEIGHT]
                            cells[found * ENTRY + SLOT] = top
                            top += size_of(banks, bank, room)
                        read_cell(
                            banks, spans, features, scales, words, cells[found * ENTRY + SLOT],
                            degree, newest + 1, sums, row, 0,
                        )  # fmt: skip
                derive(derived, factors, n_derived, defaults, row, 0, row)
                for column in range(limits[5]):
                    probes[events[event * EVENT_COLUMNS + PROBE], column] = row[probed[limits[4] + column]]

        # Write the state: untouched cells as they stand.
        begin = at
        written = longer_bytes(written, at + HEADER + POSITION_BYTES * n_applied + 18 * n_marks + 4096)
        out = pointer(written)
        at += HEADER
        for n in range(n_applied):
            at = put_word(out, put_half(out, at, applied[2 * n]), applied[2 * n + 1])
        n_kept, at = store_marks(out, at, marks, n_marks, newest - lateness)
        stored = int64(0)
        ordering = longer(ordering, n_cells + 1)
        order = pointer(ordering)
        for bank in range(n_banks):
            if index[bank * INDEX + THIN]:
                written = longer_bytes(written, at + 64)
                out = pointer(written)
                at = put(out, at, bank)
                at = put_word(out, at, 0)
                at = put(out, at, 2)
                at = put(out, at, 0)
                at = put(out, at, index[bank * INDEX + THIN])
                stored += 1
            if (
                index[bank * INDEX + RANGE_END] == index[bank * INDEX + RANGE_AT]
                and index[bank * INDEX + CHAIN] < 0
            ):
                continue
            for n in range(in_order(cells, index, bank, order)):
                entry = order[n]
                if cells[entry * ENTRY + SLOT] == GONE:
                    continue
                if cells[entry * ENTRY + SLOT] == AWAY:
                    due = cells[entry * ENTRY + DUE]
                    if (due == 0 or newest >> DUE_BITS < due) and kept_at(
                        cells[entry * ENTRY + 1], index[bank * INDEX + THIN]
                    ):
                        begin_at, end_at = cells[entry * ENTRY + START], cells[entry * ENTRY + END]
                        written = longer_bytes(written, at + end_at - begin_at)
                        out = pointer(written)
                        copy_bytes(out, at, buf, begin_at, end_at)
                        at += end_at - begin_at
                        stored += 1
                        continue
                    held = held_tiles(banks, buf, bank, cells[entry * ENTRY + PAYLOAD])
                    scratch = longer(scratch, top + size_of(banks, bank, held + 1))
                    words = pointer(scratch)
                    load_cell(
                        banks,
                        words,
                        top,
                        bank,
                        cells[entry * ENTRY + 1],
                        held + 1,
                        buf,
                        cells[entry * ENTRY + PAYLOAD],
                    )
                    settled_weight -= words[top + CELL_WEIGHT]
                    cells[entry * ENTRY + SLOT] = top  # its scratch is free again once it is stored
                cell = cells[entry * ENTRY + SLOT]
                left = settle_cell(banks, spans, words, cell, degree, newest)
                if left and kept_at(cells[entry * ENTRY + 1], index[bank * INDEX + THIN]):
                    settled_weight += weigh_cell(banks, words, cell)
                    written = longer_bytes(written, at + longest_cell(words, cell, banks))
                    out = pointer(written)
                    at = store_cell(banks, spans, words, cell, degree, out, at)
                    stored += 1
        store_header(out, begin, newest, degree, flags, n_applied, n_kept, stored, settled_weight)
        written = longer_bytes(written, at + memory_end - memory)
        out = pointer(written)
        copy_bytes(out, at, buf, memory, memory_end)
        at += memory_end - memory
        put_half(out, begin + MEMORY, memory_end - memory)
        put_word(out, begin + DIGEST, digest)
        put_half(out, begin + LENGTH, at - begin)
        put_word(out, begin + 8, checksum(out, begin + DIGEST, at))
        out_starts[number + 1] = at
    return written, out_starts


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
    change = int64(0)
    for old in range(2):
        entry = index[bank * INDEX + RANGE_AT] if old else index[bank * INDEX + CHAIN]
        while (entry < index[bank * INDEX + RANGE_END]) if old else (entry >= 0):
            cell = cells[entry * ENTRY + SLOT]
            if cell >= 0:
                before = weigh_cell(banks, words, cell)
                left = settle_cell(banks, spans, words, cell, degree, newest)
                if left and kept_at(cells[entry * ENTRY + 1], index[bank * INDEX + THIN]):
                    change += weigh_cell(banks, words, cell) - before
                else:
                    change -= before
                    cells[entry * ENTRY + SLOT] = GONE
                    index[bank * INDEX + LIVE] -= 1
            entry = entry + 1 if old else cells[entry * ENTRY + NEXT]
    return change


@compiled
def settle_all(
    banks: Words, spans: Words, words: Words, cells: Words, n: int, index: Words, degree: int, newest: int
) -> int:
    """Settle every cell, all loaded; what they weigh."""
    weight = int64(0)
    for entry in range(n):
        cell = cells[entry * ENTRY + SLOT]
        if cell < 0:
            continue
        bank = cells[entry * ENTRY]
        left = settle_cell(banks, spans, words, cell, degree, newest)
        if left and kept_at(cells[entry * ENTRY + 1], index[bank * INDEX + THIN]):
            weight += weigh_cell(banks, words, cell)
        else:
            cells[entry * ENTRY + SLOT] = GONE
            index[bank * INDEX + LIVE] -= 1
    return weight
