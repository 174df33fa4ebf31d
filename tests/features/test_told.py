"""A message carries what its own trigger tells, however much the triggers beside it do."""

from features.fold import empty
from features.triggers import act
from tests.features.workshop import NOON, plan, sale

TRIGGERS = """
[[trigger]]
name = "wide"
meaning = "tells three values"
on = "sale"
when = "paid_sum_7d >= 0 && paid_count_7d >= 1 && paid_count_28d >= 1"
repeats = true

[[trigger]]
name = "narrow"
meaning = "tells one"
on = "sale"
when = "paid_count_7d >= 1"
repeats = true

[[trigger]]
name = "silent"
meaning = "tells none"
on = "sale"
payload = { kind = "event.kind" }

[[trigger]]
name = "said"
meaning = "tells what its payload says, not what its condition reads"
on = "sale"
when = "paid_count_28d >= 1 && paid_count_7d >= 1"
repeats = true
payload = { total = "paid_sum_7d", twice = "paid_count_7d * 2" }
"""


def test_each_tells_its_own_values() -> None:
    p = plan(triggers=TRIGGERS)
    assert {len(each.told) for each in p.triggers.triggers} == {0, 1, 2, 3}
    state = empty(p)
    events = [sale(1, NOON - 20 * 86_400_000, amount=70_000), sale(2, NOON, amount=30_000)]
    fired = {each.trigger: each.payload for each in act(p, state, events, 0, [0, 1]) if each.time == NOON}
    read = {"paid_sum_7d", "paid_count_7d", "paid_count_28d"}
    told = {name: {key: value for key, value in each.items() if key in read} for name, each in fired.items()}
    assert told["wide"] == {"paid_sum_7d": 3, "paid_count_7d": 1, "paid_count_28d": 2}
    assert told["narrow"] == {"paid_count_7d": 1}
    assert fired["silent"] == {"kind": events[1].fields["kind"]}
    assert fired["said"] == {"total": 3, "twice": 2}
