"""How moments come to a policy."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from experiments.world.baselines import Silence
from experiments.world.happening import Moment
from experiments.world.knowledge import Knowledge
from experiments.world.live import Run
from experiments.world.policy import Asked
from experiments.world.town import Town
from features.declare import load
from features.plan import compile_plan


class Noting(Silence):
    """Says nothing, and notes who is asked for together."""

    def __init__(self) -> None:
        self.asked: list[list[tuple[int, ...]]] = []

    def choose(self, asked: Sequence[Asked]) -> list[str | None]:
        if asked:
            self.asked.append([each.moment.key for each in asked])
        return super().choose(asked)


def test_whom_time_wakes_is_asked_for_together_and_nobody_twice_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    knowledge = Knowledge(compile_plan(load(Path("playbooks/world"))), 1_000)
    town, policy = Town(7, 1, 1), Noting()
    profiles = knowledge.of([Moment(0, person, f"d{person}", False, (person,)) for person in range(3)])
    woken = [
        (profiles[person], SimpleNamespace(time=time)) for person, time in ((2, 5), (0, 6), (2, 7), (1, 8))
    ]
    monkeypatch.setattr(knowledge, "wake", lambda at: woken)
    next(Run(town, knowledge, policy, {}).steps())
    assert policy.asked[-2:] == [[(7, 2, 5), (7, 0, 6)], [(7, 2, 7), (7, 1, 8)]]
