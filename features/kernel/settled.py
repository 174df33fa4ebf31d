"""The settled part of a state's bytes: its cells.

Bytes: check of what follows (8), newest (8), cells (4), their weight (4), coarsening degree (1), flags (1),
two unused; the cells in order of bank and key.
"""

from features.kernel.compiled import Bytes, compiled
from features.kernel.varint import checksum, put_half, put_word

CHECK, NEWEST, CELLS, WEIGHT, DEGREE, FLAGS = 0, 8, 16, 20, 24, 25
HEADER = 28

COARSENED, THINNED, FORGOT_MARKS = 1, 2, 4
"""Flags: tiles wider than declared; a family or sample keeps only some keys; some recent ids were let go."""


@compiled
def store_head(
    buf: Bytes, at: int, end: int, newest: int, cells: int, weight: int, degree: int, flags: int
) -> int:
    """Write the head of a settled part that ends at `end`; its check."""
    put_word(buf, at + NEWEST, newest)
    put_half(buf, at + CELLS, cells)
    put_half(buf, at + WEIGHT, weight)
    buf[at + DEGREE], buf[at + FLAGS], buf[at + FLAGS + 1], buf[at + FLAGS + 2] = degree, flags, 0, 0
    check = checksum(buf, at + NEWEST, end)
    put_word(buf, at + CHECK, check)
    return check
