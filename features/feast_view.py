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

from features.attribute_fields import columns_of, versions_of
from features.attributes import Held
from features.declare import load
from features.fold import UnknownPlan, decode
from features.full_row import full_features, full_row
from features.plan import Plan, compile_plan

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


def loaded_name(table: str) -> str:
    """The name under which a moment says from when on a batch table counts as loaded (ms, or `NEVER`)."""
    return f"{table}_loaded"


def columns(folder: str, digest: str, inputs: Mapping[str, Sequence[Any]]) -> dict[str, list[np.float32]]:
    """Rows as columns of float32: `inputs` holds lists `recent` and `settled` (the parts of each state),
    `as_of` and `watermark` (ms, or `NEVER`).

    Of each table of attributes it holds the columns of its view and its `loaded_name`. A customer without a
    state is unseen; of one whose state the stream has not taken over yet after a change of the playbook,
    every value of behaviour is missing. Errors: `BlobDamaged`, and those of `full_row`.
    """
    plan = plan_of(folder, digest)
    rows = []
    for place, (recent, settled) in enumerate(zip(inputs["recent"], inputs["settled"], strict=True)):
        as_of, watermark = int(inputs["as_of"][place]), int(inputs["watermark"][place])
        try:
            state = None if not recent or recent == _SAMPLE else decode(plan, recent + (settled or b""))
        except UnknownPlan:
            state, watermark = None, NEVER
        held = _held(plan, inputs, place)
        rows.append(full_row(plan, state, held, as_of, None if watermark == NEVER else watermark))
    features = full_features(plan)
    table = np.array(rows, dtype=np.float32).reshape(len(rows), len(features))
    return {feature.name: list(table[:, n]) for n, feature in enumerate(features)}


def _held(plan: Plan, inputs: Mapping[str, Sequence[Any]], place: int) -> Held:
    tables = plan.playbook.attributes
    loaded = [int(inputs[loaded_name(table.name)][place]) for table in tables]
    return Held(
        tuple(None if each == NEVER else each for each in loaded),
        tuple(versions_of(table, [inputs[name][place] for name, _ in columns_of(table)]) for table in tables),
    )
