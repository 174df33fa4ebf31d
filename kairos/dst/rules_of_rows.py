"""What must hold of rows: each is what the log says of the time before its instant."""

from collections.abc import Iterator
from itertools import islice
from math import isnan
from typing import Final, cast

import numpy as np

from features.attributes import nothing_held
from features.everybody_store import FIELDS as KEPT_FIELDS
from features.everybody_store import everybody_key, kept_of
from features.feast_store import RedisStateStore
from features.feature import SHARED
from features.fold import decode
from features.full_row import full_features, full_row
from features.state import State
from kairos.dst.broken import Broken, named
from kairos.dst.processes import PARTITIONS
from kairos.dst.stall import stall
from kairos.dst.witness import Witness
from kairos.verify import parity
from models.record import DecisionRecord

ROWS: Final = 8
"""So many served rows of a run are computed again, which is dear."""


class RowsTrue:
    """A row is what the log says of the customer's past: nothing of it happens at or after its instant."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._checked = 0
        features = full_features(stall().plan)
        self._own = np.array([feature.of not in SHARED for feature in features])
        self._names = np.array([feature.name for feature in features])[self._own]
        self._first = int(np.flatnonzero(self._own)[0])

    def __call__(self) -> None:
        """Look at what has changed. Errors: `Broken`."""
        decisions = self._witness.decisions
        for record in islice(decisions.values(), self._checked, None):
            # Before anything was folded all of a row is missing, and says nothing that could be wrong.
            if not isnan(record.features()[self._first]):
                self._look(record)
        self._checked = len(decisions)

    def _look(self, record: DecisionRecord) -> None:
        who, retold, plan = record.customer, self._witness.retold, stall().plan
        story = next((each.stories[who] for each in retold if who in each.stories), None)
        known = [] if story is None or record.folded is None else list(story.known(record.folded))
        served = record.features()[self._own]
        pasts: list[State | None] = [decode(plan, state) for state in known]
        for past in pasts or [None]:
            if past is not None and past.newest >= record.at:
                what = f"{record.decision_id} is of {record.at}, its row knows of {past.newest}"
                raise Broken(named(self), what)
            expected = full_row(plan, past, nothing_held(()), record.at, record.at)[self._own]
            same = (served == expected) | (np.isnan(served) & np.isnan(expected))
            if same.all():
                return
        wrong = ", ".join(self._names[~same])
        what = f"{record.decision_id}: {wrong}: expected {expected[~same]}, found {served[~same]}"
        raise Broken(named(self), what)


def rows_told(witness: Witness) -> Iterator[str]:
    """A row drawn at random is what `kairos.verify.parity` says, with what everybody did."""
    paid = [feature.name for feature in full_features(stall().plan)].index("spend_count_5m")
    # Before anything was folded all of a row is missing, and says nothing that could be wrong.
    records = [each for each in witness.decisions.values() if not isnan(each.features()[paid])]
    kept = [
        kept_of([witness.hash(everybody_key(partition)).get(field.encode()) for field in KEPT_FIELDS])
        for partition in range(PARTITIONS)
    ]
    records = witness.world.random.sample(records, min(len(records), ROWS))
    store = cast(RedisStateStore, witness)  # of which no state is asked here
    found = parity(witness.bus, store, stall().plan, stall().catalogue, records, states=0, kept=kept)
    if found.skipped or found.rows != len(records):
        yield f"of {len(records)} rows {found.skipped} were of another plan, {found.rows} were computed again"
    if found.mismatches:
        yield f"{found.mismatches} of {found.rows} rows differ in {', '.join(sorted(found.features))}"
