"""KAIROS_WORKERS: the stack starts as many workers of the fold, and each is a part like any other."""

from pathlib import Path

import pytest
import redis

from events.bus import connect
from events.counters import WORKERS_KEY
from kairos.settings import BadSettings, load
from kairos.stack import Stack
from tests.stream.kiosk import eventually, write_playbook


def test_as_many_workers_as_said_share_the_partitions(tmp_path: Path) -> None:
    folder = tmp_path / "playbook"
    folder.mkdir()
    settings = load(
        playbook=write_playbook(folder), run_dir=tmp_path / "run", clock="events", partitions=3, workers=2
    )
    with Stack(settings, parts=("behaviour",), say=lambda line: None) as stack:
        assert set(stack.parts) == {"behaviour", "behaviour-1"}
        client = redis.Redis.from_url(stack.settings.redis)

        def workers() -> dict[bytes, bytes]:
            return client.hgetall(WORKERS_KEY)  # type: ignore[return-value]

        eventually(lambda: workers() == {b"behaviour": b"0/2", b"behaviour-1": b"1/2"})
        bus = connect(stack.settings.bus, timeout_s=10)
        assert bus.partitions("behaviour") == 3
        bus.close()
        log = stack.parts["behaviour-1"].log
        eventually(lambda: log.read_text().count("reading behaviour (partitions 1 of 3)") == 1)
        stack.crash("behaviour-1")
        eventually(lambda: log.read_text().count("reading behaviour (partitions 1 of 3)") == 2)
        assert "reading behaviour (partitions 0, 2 of 3)" in stack.parts["behaviour"].log.read_text()
        stack.check()
        client.close()


def test_more_workers_than_partitions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAIROS_WORKERS", "3")
    with pytest.raises(BadSettings, match=r"workers: .*expected at most 2.*KAIROS_PARTITIONS.*found '3'"):
        load()
