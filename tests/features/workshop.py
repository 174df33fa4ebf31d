"""A small business to test with, and events of it."""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

from hypothesis import strategies as st

from events.envelope import Event, Field
from features.declare import load
from features.fold import empty, fold_batch
from features.kernel.layout import LIMIT_MOST
from features.plan import Plan, compile_plan
from features.state import State

T = TypeVar("T")

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

RICH_EVENTS = EVENTS.replace(
    "fields = { amount",
    'fields = { label = "category?", offer = "category?", score = "integer?", due = "time?", amount',
)
"""The same with more fields that may be missing."""

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

RICH = f"""{AGGREGATES}
[[aggregate]]
name = "lately"
event = "sale"
value = "amount"
functions = ["count", "sum", "mean", "min", "max"]
windows = ["5m", "7m", "1h", "1d", "10d", "11d", "30d", "90d"]
trends = [["1d", "30d"], ["10d", "11d"]]
unit = "USD"
meaning = "paid over eight windows, some of them close"
default = {{ trend = 1 }}
freshness = "1h"

[[aggregate]]
name = "fading"
event = "sale"
value = "pieces"
functions = ["count", "sum", "mean"]
half_lives = ["10m", "1d", "90d"]
unit = "pieces"
meaning = "pieces, half of them forgotten after a while"

[[aggregate]]
name = "first_due"
event = "sale"
value = "due"
functions = ["min", "max", "last", "since_first"]
ever = true
unit = "ms"
meaning = "when it was due, if it was said"

[[aggregate]]
name = "scored"
event = "sale"
where = "score > 3"
functions = ["mean"]
value = "score"
windows = ["7d", "28d"]
trends = [["7d", "28d"]]
unit = "points"
meaning = "scores above three; sums are hidden"

[[aggregate]]
name = "unscored"
event = "sale"
where = "!(score > 3)"
functions = ["count"]
windows = ["7d", "28d"]
trends = [["7d", "28d"]]
unit = "sales"
meaning = "scores known to be no more than three"

[[aggregate]]
name = "gifts"
event = "sale"
where = "gift || amount > 20 && is_missing(label)"
functions = ["count"]
ever = true
unit = "sales"
meaning = "gifts, and dear ones without a label"

[[aggregate]]
name = "notes"
event = "sale"
value = "note"
functions = ["distinct"]
windows = ["1d", "30d"]
ever = true
keys = 32
unit = "notes"
meaning = "different notes"

[[aggregate]]
name = "sizes"
event = "sale"
value = "pieces"
functions = ["distinct"]
windows = ["1h", "7d"]
keys = 32
unit = "sizes"
meaning = "different numbers of pieces"

[[aggregate]]
name = "by_label"
event = "sale"
value = "amount"
where = "pieces > 0"
by = "label"
match = "label"
functions = ["share", "mean", "last", "since_first"]
windows = ["7d", "90d"]
half_lives = ["14d"]
ever = true
unit = "USD"
meaning = "paid for the label"
default = {{ share = 0.25 }}

[[aggregate]]
name = "why_called"
event = "call"
by = "reason"
match = "reason"
functions = ["share"]
windows = ["7d"]
unit = "calls"
meaning = "calls about this among all calls"

[[aggregate]]
name = "bought"
event = "sale"
value = "amount"
of = ["customer", "offer"]
by = "offer"
functions = ["count", "sum", "min", "max", "last", "since_last"]
windows = ["7d", "90d"]
half_lives = ["14d"]
ever = true
unit = "USD"
meaning = "this customer with this offer"

[[aggregate]]
name = "basket"
event = "sale"
value = "amount"
where = "pieces > 0"
functions = ["p1", "p50", "p95"]
windows = ["5m", "1h", "7d", "90d"]
ever = true
unit = "USD"
meaning = "what is paid at once"
default = {{ p50 = -1 }}

[[aggregate]]
name = "scores"
event = "sale"
value = "score"
functions = ["p99", "p25"]
ever = true
unit = "points"
meaning = "scores, any of them missing"

[[ratio]]
name = "calls_a_sale"
numerator = "calls_count_28d"
denominator = "paid_count_28d"
unit = "calls"
meaning = "calls for each sale"
default = -1

[[ratio]]
name = "offer_of_all"
numerator = "bought_sum_90d"
denominator = "lately_sum_90d"
unit = "share"
meaning = "the offer's part of everything"

[[ratio]]
name = "offer_lately"
numerator = "bought_count_7d"
denominator = "bought_count_90d"
unit = "share"
meaning = "the last week's part of the quarter"
default = 0
"""
"""Every kind of declaration that is told of a customer alone."""


