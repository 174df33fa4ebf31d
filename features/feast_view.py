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
from features.everybody_bytes import unpack_everybody
from features.feature import Feature
from features.fold import UnknownPlan, decode
from features.full_row import full_features, full_row
from features.plan import Plan, compile_plan
from features.row import Everybody, cross

NEVER = -1
"""A watermark for "the log was never read": an int64 column has no better word."""

EVERYBODY = "everybody"
"""The name under which a moment brings what is counted over everybody (`features.everybody_bytes`)."""

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

    Of each table of attributes it holds the columns of its view and its `loaded_name`, and under `EVERYBODY`
    what is counted over everybody, where the plan counts anything so. A customer without a state is unseen;
    of one whose state the stream has not taken over yet after a change of the playbook, every value of
    behaviour is missing. Errors: `BlobDamaged`, and those of `full_row`.
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
        told = inputs[EVERYBODY][place] if plan.crowd is not None else b""
        everybody = _everybody(plan, told)
        mark = None if watermark == NEVER else watermark
        rows.append(full_row(plan, state, held, as_of, mark, everybody))
    features = full_features(plan)
    table = np.array(rows, dtype=np.float32).reshape(len(rows), len(features))
    return {feature.name: list(table[:, n]) for n, feature in enumerate(features)}


def offer_features(plan: Plan) -> tuple[Feature, ...]:
    """The cross features that are of an offer alone: counted over everybody, whoever the customer is."""
    tables = plan.cross_tables
    alone = (tables.reads_shared & ~tables.reads_own).tolist()
    return tuple(
        feature for feature, its in zip(plan.cross_features, alone[: tables.visible], strict=True) if its
    )


def offer_keys(plan: Plan) -> tuple[str, ...]:
    """The attributes of offers that pick the keys of `offer_features`."""
    return tuple(sorted({str(feature.match) for feature in offer_features(plan)}))


def offer_columns(
    folder: str, digest: str, inputs: Mapping[str, Sequence[Any]]
) -> dict[str, list[np.float32]]:
    """What everybody does about offers, as columns of float32.

    `inputs` holds lists of the `offer_keys`, of `as_of` (ms), and under `EVERYBODY` what is counted over
    everybody, with what offers take in. Errors: `BlobDamaged`, `UnknownPlan`.
    """
    plan = plan_of(folder, digest)
    matches, features = offer_keys(plan), offer_features(plan)
    chosen = [plan.cross_features.index(feature) for feature in features]
    read: dict[bytes, Everybody | None] = {}
    rows = []
    for place, packed in enumerate(inputs[EVERYBODY]):
        if packed not in read:
            read[packed] = _everybody(plan, packed)
        keys = {match: [str(inputs[match][place])] for match in matches}
        found = cross(plan, None, int(inputs["as_of"][place]), keys, None, read[packed])
        rows.append(found[0, chosen])
    table = np.array(rows, dtype=np.float32).reshape(len(rows), len(features))
    return {feature.name: list(table[:, n]) for n, feature in enumerate(features)}


def _everybody(plan: Plan, packed: bytes | None) -> Everybody | None:
    if plan.crowd is None or not packed or packed == _SAMPLE:
        return None
    return unpack_everybody(packed, plan.crowd.digest)


def _held(plan: Plan, inputs: Mapping[str, Sequence[Any]], place: int) -> Held:
    tables = plan.playbook.attributes
    loaded = [int(inputs[loaded_name(table.name)][place]) for table in tables]
    return Held(
        tuple(None if each == NEVER else each for each in loaded),
        tuple(versions_of(table, [inputs[name][place] for name, _ in columns_of(table)]) for table in tables),
    )
