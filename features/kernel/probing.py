"""What the conditions of triggers read, just after an event."""

import numpy as np
from numpy.typing import NDArray

from features.kernel.applying import load_entry
from features.kernel.compiled import Bytes, compiled
from features.kernel.directory import AWAY, ENTRY, GONE, SLOT, find
from features.kernel.layout import (
    BANK_COLUMNS,
    FEATURE_AT,
    FEATURE_COLUMNS,
    FEATURES_END,
    OUT,
    PROBED_AT,
    PROBED_END,
    TYPE_COLUMNS,
)
from features.kernel.reading import derive, read_cell
from features.kernel.scratch import DEGREE, FULL, NEWEST, Read, Scratch, Tables


@compiled
def probe_event(
    tables: Tables,
    read: Read,
    scratch: Scratch,
    buf: Bytes,
    kind: int,
    coming: int,
    probes: NDArray[np.float64],
    answer: int,
) -> None:
    """Write the probed columns as they are after an event of this type into row `answer` of `probes`.

    Cells are loaded for so many events to come; `now[FULL]` is set when there was no room.
    """
    banks, features, now = tables.banks, read.features, scratch.now
    for n in range(
        tables.types[kind * TYPE_COLUMNS + PROBED_AT], tables.types[kind * TYPE_COLUMNS + PROBED_END]
    ):
        bank = read.probed[n]
        for feature in range(
            banks[bank * BANK_COLUMNS + FEATURE_AT], banks[bank * BANK_COLUMNS + FEATURES_END]
        ):
            column = features[feature * FEATURE_COLUMNS + OUT]
            read.row[column] = read.defaults[column]
        found = find(scratch.cells, scratch.lists, bank, 0)
        if found < 0 or scratch.cells[found * ENTRY + SLOT] == GONE:
            continue
        if scratch.cells[found * ENTRY + SLOT] == AWAY:
            load_entry(tables, scratch, buf, found, coming)
            if now[FULL]:
                return
        read_cell(
            banks, tables.spans, features, read.scales, scratch.words, scratch.cells[found * ENTRY + SLOT],
            now[DEGREE], now[NEWEST] + 1, read.sums, read.row, 0,
        )  # fmt: skip
    derive(read.derived, read.factors, read.n_derived, read.defaults, read.row, 0, read.row)
    for column in range(read.columns):
        probes[answer, column] = read.row[read.probed[read.columns_at + column]]
