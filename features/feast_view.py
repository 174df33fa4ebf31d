"""What Feast's on-demand view computes: states to rows, by the same code that serving runs; no Feast in here.

Feast keeps the view's function by value in its registry, so that function only imports this module and
calls `columns`: what it computes is always this checkout's code, under the playbook whose folder the
registry names.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from features.declare import load
from features.fold import decode
from features.plan import Plan, compile_plan
from features.row import row

NEVER = -1
"""A watermark for "the log was never read": an int64 column has no better word."""

_SAMPLE = b"hello world"
"""What Feast hands every function when objects are applied, to learn the types of its results."""


@lru_cache(maxsize=8)
def plan_of(folder: str, digest: str) -> Plan:
    """The plan of the playbook in this folder; ValueError when it is not the one that was applied."""
    plan = compile_plan(load(Path(folder)))
    if plan.digest != digest:
        raise ValueError(
            f"playbook {folder}: expected plan {digest}, as applied to Feast, found {plan.digest}; "
            "run `python -m kairos features apply`"
        )
    return plan


def columns(folder: str, digest: str, inputs: Mapping[str, Sequence[Any]]) -> dict[str, list[np.float32]]:
    """Rows as columns of float32: `inputs` holds lists `blob`, `as_of` and `watermark` (ms, or `NEVER`).

    A customer without a blob is unseen. Errors: those of `decode` and `row`.
    """
    plan = plan_of(folder, digest)
    rows = []
    for blob, as_of, watermark in zip(inputs["blob"], inputs["as_of"], inputs["watermark"], strict=True):
        state = None if not blob or blob == _SAMPLE else decode(plan, blob)
        rows.append(row(plan, state, int(as_of), None if watermark == NEVER else int(watermark)))
    table = np.array(rows, dtype=np.float32).reshape(len(rows), len(plan.customer_features))
    return {feature.name: list(table[:, n]) for n, feature in enumerate(plan.customer_features)}
