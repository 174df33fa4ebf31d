"""Whether states that were read are whole and of our plan, many at once."""

from collections.abc import Sequence

import numpy as np

from features.fold import decode
from features.kernel.checking import first_bad
from features.plan import Plan


def check_states(plan: Plan, blobs: Sequence[bytes]) -> None:
    """Return when each is the whole state of a customer, folded under `plan`; else as `features.fold.decode`.

    Errors: `BlobDamaged`, `UnknownPlan`.
    """
    starts = np.zeros(len(blobs) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, blobs), dtype=np.int64, count=len(blobs)), out=starts[1:])
    whole = np.frombuffer(b"".join(blobs) or b"?", dtype=np.uint8)
    digest = int.from_bytes(bytes.fromhex(plan.digest), "little", signed=True)
    bad = int(first_bad(whole, starts, digest))
    if bad >= 0:
        decode(plan, blobs[bad])
        raise AssertionError(f"state {bad}: expected what it is found to be one by one, a whole state")
