"""The demo as a newcomer runs it, on fewer days; whatever ends it, no process stays behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kairos.local import Server

DAYS = 14
QUALITY = {"auc", "auc_ci", "log_loss", "ndcg", "ndcg_moments"}


def demo(folder: Path, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "kairos", "demo", "--folder", str(folder), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def left_behind(folder: Path) -> list[str]:
    """Processes that carry the demo's folder in their command line or environment."""
    marker = str(folder).encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words, environment = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
                home = os.readlink(entry / "cwd")
            except OSError:
                continue
            within = home.startswith(str(folder))  # a server renames itself, but lives in its folder
            if within or marker in words or b"KAIROS_RUN_DIR=" + marker in environment:
                found.append(words.replace(b"\0", b" ").decode(errors="replace"))
    return found


def gone(folder: Path, within_s: float) -> bool:
    ends = time.monotonic() + within_s
    while left_behind(folder):
        if time.monotonic() > ends:
            return False
        time.sleep(0.1)
    return True


def until_replaying(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if "events (" in line:
            return
    raise AssertionError("the demo ended before it replayed")


@pytest.mark.timeout(900)
def test_the_demo_reports_and_leaves_nothing_running(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    process = demo(folder, "--days", str(DAYS))
    output, _ = process.communicate(timeout=800)
    assert process.returncode == 0, output
    report = json.loads((folder / "report.json").read_text())
    assert report["events"] > 50_000
    assert report["decisions"] > 300
    assert report["dead_letters"] == 0
    assert report["triggers_fired"] >= report["push_commands"] > 0
    assert report["push_commands_repeated"] == 0
    assert report["parity"]["feast_rows"] >= 50
    assert report["parity"]["feast_rows_differing"] == 0
    assert 0 < report["decision_ms"]["p50"] <= report["decision_ms"]["p99"]
    assert report["parity"]["rows"] >= 100
    assert report["parity"]["mismatches"] == 0
    assert report["parity"]["states"] >= 20
    assert report["parity"]["states_differing"] == 0
    assert report["eligibility_differs"] == 0
    quality = report["quality"]
    assert {"n", "positives", "households"} <= set(quality)
    for method in ("river", "lightgbm", "blend", "popularity", "popularity_household", "random"):
        assert set(quality[method]) >= QUALITY, method
    assert quality["river"]["auc"] is not None
    assert "river" in report["models"]
    page = (folder / "report.html").read_text()
    assert page.count("<svg") == 4
    assert "not uplift" in page
    assert "not uplift" in output.replace("\n", " ")
    assert gone(folder, 60), left_behind(folder)


@pytest.mark.kafka
@pytest.mark.timeout(900)
def test_the_demo_passes_over_kafka(tmp_path: Path, kafka_server: Server) -> None:
    """The demo starts its own Kafka; the fixture only says whether one can be had."""
    assert kafka_server.url.startswith("kafka://")
    folder = tmp_path / "demo"
    process = demo(folder, "--days", "3", "--bus", "kafka")
    output, _ = process.communicate(timeout=800)
    assert process.returncode == 0, output
    report = json.loads((folder / "report.json").read_text())
    assert report["bus"] == "kafka"
    assert report["dead_letters"] == 0
    assert report["push_commands"] > 0
    assert report["push_commands_repeated"] == 0
    assert report["parity"]["mismatches"] == report["parity"]["states_differing"] == 0
    assert report["parity"]["states"] >= 50
    assert gone(folder, 60), left_behind(folder)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
@pytest.mark.timeout(600)
def test_ctrl_c_or_a_crash_leaves_no_process(tmp_path: Path, number: signal.Signals, code: int) -> None:
    folder = tmp_path / "demo"
    process = demo(folder, "--days", "60")
    try:
        until_replaying(process)
        assert len(left_behind(folder)) >= 8, "two servers, five parts and the demo itself"
        process.send_signal(number)
        assert process.wait(240) == code
        assert gone(folder, 60), left_behind(folder)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
