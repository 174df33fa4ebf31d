"""What must hold of states and rows after every step: each is what the log says, told plainly."""

from itertools import islice
from math import isnan

import numpy as np

from features.attributes import nothing_held
from features.feast_store import feast_key
from features.feature import SHARED
from features.fold import decode
from features.full_row import full_features, full_row
from features.state import State
from kairos.dst.broken import Broken
from kairos.dst.processes import SETTINGS
from kairos.dst.retold import Story
from kairos.dst.rules_each_step import named
from kairos.dst.stall import stall
from kairos.dst.witness import Witness
from models.record import DecisionRecord


class StatesTrue:
    """A state is what the log up to some event or tick comes to, and never goes back to an earlier one."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._customers: dict[bytes, tuple[str, Story]] = {}
        self._known = 0
        self._reached: dict[str, int] = {}

    def __call__(self) -> None:
        """Look at what has changed. Errors: `Broken`."""
        touched = self._witness.world.redis.keys.touched
        if not touched:
            return
        if (known := sum(len(each.stories) for each in self._witness.retold)) != self._known:
            self._known = known
            for retold in self._witness.retold:
                for customer, story in retold.stories.items():
                    self._customers[feast_key(SETTINGS.project, customer)] = customer, story
        for key in touched & self._customers.keys():
            customer, story = self._customers[key]
            blob = self._witness.blob(customer)
            page = None if blob is None else story.numbers.get(blob)
            if page is None:
                raise Broken(named(self), f"{customer} holds a state that the log never comes to")
            if page < (before := self._reached.get(customer, 0)):
                raise Broken(named(self), f"{customer} was at state {before} of the log and is at {page}")
            self._reached[customer] = page


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
