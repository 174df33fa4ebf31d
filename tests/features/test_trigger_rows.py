"""Events that no trigger has to look at are passed over, and nothing comes of that."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from events.codec import encode as encode_event
from events.envelope import Event
from features.batch import batch_of
from features.fold import FoldedParts, State, empty, fold_parts
from features.kernel.folding import FOLDED
from features.log import LogReader, Piece
from features.plan import Plan
from features.trigger_rows import TriggerRows
from features.triggers import advance
from tests.features.test_triggers import TRIGGERS
from tests.features.workshop import DAY, HOUR, NOON, call, plan, sale

MORE = """
[[trigger]]
name = "helped"
meaning = "called for help"
on = "call"
when = "event.reason == 'help'"

[[trigger]]
name = "often"
meaning = "called often"
on = "call"
when = "calls_count_28d > 2 && event.reason != 'none'"
"""
SOME = TRIGGERS[: TRIGGERS.index('\n[[trigger]]\nname = "unanswered"')] + MORE
"""Without those that every sale ends, which have to see every one."""

PEOPLE = [f"{{00{n}}}someone" for n in range(4)]
steps = st.sampled_from([0, HOUR, 8 * DAY, 30 * DAY])
sales = st.tuples(st.just("sale"), st.sampled_from([10_000, 70_000, 900_000]), steps, st.sampled_from(PEOPLE))
calls = st.tuples(st.just("call"), st.sampled_from(["help", "none", "bill"]), steps, st.sampled_from(PEOPLE))


def played(p: Plan, events: Sequence[Event], size: int, every: bool) -> tuple[list[Any], list[bytes]]:
    """What fires, and the states after it, with all events looked at or only those that are found."""
    states = {who: empty(p) for who in PEOPLE}
    fired: list[Any] = []
    rows = TriggerRows(p)
    for at in range(0, len(events), size):
        part = events[at : at + size]
        piece = Piece(LogReader(p).read([encode_event(each) for each in part]), np.arange(len(part)))
        mine = [states[who] for who in piece.customers]
        positions = np.arange(at, at + len(part))
        batch = batch_of(p, piece, piece.owners, len(mine), np.zeros(len(part), dtype=np.int64), positions)
        newest = [state.newest for state in mine]
        for state in mine:
            state.seal()
        folded = fold_parts(p, [s.recent for s in mine], [s.settled for s in mine], batch, len(part))
        _become(mine, folded)
        wanted = rows.find(piece, folded) if not every else folded.fates == FOLDED
        for place in range(len(part)):
            whose = int(piece.owners[place])
            if folded.fates[place] != FOLDED:
                continue
            newest[whose] = max(newest[whose], part[place].time)
            if wanted[place]:
                row = folded.probe_rows[place]
                values = folded.probes[row].tolist() if row >= 0 else ()
                fired += advance(p, mine[whose], piece[place], newest[whose], values)
    return fired, [states[who].seal() for who in PEOPLE]


def _become(states: Sequence[State], folded: FoldedParts) -> None:
    for state, recent, settled in zip(states, folded.recents, folded.settled, strict=True):
        state.become(recent, state.settled if settled is None else settled)


@settings(max_examples=40)
@given(st.lists(sales | calls, min_size=20, max_size=90), st.sampled_from([1, 40, 90]), st.booleans())
def test_events_that_are_passed_over_would_change_nothing(
    told: list[tuple[str, Any, int, str]], size: int, ended: bool
) -> None:
    p, events, now = plan(triggers=TRIGGERS + MORE if ended else SOME, lateness="1d"), [], NOON
    for number, (kind, what, step, who) in enumerate(told):
        now += step
        if kind == "sale":
            events.append(sale(number, now, amount=what, customer=who))
        else:
            events.append(call(number, now, what, who))
    assert played(p, events, size, False) == played(p, events, size, True)
    assert played(p, events, size, False) == played(p, events, 7, False)
