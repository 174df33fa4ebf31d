"""Whether many states are whole, and of one plan, in one compiled pass."""

from features.kernel.compiled import Bytes, Words, compiled
from features.kernel.looking import GOOD, check_state
from features.kernel.recent import DIGEST
from features.kernel.varint import get_word


@compiled
def first_bad(buf: Bytes, starts: Words, digest: int) -> int:
    """The first of the states buf[starts[n]:starts[n + 1]] that is damaged or of another plan; -1: none."""
    for number in range(starts.size - 1):
        state = buf[starts[number] : starts[number + 1]]  # type: ignore[index]
        if check_state(state) != GOOD or get_word(state, DIGEST) != digest:
            return number
    return -1
