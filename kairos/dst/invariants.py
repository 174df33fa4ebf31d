"""What must hold after every step, and what must hold once all is well again and has come to rest.

A register: a rule is told what the `Witness` sees and says what is wrong. Later rules (caps, budgets, merges)
are added by naming them in `EVERY_STEP` or `AT_REST`.
"""

from collections.abc import Callable, Iterator
from typing import Final

from kairos.dst.broken import Broken, named
from kairos.dst.rules_of_decisions import (
    AnswersKept,
    OnePush,
    decided_is_sent,
    decisions_kept,
    triggers_decided,
)
from kairos.dst.rules_of_learning import outcomes_kept, outcomes_once, taught_once
from kairos.dst.rules_of_rows import RowsTrue, rows_told
from kairos.dst.rules_of_states import (
    PositionsTrue,
    StatesTrue,
    counted_once,
    everybody_told,
    told_by_the_log,
)
from kairos.dst.rules_of_the_log import JournalTrue, OnceOnTheLog, refused_once, taken_in
from kairos.dst.witness import Witness

Rule = Callable[[Witness], Iterator[str]]


class Invariants:
    """The rules over one run; those of every step look at what the step has changed."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._written = (-1, -1, -1)
        self._every_step = [make(witness) for make in EVERY_STEP]

    def after_step(self) -> None:
        """Look once more, if anything was written or answered. Errors: `Broken`."""
        world = self._witness.world
        written = world.topics.version, world.redis.keys.version, len(self._witness.outside.answers)
        if written == self._written:
            return
        self._written = written
        self._witness.look()
        for rule in self._every_step:
            rule()
        world.redis.keys.touched.clear()

    def at_rest(self) -> None:
        """Look at everything. Errors: `Broken`."""
        for rule in AT_REST:
            for what in rule(self._witness):
                raise Broken(named(rule), what)


EVERY_STEP: Final[tuple[Callable[[Witness], Callable[[], None]], ...]] = (
    OnceOnTheLog,
    OnePush,
    JournalTrue,
    PositionsTrue,
    StatesTrue,
    RowsTrue,
    AnswersKept,
)
AT_REST: Final[tuple[Rule, ...]] = (
    taken_in,
    refused_once,
    counted_once,
    told_by_the_log,
    decisions_kept,
    triggers_decided,
    outcomes_kept,
    taught_once,
    outcomes_once,
    decided_is_sent,
    everybody_told,
    rows_told,
)
