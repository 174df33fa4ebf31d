"""What an aggregate may cost: the arithmetic is that of the state's bytes, and no history takes more."""

import pytest

from features.bank import FINENESS as OF_BANKS
from features.declare import load
from features.fold import settled
from features.kernel import layout as at
from features.kernel.settled import HEADER, WEIGHT
from features.memory import COARSEST, FINENESS, INTERVALS, memory_of, weights_of
from features.plan import Plan, compile_plan
from tests.features.test_declare import GROCERY
from tests.features.workshop import DAY, HOUR, NOON, folded, plan, playbook, rich, sale

WIDE = GROCERY.parent / "wide"

ONE = """
[[aggregate]]
name = "one"
event = "sale"
unit = "x"
meaning = "m"
"""


def test_the_constants_are_those_of_the_state() -> None:
    assert (FINENESS, COARSEST, INTERVALS) == (OF_BANKS, at.COARSEST, at.HALF_LIVES_KEPT + 1)


@pytest.mark.parametrize("whole", [plan(), rich(), compile_plan(load(GROCERY)), compile_plan(load(WIDE))])
def test_the_weights_are_those_of_the_state(whole: Plan) -> None:
    rows = whole.tables.banks.reshape(-1, at.BANK_COLUMNS)
    for bank in whole.banks:
        row, weights = rows[bank.number], weights_of(bank.aggregate)
        assert weights.cell == row[at.WEIGHT_CELL], bank.aggregate
        if row[at.LEVELS] or row[at.SAMPLE]:
            assert weights.tile == row[at.WEIGHT_TILE], bank.aggregate
        assert weights.interval == (row[at.WEIGHT_HALF] if row[at.HALVES] else 0), bank.aggregate


@pytest.mark.parametrize(
    "asked",
    [
        'functions = ["count"]\nwindows = ["1h", "7d", "28d", "84d"]',
        'value = "amount"\nfunctions = ["sum"]\nwindows = ["7d"]',
        'value = "amount"\nfunctions = ["mean", "last", "since_first"]\nwindows = ["7d"]\never = true',
        'value = "amount"\nfunctions = ["max"]\nwindows = ["1d", "90d"]',
        'value = "amount"\nfunctions = ["count", "sum"]\nhalf_lives = ["1h", "1d"]',
        'value = "pieces"\nfunctions = ["distinct"]\nwindows = ["7d"]\nkeys = 64',
        'by = "kind"\nmatch = "kind"\nkeys = 8\nfunctions = ["count"]\nwindows = ["7d"]',
    ],
)
def test_no_history_takes_more_than_is_said(asked: str) -> None:
    whole = compile_plan(load(playbook(f'memory = "1MB"{ONE}{asked}', lateness="1m")))
    (aggregate,) = whole.playbook.aggregates
    weights = []
    for step in (7 * 60_000, HOUR, 6 * HOUR):
        log = [
            sale(n, NOON + n * step, amount=-(10**9) + n, pieces=n % 300, kind=f"k{n % 40}")
            for n in range(min(3_000, 100 * DAY // step))
        ]
        state = settled(whole, folded(whole, log))
        begin = len(state.recent) + WEIGHT
        weights.append(int.from_bytes(state.blob[begin : begin + 4], "little"))
        assert len(state.blob) < HEADER + weights[-1] + 128  # ids of a minute, and positions in the log
    bound = memory_of(aggregate)
    assert bound / 8 < max(weights) <= bound, "a bound is of use when it is near"
