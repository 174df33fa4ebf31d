"""Settings: typed, from environment and file; unknown keys are refused with the nearest known one."""

from pathlib import Path

import pytest

from kairos.settings import BadSettings, load


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "kairos.toml"
    file.write_text("partitions = 3\nproject = 'bank'\n")
    monkeypatch.setenv("KAIROS_PARTITIONS", "5")
    settings = load(file)
    assert (settings.partitions, settings.project) == (5, "bank")


def test_an_unknown_key_is_refused_with_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "kairos.toml"
    file.write_text("partition = 3\n")
    monkeypatch.setenv("KAIROS_REDDIS", "redis://x:1")
    with pytest.raises(BadSettings) as refused:
        load(file)
    message = str(refused.value)
    assert "partition" in message
    assert "did you mean partitions?" in message
    assert "did you mean KAIROS_REDIS?" in message, "both faults are told at once"


@pytest.mark.parametrize(("name", "value"), [("PORT", "http"), ("CLOCK", "sundial"), ("PARTITIONS", "0")])
def test_a_value_of_the_wrong_kind_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"KAIROS_{name}", value)
    with pytest.raises(BadSettings, match=name.lower()):
        load()


def test_settings_travel_to_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(port=1234, clock="events")
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert load() == settings


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="found none"):
        load(tmp_path / "nowhere.toml")
