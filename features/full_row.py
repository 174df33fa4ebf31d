"""The whole row of a customer: what behaviour says, and behind it what the batch tables say."""

from collections.abc import Sequence

import numpy as np

from features.attribute import FUNCTION, attribute_features
from features.attributes import Held, attribute_values
from features.feature import Feature
from features.plan import Plan
from features.row import Everybody, Floats, Value, explain, row
from features.state import State


def full_features(plan: Plan) -> tuple[Feature, ...]:
    """The features of the whole row, in its order: attributes stand behind the aggregates' features."""
    return (*_behaviour(plan), *attribute_features(plan.playbook))


def full_row(
    plan: Plan,
    state: State | None,
    attributes: Held,
    at: int,
    watermark: int | None,
    everybody: Everybody | None = None,
) -> Floats:
    """The customer's row at `at` (ms) with its attributes, float32, in the order of `full_features`.

    `watermark`, `everybody` and errors are those of `features.row.row`.
    """
    values = row(plan, state, at, watermark, everybody)
    if not plan.playbook.attributes:
        return values
    return np.concatenate([values[: len(_behaviour(plan))], attribute_values(plan, attributes, at)])


def behaviour_values(
    plan: Plan, state: State | None, at: int, watermark: int | None, everybody: Everybody | None = None
) -> Sequence[Value]:
    """The values of `features.row.explain` that come of events."""
    return explain(plan, state, at, watermark, everybody)[: len(_behaviour(plan))]


def _behaviour(plan: Plan) -> tuple[Feature, ...]:
    """The features that come of events, whether or not the plan names the attributes behind them."""
    features = plan.customer_features
    if not features or features[-1].function != FUNCTION:
        return features
    return features[: -sum(len(table.attributes) for table in plan.playbook.attributes)]
