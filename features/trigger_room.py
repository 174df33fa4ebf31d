"""Scratch in which compiled code judges triggers: kept from call to call, one for each thread and plan."""

import threading

import numpy as np
from numpy.typing import NDArray

from features.kernel import trigger_layout as at
from features.kernel.trigger_layout import RememberTables, ToldTables
from features.plan_triggers import TriggerPlan


class TriggerRoom(threading.local):
    """What is remembered of the customer at hand, and room for what comes out."""

    def __init__(self) -> None:
        self._digest = ""
        self._memories: RememberTables | None = None
        self._outcome = ToldTables(np.zeros((0, at.HIT_COLUMNS), dtype=np.int64), np.zeros((0, 0)))

    def memories(self, digest: str, plan: TriggerPlan, banks: int, crossed: int) -> RememberTables:
        """Scratch for the plan of this digest, with so many banks and columns of a cross row."""
        if self._memories is None or self._digest != digest:
            self._digest, self._memories = digest, _memories(plan, banks, crossed)
        return self._memories

    def outcome(self, plan: TriggerPlan, events: int) -> ToldTables:
        """Room for what so many events usually come to."""
        hits, width = max(64, events), max(1, plan.most_told)
        if len(self._outcome.hits) < hits or self._outcome.told.shape[1] != width:
            self._outcome = ToldTables(
                np.zeros((hits, at.HIT_COLUMNS), dtype=np.int64), np.zeros((hits, width), dtype=np.float64)
            )
        return self._outcome

    def grow(self) -> None:
        """Have twice as much room for what comes out."""
        hits, told = self._outcome
        self._outcome = ToldTables(
            np.zeros((2 * len(hits), hits.shape[1]), dtype=np.int64),
            np.zeros((2 * len(told), told.shape[1]), dtype=np.float64),
        )


TRIGGER_ROOM = TriggerRoom()


def _memories(plan: TriggerPlan, banks: int, crossed: int) -> RememberTables:
    tables = plan.tables
    entries = 2 * len(plan.triggers) + 1
    clauses = len(tables.clauses) // at.CLAUSE_COLUMNS + 1
    screens = len(tables.screens) // at.SCREEN_COLUMNS + 1
    waits = (int(tables.sizes[at.N_WAKES]) + 1) * at.WAIT_COLUMNS

    def words(count: int) -> NDArray[np.int64]:
        return np.zeros(count, dtype=np.int64)

    def floats(count: int) -> NDArray[np.float64]:
        return np.zeros(count, dtype=np.float64)

    return RememberTables(
        words(entries * at.REMEMBERED),
        words(entries),
        words(entries),
        words(waits),
        floats(plan.registers),
        floats(plan.sources + 1),
        words(plan.sources + 1),
        floats(clauses),
        words(clauses),
        words(banks + 1),
        words(banks + 1),
        floats(crossed + 1),
        words(len(plan.triggers) + 1),
        words(banks + 1),
        words(banks + 1),
        words(banks + 1),
        words(banks + 1),
        words(screens),
        words(screens),
        words(at.COUNTED),
        words(3),
    )
