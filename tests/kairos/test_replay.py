"""What was mailed before a replay begins is on the log in order of time, whoever is read first."""

from typing import Any

import pandas as pd

from kairos.demo.publisher import Publisher
from kairos.demo.replay import MARKED, Replay
from kairos.demo.shopping import NEW_YEAR, Shopping


class Diary(Publisher):
    """Notes what would be published, and what is waited for."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, int]] = []

    def link(self, households: Any, at: int) -> None:
        self.told.append(("links", at, at))

    def sends(self, sends: pd.DataFrame) -> None:
        self.told.append(("sends", int(sends.time.min()), int(sends.time.max())))

    def mark(self, topics: Any, before: int) -> None:
        assert topics == MARKED
        self.told.append(("mark", before, before))

    def wait(self, instant: int) -> None:
        self.told.append(("wait", instant, instant))


def test_what_was_mailed_weeks_apart_is_told_one_instant_after_the_other() -> None:
    shopping, diary = Shopping(days=1, first=NEW_YEAR), Diary()
    replay: Any = object.__new__(Replay)
    replay.shopping, replay._publisher, replay._wait_for = shopping, diary, diary.wait
    first = next(shopping.days())
    replay._introduce(first)
    sends = shopping.sends_before()
    instants = sorted(set(sends.time.tolist()))
    assert len(instants) > 1
    assert [earliest for what, earliest, latest in diary.told if what == "sends"] == instants
    told = diary.told
    assert told[-1] == ("mark", first.start, first.start)
    folded = -1
    for number, (what, earliest, latest) in enumerate(told):
        if what == "sends":
            assert earliest == latest, "no order exists inside a piece"
            assert folded <= earliest, "nothing is told that was promised to have been told"
            assert told[number + 1][:2] == ("mark", latest + 1)
            assert told[number + 2][:2] == ("wait", latest + 1), "what comes later waits for it"
        folded = max(folded, earliest if what == "wait" else -1)
