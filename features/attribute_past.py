"""Attributes at any past instant, from the histories that loads keep, without Feast."""

from bisect import bisect_right
from pathlib import Path
from typing import NamedTuple

from features.attribute_history import History, history_path, read_history
from features.attributes import Held
from features.plan import Plan


class AttributePast(NamedTuple):
    """The history of every batch table, in the order in which the playbook declares them."""

    histories: tuple[History, ...]

    @classmethod
    def read(cls, plan: Plan, run_dir: Path) -> "AttributePast":
        """The histories kept below `run_dir`; that of a table never loaded is empty."""
        tables = plan.playbook.attributes
        return cls(tuple(read_history(history_path(run_dir, table.name), table) for table in tables))

    @classmethod
    def none(cls, plan: Plan) -> "AttributePast":
        """The past in which no table was ever loaded."""
        return cls(tuple(History({}, None) for _ in plan.playbook.attributes))

    def held(self, customer: str, at: int) -> Held:
        """What counted of the customer at `at` (ms)."""
        versions = []
        for history in self.histories:
            timeline = history.timelines.get(customer, ())
            place = bisect_right(timeline, at, key=lambda version: version.since)
            versions.append(timeline[max(place - 1, 0) : place])
        return Held(tuple(history.loaded for history in self.histories), tuple(versions))
