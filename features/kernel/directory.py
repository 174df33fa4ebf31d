"""Which cells a state has and where they lie: in its bytes, or loaded into scratch.

`cells` has a row for each: bank, key, where it begins in the bytes, where its payload begins, where it ends,
when it changes by time alone, its offset in scratch (-1: not loaded, -2: let go), and the next new cell of its
bank. `index` has a row for each bank: its only cell or (of a family) the range of cells that were there, the
newest new cell, how many live, and how far the family is thinned.
"""

import numpy as np

from features.kernel.compiled import Bytes, Words, compiled
from features.kernel.layout import BANK, KEY, KEYS
from features.kernel.varint import get, get_word

START, PAYLOAD, END, DUE, SLOT, NEXT = 2, 3, 4, 5, 6, 7
ENTRY = 8
RANGE_AT, RANGE_END, CHAIN, LIVE, THIN = 0, 1, 2, 3, 4
INDEX = 5

AWAY, GONE = -1, -2
_KEY = 1

assert (BANK, KEY) == (0, 3), "columns of steps; a cell's key stands in column 1"


@compiled
def clear(index: Words) -> None:
    """No cells."""
    for bank in range(index.shape[0]):
        index[bank, RANGE_AT] = index[bank, RANGE_END] = 0
        index[bank, CHAIN] = -1
        index[bank, LIVE] = index[bank, THIN] = 0


@compiled
def list_cells(banks: Words, buf: Bytes, at: int, count: int, cells: Words, index: Words) -> tuple[int, int]:
    """List the cells that begin at `at`: (how many, where they end). A family's key 0 says how thin it is."""
    n = 0
    for _ in range(count):
        start = at
        bank, at = get(buf, at)
        key = np.int64(0)
        if banks[bank, KEYS]:
            key = get_word(buf, at)
            at += 8
        length, at = get(buf, at)
        end = at + length
        due, payload = get(buf, at)
        if key == 0 and banks[bank, KEYS]:
            index[bank, THIN], _ = get(buf, payload)
        else:
            if index[bank, LIVE] == 0:
                index[bank, RANGE_AT] = n
            index[bank, LIVE] += 1
            cells[n, 0], cells[n, _KEY] = bank, key
            cells[n, START], cells[n, PAYLOAD], cells[n, END] = start, payload, end
            cells[n, DUE], cells[n, SLOT], cells[n, NEXT] = due, AWAY, -1
            n += 1
            index[bank, RANGE_END] = n
        at = end
    return n, at


@compiled
def find(cells: Words, index: Words, bank: int, key: int) -> int:
    """The row of a cell; -1 when there is none."""
    low, high = index[bank, RANGE_AT], index[bank, RANGE_END]
    end = high
    while low < high:
        middle = (low + high) >> 1
        if cells[middle, _KEY] < key:
            low = middle + 1
        else:
            high = middle
    if low < end and cells[low, _KEY] == key:
        return low
    row = index[bank, CHAIN]
    while row >= 0 and cells[row, _KEY] != key:
        row = cells[row, NEXT]
    return row


@compiled
def enter(cells: Words, index: Words, n: int, bank: int, key: int, slot: int) -> None:
    """Enter a new cell as row `n`."""
    cells[n, 0], cells[n, _KEY] = bank, key
    cells[n, START] = cells[n, PAYLOAD] = cells[n, END] = cells[n, DUE] = 0
    cells[n, SLOT], cells[n, NEXT] = slot, index[bank, CHAIN]
    index[bank, CHAIN] = n
    index[bank, LIVE] += 1


@compiled
def in_order(cells: Words, index: Words, bank: int, order: Words) -> int:
    """The rows of a bank's cells by key, into `order`; how many."""
    n = 0
    row = index[bank, CHAIN]
    while row >= 0:
        at = n
        while at and cells[order[at - 1], _KEY] > cells[row, _KEY]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = row
        n += 1
        row = cells[row, NEXT]
    new, old = n, index[bank, RANGE_END] - index[bank, RANGE_AT]
    # Merged from behind, so that nothing is overwritten before it is placed.
    at = new + old
    while old:
        last = index[bank, RANGE_AT] + old - 1
        at -= 1
        if new and cells[order[new - 1], _KEY] > cells[last, _KEY]:
            new -= 1
            order[at] = order[new]
        else:
            old -= 1
            order[at] = last
    return n + index[bank, RANGE_END] - index[bank, RANGE_AT]
