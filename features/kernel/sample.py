"""How many different values: a sample by hash, of each the last time it was seen.

While no more values are in use than the sample may hold, the number is exact. Past that only values whose
hash begins with `thin` zero bits are kept, so each stands for 2^thin: the standard error of the estimate is
about 1/sqrt(number of the sample inside the window). The same values are kept whatever the order they come
in. Entries lie where other cells have tiles, sorted by hash: (hash, last time).
"""

from features.kernel.compiled import Words, compiled
from features.kernel.layout import (
    BANK_COLUMNS,
    CELL_CAP,
    CELL_N,
    CELL_THIN,
    HEAD,
    HORIZON,
    SAMPLE,
    TILE,
)


@compiled
def kept_at(key: int, thin: int) -> bool:
    """Whether a sample, or a family, thinned so far keeps this hash."""
    return thin == 0 or (key >> (64 - thin)) == 0


@compiled
def settle_sample(banks: Words, words: Words, cell: int, bank: int, newest: int) -> None:
    """Forget values not seen within the longest window, and those that the sample no longer keeps."""
    horizon = banks[bank * BANK_COLUMNS + HORIZON]
    oldest = newest - horizon if horizon else 0
    first = cell + HEAD
    kept = first
    for number in range(words[cell + CELL_N]):
        entry = first + TILE * number
        if words[entry + 1] >= oldest and kept_at(words[entry], words[cell + CELL_THIN]):
            words[kept], words[kept + 1] = words[entry], words[entry + 1]
            kept += TILE
    words[cell + CELL_N] = (kept - first) // TILE


@compiled
def add_value(banks: Words, words: Words, cell: int, bank: int, key: int, time: int, newest: int) -> int:
    """Note that a value was seen: by how many entries the sample grew (it may shrink), or -2 for no room."""
    if not kept_at(key, words[cell + CELL_THIN]):
        return 0
    n = words[cell + CELL_N]
    first = cell + HEAD
    low, high = 0, n
    while low < high:
        middle = (low + high) >> 1
        if words[first + TILE * middle] < key:
            low = middle + 1
        else:
            high = middle
    entry = first + TILE * low
    if low < n and words[entry] == key:
        words[entry + 1] = max(words[entry + 1], time)
        return 0
    if n == words[cell + CELL_CAP]:
        return -(1 << 40)
    for word in range(first + TILE * n - 1, entry - 1, -1):
        words[word + TILE] = words[word]
    words[entry], words[entry + 1] = key, time
    words[cell + CELL_N] = n + 1
    if n + 1 > banks[bank * BANK_COLUMNS + SAMPLE]:
        settle_sample(banks, words, cell, bank, newest)
        while words[cell + CELL_N] > banks[bank * BANK_COLUMNS + SAMPLE]:
            words[cell + CELL_THIN] += 1
            settle_sample(banks, words, cell, bank, newest)
    return words[cell + CELL_N] - n
