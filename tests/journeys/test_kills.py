"""Every process and both servers are killed in mid-replay; states, rows, models and pushes do not show it."""

from pathlib import Path

import pytest

from kairos.ordeal import PARTS, SERVERS, Outcome, undergo
from kairos.soak import sound

DAYS = 6


@pytest.mark.timeout(1_200)
def test_kills_in_mid_replay_change_nothing(tmp_path: Path) -> None:
    plain = undergo(tmp_path / "plain", days=DAYS, seed=0, kills=0)
    assert sound(plain, plain), plain
    victims = len(PARTS) + len(SERVERS)
    killed = undergo(tmp_path / "killed", days=DAYS, seed=7, kills=victims)
    assert len(killed.kills) == victims, "each was killed once"
    told = {field: (getattr(killed, field), getattr(plain, field)) for field in Outcome.__slots__}
    assert sound(killed, plain), {name: pair for name, pair in told.items() if pair[0] != pair[1]}
