"""A playbook with every kind of trigger, all of them short, and logs in which they happen.

Times lie on a grid of ten minutes, give or take a millisecond, and no window ends near the grid: what a
feature is never hangs on the tolerance of a window's edge; waits, cool-downs and dates end on it exactly.
"""

from collections.abc import Sequence
from functools import cache

from hypothesis import strategies as st

from events.envelope import Event, Field, Tick
from features.declare import load
from features.plan import Plan, compile_plan
from tests.features.workshop import DAY, NOON, playbook

STEP = 10 * 60_000
"""Of the grid; `NOON` is 2017-07-14T02:40Z."""

EVENTS = """
[sale]
topic = "shop"
id = "no"
time = "at"
customer = { card = "card" }
fields = { amount = "decimal", kind = "category?" }

[look]
topic = "app"
id = "no"
time = "at"
customer = { card = "card" }
fields = { kind = "category?" }

[call]
topic = "desk"
id = "no"
time = "at"
customer = { card = "card" }
fields = { kind = "category?", minutes = "integer?" }

[ping]
topic = "app"
id = "no"
time = "at"
customer = { card = "card" }
fields = { kind = "category?" }
"""

AGGREGATES = """
[[aggregate]]
name = "paid"
event = "sale"
value = "amount"
functions = ["count", "sum", "max", "since_last"]
windows = ["25m", "65m"]
ever = true
trends = [["25m", "65m"]]
unit = "USD"
meaning = "what was paid"

[[aggregate]]
name = "paid_by_kind"
event = "sale"
by = "kind"
match = "kind"
functions = ["count"]
windows = ["65m"]
ever = true
unit = "sales"
meaning = "sales of a kind"

[[aggregate]]
name = "calls"
event = "call"
functions = ["count", "since_last"]
windows = ["65m"]
ever = true
unit = "calls"
meaning = "calls to the desk"
"""

TRIGGERS = """
[[trigger]]
name = "reads_ahead"
meaning = "each sale once a later one has fired, this very event counted"
on = "sale"
when = "dear_fired_count >= 1"
repeats = true

[[trigger]]
name = "every_sale"
meaning = "each sale"
on = "sale"

[[trigger]]
name = "dear"
meaning = "a dear sale, at most one in twenty minutes"
on = "sale"
when = "event.amount >= 5"
cooldown = "20m"

[[trigger]]
name = "sale_or_call_of_a"
meaning = "either, of kind a"
on = ["sale", "call"]
when = "event.kind == 'a'"

[[trigger]]
name = "big_hour"
meaning = "much was paid"
on = "sale"
when = "paid_sum_65m > 10"

[[trigger]]
name = "busy"
meaning = "much of anything, looked at after everything"
when = "paid_count_25m + calls_count_65m >= 4"

[[trigger]]
name = "again_and_again"
meaning = "each sale behind two others"
on = "sale"
when = "paid_count_65m >= 3"
repeats = true

[[trigger]]
name = "new_of_kind"
meaning = "the first of its kind for a while"
on = "sale"
when = "paid_by_kind_count_65m[event.kind] == 1"
payload = { kind = "event.kind", so_many = "paid_by_kind_count_ever[event.kind]" }

[[trigger]]
name = "much_of_kind"
meaning = "turned to one kind"
on = "sale"
when = "paid_by_kind_count_65m[event.kind] >= 2 && paid_count_65m >= 3"
payload = { amount = "event.amount", in_all = "paid_sum_ever", calls_ago = "calls_since_last" }

[[trigger]]
name = "unknown_is_not_true"
meaning = "what is unknown makes nothing true"
on = "call"
when = "!(event.minutes > 3) || !(paid_since_last > 0.01)"
wake = "never"

[[trigger]]
name = "faster"
meaning = "more than before"
on = "sale"
when = "paid_trend_25m_65m > 1.234567"
wake = "never"

[[trigger]]
name = "looked_and_bought"
meaning = "of one kind"
on = "sale"
after = { event = "look", within = "20m", same = ["kind"] }

[[trigger]]
name = "dear_then_cheap"
meaning = "among sales"
on = "sale"
when = "event.amount < 5"
after = { event = "sale", within = "30m", when = "event.amount >= 5" }
cooldown = "20m"

[[trigger]]
name = "called_and_back"
meaning = "a second sale behind a call"
on = "sale"
when = "paid_count_65m >= 2"
after = { event = "call", within = "40m" }
cooldown = "30m"

[[trigger]]
name = "looked_in_vain"
meaning = "and bought nothing of the kind"
on = "look"
unless = { event = "sale", within = "20m", same = ["kind"] }
patience = "1m"

[[trigger]]
name = "no_other_sale"
meaning = "of one who calls little"
on = "sale"
unless = { event = "sale", within = "30m" }
cooldown = "40m"
audience = "calls_count_65m < 2"

[[trigger]]
name = "called_twice"
meaning = "and bought nothing dear"
on = "call"
when = "calls_count_65m >= 2"
unless = { event = "sale", within = "10m", when = "event.amount >= 5" }

[[trigger]]
name = "looked_called_left"
meaning = "one thing behind another, and no third"
on = "call"
after = { event = "look", within = "30m" }
unless = { event = "sale", within = "30m" }

[[trigger]]
name = "lapsing"
meaning = "no sale for a while"
on = "sale"
when = "event.amount > 50 || paid_since_last > 0.0174"
wake = "30m"
patience = "1m"
payload = { amount = "event.amount", ago = "paid_since_last" }

[[trigger]]
name = "quiet"
meaning = "bought before, and no more"
on = ["sale", "call"]
when = "paid_count_25m == 0 && paid_count_ever >= 2"
wake = "40m"
cooldown = "1h"

[[trigger]]
name = "third_dear"
meaning = "the third dear sale ever"
on = "sale"
when = "event.amount >= 5"
nth = 3

[[trigger]]
name = "second_of_kind"
meaning = "the second sale of each kind"
on = "sale"
nth = 2
each = "kind"

[[trigger]]
name = "in_season"
meaning = "much was paid, while it lasts"
on = "sale"
when = "paid_sum_25m > 7"
from = "2017-07-14T03:20Z"
until = "2017-07-14T05:00Z"

[[trigger]]
name = "looked_in_hours"
meaning = "each look within the hour"
on = "look"
from = "2017-07-14T03:00Z"
until = "2017-07-14T04:00Z"

[[trigger]]
name = "dear_lately"
meaning = "a call of one whom a trigger has seen"
on = "call"
when = "dear_fired_count >= 2 && dear_fired_since < 0.03"
payload = { ago = "every_sale_fired_since" }

[[trigger]]
name = "known_buyers"
meaning = "each sale of who has bought before"
on = "sale"
when = "event.kind in ['a', 'b']"
audience = "paid_count_ever >= 2"

[[trigger]]
name = "pinged"
meaning = "of a type that nothing counts"
on = "ping"
"""


