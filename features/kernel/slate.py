"""What was read of the keys that offers pick becomes a row for each offer, compiled: one pass over them."""

import numpy as np

from features.kernel.compiled import Bytes, Floats, Words, compiled, pointer
from features.kernel.layout import DENOMINATOR, DERIVED_COLUMNS, DERIVED_OUT, NUMERATOR
from features.kernel.reading import derive


@compiled
def spread(
    rows: Floats, picks: Words, match_of: Words, matches: int, shared: Floats, shared_columns: Words,
    derived: Words, factors: Floats,
    defaults: Floats, beside: Floats, missing: Bytes, visible: int, out: Floats,
) -> None:  # fmt: skip
    """Write to `out`, one behind the other, the visible columns of each offer's row.

    Column c of an offer is that of row picks[offer, match_of[c]] of `rows`, or its default for a pick or a
    match below zero; `shared` has, offer after offer, the values of `shared_columns`. What a family has let
    go (infinite), what is derived of that, and what is `missing` become NaN.
    """
    width, count, numbers = defaults.size, out.size // visible if visible else 0, factors.size
    together = shared_columns.size
    rows, picks, match_of, derived = pointer(rows), pointer(picks), pointer(match_of), pointer(derived)
    missing, out, shared = pointer(missing), pointer(out), pointer(shared)
    shared_columns = pointer(shared_columns)
    line = np.empty(width)
    for offer in range(count):
        for column in range(width):
            pick = picks[offer * matches + match_of[column]] if match_of[column] >= 0 else -1
            line[column] = rows[pick * width + column] if pick >= 0 else defaults[column]
        for number in range(together):
            line[shared_columns[number]] = shared[offer * together + number]
        derive(derived, factors, numbers, defaults, line, 0, beside)
        for number in range(numbers):
            over = derived[number * DERIVED_COLUMNS + NUMERATOR]
            under = derived[number * DERIVED_COLUMNS + DENOMINATOR]
            if np.isinf(line[over]) or (under >= 0 and np.isinf(line[under])):
                line[derived[number * DERIVED_COLUMNS + DERIVED_OUT]] = np.inf
        for column in range(visible):
            gone = missing[column] != 0 or np.isinf(line[column])
            out[offer * visible + column] = np.nan if gone else line[column]
