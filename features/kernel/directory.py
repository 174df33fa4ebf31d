"""Which cells a state has and where they lie: in its bytes, or loaded into scratch.

`cells` has a row for each: bank, key, where it begins in the bytes, where its payload begins, where it
ends, when it changes by time alone, its offset in scratch (-1: not loaded, -2: let go), and the next new
cell of its bank. `index` has a row for each bank: its only cell or (of a family) the range of cells that
were there, the newest new cell, how many live, and how far the family is thinned.
"""

from features.kernel.compiled import Bytes, Words, compiled, int64
from features.kernel.layout import (
    BANK_COLUMNS,
    KEYS,
)
from features.kernel.varint import get, get_word

START, PAYLOAD, END, DUE, SLOT, NEXT = 2, 3, 4, 5, 6, 7
ENTRY = 8
RANGE_AT, RANGE_END, CHAIN, LIVE, THIN = 0, 1, 2, 3, 4
INDEX = 5

AWAY, GONE = -1, -2
_KEY = 1


@compiled
def clear(index: Words, banks: int) -> None:
    """No cells of so many banks."""
    for bank in range(banks):
        index[bank * INDEX + RANGE_AT] = index[bank * INDEX + RANGE_END] = 0
        index[bank * INDEX + CHAIN] = -1
        index[bank * INDEX + LIVE] = index[bank * INDEX + THIN] = 0


@compiled
def list_cells(banks: Words, buf: Bytes, at: int, count: int, cells: Words, index: Words) -> tuple[int, int]:
    """List the cells that begin at `at`: (how many, where they end). A family's key 0 says how thin it is."""
    n = 0
    for _ in range(count):
        start = at
        bank, at = get(buf, at)
        key = int64(0)
        if banks[bank * BANK_COLUMNS + KEYS]:
            key = get_word(buf, at)
            at += 8
        length, at = get(buf, at)
        end = at + length
        due, payload = get(buf, at)
        if key == 0 and banks[bank * BANK_COLUMNS + KEYS]:
            index[bank * INDEX + THIN], _ = get(buf, payload)
        else:
            if index[bank * INDEX + LIVE] == 0:
                index[bank * INDEX + RANGE_AT] = n
            index[bank * INDEX + LIVE] += 1
            cells[n * ENTRY], cells[n * ENTRY + _KEY] = bank, key
            cells[n * ENTRY + START], cells[n * ENTRY + PAYLOAD], cells[n * ENTRY + END] = start, payload, end
            cells[n * ENTRY + DUE], cells[n * ENTRY + SLOT], cells[n * ENTRY + NEXT] = due, AWAY, -1
            n += 1
            index[bank * INDEX + RANGE_END] = n
        at = end
    return n, at


@compiled
def find(cells: Words, index: Words, bank: int, key: int) -> int:
    """The row of a cell; -1 when there is none."""
    low, high = index[bank * INDEX + RANGE_AT], index[bank * INDEX + RANGE_END]
    end = high
    while low < high:
        middle = (low + high) >> 1
        if cells[middle * ENTRY + _KEY] < key:
            low = middle + 1
        else:
            high = middle
    if low < end and cells[low * ENTRY + _KEY] == key:
        return low
    row = index[bank * INDEX + CHAIN]
    while row >= 0 and cells[row * ENTRY + _KEY] != key:
        row = cells[row * ENTRY + NEXT]
    return row


@compiled
def enter(cells: Words, index: Words, n: int, bank: int, key: int, slot: int) -> None:
    """Enter a new cell as row `n`."""
    cells[n * ENTRY], cells[n * ENTRY + _KEY] = bank, key
    cells[n * ENTRY + START] = cells[n * ENTRY + PAYLOAD] = cells[n * ENTRY + END] = cells[
        n * ENTRY + DUE
    ] = 0
    cells[n * ENTRY + SLOT], cells[n * ENTRY + NEXT] = slot, index[bank * INDEX + CHAIN]
    index[bank * INDEX + CHAIN] = n
    index[bank * INDEX + LIVE] += 1


@compiled
def in_order(cells: Words, index: Words, bank: int, order: Words) -> int:
    """The rows of a bank's cells by key, into `order`; how many."""
    n = 0
    row = index[bank * INDEX + CHAIN]
    while row >= 0:
        at = n
        while at and cells[order[at - 1] * ENTRY + _KEY] > cells[row * ENTRY + _KEY]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = row
        n += 1
        row = cells[row * ENTRY + NEXT]
    new, old = n, index[bank * INDEX + RANGE_END] - index[bank * INDEX + RANGE_AT]
    # Merged from behind, so that nothing is overwritten before it is placed.
    at = new + old
    while old:
        last = index[bank * INDEX + RANGE_AT] + old - 1
        at -= 1
        if new and cells[order[new - 1] * ENTRY + _KEY] > cells[last * ENTRY + _KEY]:
            new -= 1
            order[at] = order[new]
        else:
            old -= 1
            order[at] = last
    return n + index[bank * INDEX + RANGE_END] - index[bank * INDEX + RANGE_AT]
