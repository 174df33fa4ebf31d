"""Tables for training on the past: the moments to ask Feast for, and examples that stand on its answer."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.attribution import Example
from features.attribute_past import AttributePast
from features.everybody_past import EverybodyPast
from features.fold import decode
from features.full_row import full_features, full_row
from features.plan import Plan
from models.record import DecisionRecord

KEY = ["customer_id", "at"]
ASKED = [*KEY, "everybody"]
"""What Feast is asked for: a moment, and which counts over everybody its decision saw."""


class OtherPlan(ValueError):
    """A decision was made under other features than those of the plan."""


class NotAsked(ValueError):
    """An example rests on a moment that the table of features does not hold."""


def moments(served: Iterable[DecisionRecord], plan: Plan) -> pd.DataFrame:
    """The spine: one row a moment (`customer_id`, `at` in ms), by instant, beside the features served then.

    Column `everybody` says where the counts over everybody that it saw are in the log (None: it saw none).
    Of several decisions at one moment the last speaks for all. Errors: `OtherPlan`.
    """
    features = [feature.name for feature in full_features(plan)]
    rows: dict[tuple[int, str], NDArray[np.float32]] = {}
    cuts: dict[tuple[int, str], list[int] | None] = {}
    for record in served:
        if record.plan != plan.digest:
            raise OtherPlan(
                f"decision {record.decision_id}: expected features of plan {plan.digest}, found plan "
                f"{record.plan}; the playbook has changed since, so leave this decision out"
            )
        rows[record.at, record.customer] = record.features()
        cuts[record.at, record.customer] = record.everybody
    chosen = sorted(rows)
    table = np.array([rows[key] for key in chosen], dtype=np.float32).reshape(len(chosen), len(features))
    keys = {
        "customer_id": [customer for _, customer in chosen],
        "at": np.array([at for at, _ in chosen], dtype=np.int64),
        "everybody": np.fromiter((cuts[key] for key in chosen), dtype=object, count=len(chosen)),
    }
    return pd.concat([pd.DataFrame(keys), pd.DataFrame(table, columns=features)], axis=1)


def values(table: pd.DataFrame, features: Sequence[str]) -> NDArray[np.float32]:
    """The features of a table as (n, F) float32, in the order asked for."""
    return table[list(features)].to_numpy(dtype=np.float32)


def stand_on(examples: Sequence[Example], table: pd.DataFrame, features: Sequence[str]) -> list[Example]:
    """The examples with their customer's `features` taken from `table`, whatever was recorded.

    What else they hold (clock, cross features, the offer's own numbers) stays as the decision recorded it.
    Errors: `NotAsked`.
    """
    rows = values(table, features)
    places = {(customer, at): n for n, (customer, at) in enumerate(table[KEY].itertuples(index=False))}
    into: dict[tuple[str, ...], NDArray[np.intp]] = {}
    standing = []
    for example in examples:
        place = places.get((example.customer, example.at))
        if place is None:
            raise NotAsked(
                f"example of {example.customer} at {example.at}: expected its moment in the table of "
                f"{len(table)}, found none; ask Feast for it too"
            )
        if example.names not in into:
            into[example.names] = np.array([example.names.index(name) for name in features], dtype=np.intp)
        x = example.x.copy()
        x[into[example.names]] = rows[place]
        standing.append(example._replace(x=x))
    return standing


def rows_of(
    plan: Plan,
    states: Iterable[tuple[str, int, bytes]],
    instants: Sequence[tuple[str, int]],
    past: AttributePast | None = None,
    everybody: EverybodyPast | None = None,
) -> NDArray[np.float32]:
    """The rows of folded states at chosen instants, (n, F), without Feast: for quick looks at the past.

    Attributes come from `past`; without it no batch table was ever loaded. What is counted over everybody
    comes from `everybody`, as of each instant; without it that is missing.
    """
    past = past or AttributePast.none(plan)
    blobs = {(customer, at): blob for customer, at, blob in states}
    rows = [
        full_row(
            plan,
            decode(plan, blobs[customer, at]),
            past.held(customer, at),
            at,
            at,
            None if everybody is None else everybody.before(at),
        )
        for customer, at in instants
    ]
    return np.array(rows, dtype=np.float32).reshape(len(rows), len(full_features(plan)))