def playbook(
    aggregates: str = AGGREGATES,
    triggers: str = "",
    *,
    lateness: str = "400d",
    events: str = EVENTS,
    wakes: int = 16,
) -> Path:
    """Write a playbook and say where."""
    folder = Path(mkdtemp())
    top = f'name = "small"\nlateness = "{lateness}"\n' + (f"wakes = {wakes}\n" if wakes != 16 else "")
    (folder / "playbook.toml").write_text(top + aggregates)
    (folder / "events.toml").write_text(events)
    (folder / "triggers.toml").write_text(triggers)
    return folder


@cache
def plan(
    aggregates: str = AGGREGATES,
    triggers: str = "",
    lateness: str = "400d",
    events: str = EVENTS,
    wakes: int = 16,
) -> Plan:
    """The plan of such a playbook."""
    folder = playbook(aggregates, triggers, lateness=lateness, events=events, wakes=wakes)
    return compile_plan(load(folder))


def rich(triggers: str = "") -> Plan:
    """The plan with every kind of declaration."""
    return plan(RICH, triggers, events=RICH_EVENTS)


def restless(p: Plan, most: int) -> Plan:
    """The same plan, settling its states after so many events."""
    limits = p.limits.copy()
    limits[LIMIT_MOST] = most
    return p._replace(limits=limits)


def sale(ident: object, time: int, customer: str = "{001}someone", **fields: Field) -> Event:
    """A sale; amounts in ten-thousandths."""
    given: dict[str, Field] = {"amount": 10_000, "pieces": 1, "kind": "a"}
    return Event("sale", str(ident), time, customer, given | fields)


def bare(ident: object, time: int, **fields: Field) -> Event:
    """A sale of `rich`, whose fields that may be missing are so unless they are given."""
    missing: dict[str, Field] = dict.fromkeys(("label", "offer", "note", "score", "due", "gift"))
    return sale(ident, time, "{001}someone", **(missing | fields))


def call(ident: object, time: int, reason: str = "help", customer: str = "{001}someone") -> Event:
    """A call to the desk."""
    return Event("call", str(ident), time, customer, {"reason": reason})


def placed(log: Iterable[T]) -> list[tuple[int, int, T]]:
    """The log as partition 0 holds it."""
    return [(0, position, item) for position, item in enumerate(log)]


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


AMOUNTS = st.one_of(st.integers(-500_000, 500_000), st.just(0), st.integers(1 - 10**15, 10**15 - 1))
"""Decimals as they are kept, up to the largest that a contract takes."""

SPANS = st.sampled_from([20 * 60_000, 3 * HOUR, 15 * DAY, 120 * DAY])
"""How long a history is: short ones fill short windows."""


@st.composite
def rich_histories(draw: st.DrawFn, max_size: int = 20) -> Sequence[Event]:
    """Events of one customer of `rich`, in any order, any field missing that may be; ids all different."""
    span = draw(SPANS)
    times = st.one_of(
        st.integers(0, span), st.integers(0, span // 60_000).map(lambda minute: minute * 60_000)
    )
    rare = st.sampled_from([None, None, "a", "b", ""])
    log = []
    for number in range(draw(st.integers(0, max_size))):
        time = NOON + draw(times)
        if draw(st.integers(0, 4)) == 0:
            log.append(call(number, time, draw(st.sampled_from(["help", "price"]))))
            continue
        fields: dict[str, Field] = {
            "amount": draw(AMOUNTS),
            "pieces": draw(st.integers(-1, 9)),
            "kind": draw(st.sampled_from(["a", "b", "x", ""])),
            "label": draw(rare),
            "offer": draw(rare),
            "note": draw(rare),
            "score": draw(st.sampled_from([None, 0, 4, 9, 1 - 2**53, 2**53 - 1])),
            "due": draw(st.sampled_from([None, 0, NOON, 3_124_224_000_000])),
            "gift": draw(st.sampled_from([None, True, False])),
        }
        log.append(bare(number, time, **fields))
    return log
