"""What the compiled code is told of a plan, as tables of whole numbers; and how a cell lies in scratch
memory.

`banks` has a row for each aggregate, `spans` the lengths that its row points to: for each window (window
ms, width as a power of two), for each half-life its ms. `features` has a row for each number that is read.
All are laid out flat, row by row.
"""

# Columns of `banks`.
COUNTS, SUMS, EXTREMES = 0, 1, 2
"""Whether tiles keep a count, a sum, least and greatest."""
LEVELS, LEVEL_AT = 3, 4
EVER, FIRST, LAST, LATEST = 5, 6, 7, 8
HALVES, HALF_AT = 9, 10
KEYS = 11
"""Bound on the keys of a family; 0: no family."""
SAMPLE, HORIZON = 12, 13
"""Bound on the sample of different values (0: none), and its longest window in ms (0: ever)."""
FEATURE_AT, FEATURES_END = 14, 15
WEIGHT_CELL, WEIGHT_TILE, WEIGHT_HALF = 16, 17, 18
"""Bytes at most of a cell without tiles, of a tile, of an interval of a half-life."""
MATCH = 19
"""Number of the attribute of offers that picks the key; -1 for none, or `HISTOGRAM`."""
BANK_COLUMNS = 20

HISTOGRAM = -2
"""The keys are those of `features.kernel.buckets`, and no offer picks one."""

# Columns of `features`: what is computed, over what, which of them, and the column of the row it goes to.
FUNCTION, SPAN, NUMBER, OUT = 0, 1, 2, 3
COUNT, SUM, MEAN, MIN, MAX, LAST_VALUE, SINCE_LAST, SINCE_FIRST, DISTINCT = range(9)
PERCENTILE = 100
"""From 101 on, the percentiles from the first to the ninety-ninth."""
WINDOW, HALF_LIFE, ALL_TIME, MOMENT = range(4)

FEATURE_COLUMNS = 4

# Columns of `steps`: the bank, and the columns of an event's words with condition, value and key (-1: none).
BANK, CONDITION, VALUE, KEY = 0, 1, 2, 3

STEP_COLUMNS = 4

# Columns of `types`: the range of its steps, and how many of its words are conditions, numbers, and how many
# there are in all (the others are hashes).
STEPS_AT, STEPS_END, CONDITIONS, NUMBERS, WIDTH = range(5)
TYPE_COLUMNS = 5

# Columns of `events`; `PROBE` is the row of what triggers are given of it, -1 when none is concerned.
KIND, TIME, MARK, PARTITION, POSITION, WORDS_AT, PROBE = range(7)
EVENT_COLUMNS = 7

# Places of `limits`: lateness (ms), bound (bytes), digest of the plan, whether ids are remembered, after how
# many events a state is settled, and the most words of an event.
LIMIT_LATENESS, LIMIT_BOUND, LIMIT_DIGEST, LIMIT_REMEMBERS, LIMIT_MOST, LIMIT_WIDEST = range(6)

# A recent event as a row of scratch: these, then its words.
ROW_KIND, ROW_TIME, ROW_MARK, ROW_PROBE, ROW_WORDS = range(5)

MOST_RECENT = 32
"""Events that a state keeps as they came; with so many they are added to its cells, all at once."""

# Columns of `derived`: numerator, denominator, and the column of the row.
NUMERATOR, DENOMINATOR, DERIVED_OUT = 0, 1, 2
DERIVED_COLUMNS = 3

# A cell in scratch: a head, then `CELL_CAP` tiles of 5 words, then for each half-life a count and intervals
# of 4.
CELL_BANK, CELL_KEY, CELL_N, CELL_CAP, CELL_EVER = 0, 1, 2, 3, 4
CELL_COUNT, CELL_SUM, CELL_MIN, CELL_MAX = 5, 6, 7, 8
CELL_FIRST, CELL_LAST, CELL_LATEST, CELL_THIN, CELL_WEIGHT = 9, 10, 11, 14, 15
HEAD = 16
TILE = 5
INTERVAL = 4
INTERVALS = 44
"""Room for intervals of a half-life: 41 may live."""

HALF_LIVES_KEPT = 40
WEIGHT_BITS = 24
MISSING = -(1 << 63)
"""A value that an event does not have."""
COARSEST = 6
"""Powers of two by which tiles may widen: past that a window is fewer than three tiles."""
MOST_LEVELS = 8
DUE_BITS = 16
"""A cell says in units of 2^16 ms when it next changes by time alone."""