@cache
def shop(triggers: str = TRIGGERS, lateness: str = "2h") -> Plan:
    """The plan of this playbook."""
    return compile_plan(load(playbook(AGGREGATES, triggers, lateness=lateness, events=EVENTS)))


def sale(ident: object, time: int, amount: int = 1, kind: str | None = None) -> Event:
    """A sale of whole dollars."""
    return _event("sale", ident, time, {"amount": amount * 10_000, "kind": kind})


def look(ident: object, time: int, kind: str | None = None) -> Event:
    """A look at things of this kind."""
    return _event("look", ident, time, {"kind": kind})


def call(ident: object, time: int, kind: str | None = None, minutes: int | None = None) -> Event:
    """A call to the desk."""
    return _event("call", ident, time, {"kind": kind, "minutes": minutes})


def ping(ident: object, time: int) -> Event:
    """An event that only a trigger speaks of."""
    return _event("ping", ident, time, {"kind": None})


def _event(kind: str, ident: object, time: int, fields: dict[str, Field]) -> Event:
    return Event(kind, str(ident), time, "{001}someone", fields)


PACES = st.sampled_from([(0, 0, 0, 1), (0, 0, 1, 1, 2, 3, 4, 7)])
"""Steps between events: dense logs fill what is bounded."""


@st.composite
def shop_logs(draw: st.DrawFn, longest: int = 40) -> Sequence[Event | Tick]:
    """A customer's log: some events late or too late, some told twice, ticks that never go back."""
    log: list[Event | Tick] = []
    now, tick, paces = NOON, NOON, draw(PACES)
    kinds = st.sampled_from([None, "a", "a", "a", "b"])
    what = st.sampled_from(
        draw(st.sampled_from(["sssslcpttr", "slllltttc", "scccltt", "sslllcr", "llllslcct"]))
    )
    for number in range(draw(st.integers(0, longest))):
        now += STEP * draw(st.sampled_from(paces))
        late = STEP * draw(st.sampled_from([0, 0, 0, 0, 1, 2, 3, 5, 20]))
        time = now - late + draw(st.sampled_from([0, 0, 0, -1, 1]))
        match draw(what):
            case "s":
                log.append(sale(number, time, draw(st.sampled_from([1, 6, 6, 60])), draw(kinds)))
            case "l":
                log.append(look(number, time, draw(kinds)))
            case "c":
                log.append(call(number, time, draw(kinds), draw(st.sampled_from([None, 1, 9]))))
            case "p":
                log.append(ping(number, time))
            case "t":
                tick = max(tick, now + draw(st.sampled_from([-STEP, 0, 0, 5_000, 59_999, 60_000])))
                log.append(Tick(tick))
            case "r" if log:
                again = draw(st.sampled_from(log))
                log += [again] if isinstance(again, Event) else []
    return [*log, Tick(tick + DAY)] if draw(st.integers(0, 3)) else log
