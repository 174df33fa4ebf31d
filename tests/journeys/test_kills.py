"""Every process and both servers are killed in mid-replay; states, rows, models and pushes do not show it."""

from pathlib import Path

import pytest

from kairos.ordeal import PARTS, SERVERS, undergo
from kairos.soak import sound

DAYS = 5


@pytest.mark.timeout(420)
def test_kills_in_mid_replay_change_nothing(tmp_path: Path) -> None:
    plain = undergo(tmp_path / "plain", days=DAYS, seed=0, kills=0)
    assert sound(plain, plain), plain
    victims = len(PARTS) + len(SERVERS)
    killed = undergo(tmp_path / "killed", days=DAYS, seed=7, kills=victims)
    assert len(killed.kills) == victims, "each was killed once"
    assert sound(killed, plain), (killed, plain)
