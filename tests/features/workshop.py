"""A small business to test with, and events of it."""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from hypothesis import strategies as st

from events.envelope import Event, Field
from features.declare import load
from features.fold import empty, fold_batch
from features.plan import Plan, compile_plan
from features.state import State

HOUR = 3_600_000
DAY = 24 * HOUR
NOON = 1_500_000_000_000
"""An instant to count from; no multiple of any tile."""

EVENTS = """
[sale]
topic = "shop"
id = "no"
time = "at"
customer = { card = "card" }
fields = { amount = "decimal", pieces = "integer", kind = "category", note = "text?", gift = "boolean?" }

[call]
topic = "desk"
id = "no"
time = "at"
customer = { card = "card" }
fields = { reason = "category" }
"""

AGGREGATES = """
[[aggregate]]
name = "paid"
event = "sale"
value = "amount"
functions = ["count", "sum", "mean", "min", "max", "last", "since_last", "since_first"]
windows = ["1h", "7d", "28d", "84d"]
half_lives = ["1d", "14d"]
ever = true
unit = "USD"
meaning = "what was paid"
default = { mean = 0, since_last = 400 }

[[aggregate]]
name = "bulk"
event = "sale"
value = "pieces"
where = "pieces > 2 && kind != 'x'"
functions = ["sum"]
windows = ["7d", "28d"]
half_lives = ["14d"]
unit = "pieces"
meaning = "pieces bought in bulk"

[[aggregate]]
name = "calls"
event = "call"
functions = ["count", "since_last"]
windows = ["28d"]
half_lives = ["14d"]
ever = true
unit = "calls"
meaning = "calls to the desk"

[[aggregate]]
name = "paid_by_kind"
event = "sale"
value = "amount"
by = "kind"
match = "kind"
functions = ["count", "sum", "max", "since_last"]
windows = ["7d", "28d"]
ever = true
unit = "USD"
meaning = "what was paid for things of this kind"

[[aggregate]]
name = "calls_by_reason"
event = "call"
by = "reason"
match = "reason"
functions = ["count"]
windows = ["7d"]
unit = "calls"
meaning = "calls about this"
"""


def playbook(
    aggregates: str = AGGREGATES, triggers: str = "", *, lateness: str = "400d", events: str = EVENTS
) -> Path:
    """Write a playbook and say where."""
    folder = Path(mkdtemp())
    (folder / "playbook.toml").write_text(f'name = "small"\nlateness = "{lateness}"\n{aggregates}')
    (folder / "events.toml").write_text(events)
    (folder / "triggers.toml").write_text(triggers)
    return folder


@cache
def plan(aggregates: str = AGGREGATES, triggers: str = "", lateness: str = "400d") -> Plan:
    """The plan of such a playbook."""
    return compile_plan(load(playbook(aggregates, triggers, lateness=lateness)))


def sale(ident: object, time: int, customer: str = "{001}someone", **fields: Field) -> Event:
    """A sale; amounts in ten-thousandths."""
    given: dict[str, Field] = {"amount": 10_000, "pieces": 1, "kind": "a"}
    return Event("sale", str(ident), time, customer, given | fields)


def call(ident: object, time: int, reason: str = "help", customer: str = "{001}someone") -> Event:
    """A call to the desk."""
    return Event("call", str(ident), time, customer, {"reason": reason})


def folded(plan: Plan, log: Iterable[Event], state: State | None = None) -> State:
    """The state of a log."""
    events = list(log)
    state = empty(plan) if state is None else state
    start, count = state.applied.get(0, -1) + 1, len(events)
    positions = range(start, start + count)
    made = fold_batch(plan, [state.blob], events, [0] * count, [0] * count, positions)
    return State(made.blobs[0])


TIMES = st.one_of(
    st.integers(0, 200 * DAY),
    st.integers(0, 2 * HOUR),
    st.integers(0, 200 * 24).map(lambda hour: hour * HOUR),
).map(lambda ms: NOON + ms)


@st.composite
def histories(draw: st.DrawFn, max_size: int = 25) -> Sequence[Event]:
    """Events of one customer in any order, ids all different."""
    log = []
    for number in range(draw(st.integers(0, max_size))):
        time = draw(TIMES)
        if draw(st.integers(0, 3)):
            amount = draw(st.one_of(st.integers(-500_000, 500_000), st.just(0), st.integers(-(2**53), 2**53)))
            kind = draw(st.sampled_from(["a", "b", "x", ""]))
            log.append(sale(number, time, amount=amount, pieces=draw(st.integers(-1, 9)), kind=kind))
        else:
            log.append(call(number, time, draw(st.sampled_from(["help", "price"]))))
    return log
