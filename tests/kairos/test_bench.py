"""The benchmarks run from end to end at small sizes and print what they promise; their rulers are true."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from features.declare import load
from features.plan import compile_plan
from kairos.__main__ import main
from kairos.bench import report, triggers
from kairos.bench.cut import cut, visible
from kairos.bench.measure import Reading, steady_us
from kairos.bench.rig import BenchFailed
from kairos.bench.stages import Sampler

WIDE = Path("playbooks/wide")
STREAM = (
    *("fold_events_per_s_per_core", "events_per_s_per_core", "cpu_us_per_event", "competent", "naive"),
    *(
        "speedup_vs_competent",
        "speedup_vs_naive",
        "distinct_rows_per_flush",
        "bytes_per_customer",
        "restart_s",
    ),
)
STAGES = ("decode", "validate", "resolve", "re-key", "fold", "write")


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """What a benchmark prints with --json, once its table has been looked at too."""
    assert main(["bench", *words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["bench"] == words[0]
    assert found["revision"]
    assert found["machine"]["cores"] >= 1
    return found


def page(capsys: pytest.CaptureFixture[str], found: Mapping[str, Any]) -> str:
    report.show(found, as_json=False)
    return capsys.readouterr().out


def test_stream_measures_the_whole_path_beside_two_contenders(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = (
        "--features",
        "120",
        "--customers",
        "300",
        "--events",
        "3000",
        "--history",
        "3",
        "--seconds",
        "1",
    )
    found = told(capsys, "stream", *sizes, "--workers", "2", "--keys", "zipf")
    assert set(STREAM) <= set(found)
    assert found["features"] <= 120
    assert set(STAGES) <= set(found["cpu_us_per_event"])
    assert sum(found["cpu_us_per_event"].values()) > 0
    assert set(found["bytes_per_customer"]) == {"p50", "p95", "p99", "max"}
    assert found["dead_letters"] == 0
    assert found["competent"]["events"] > found["naive"]["events"] > 0
    assert set(found["second_worker"]["cpu_us_per_event"]) == {"1", "2"}
    text = page(capsys, found)
    assert "one core does, events/s" in text
    assert "an event's processor by folding workers" in text
    assert "None" not in text


def test_row_reads_light_median_and_heavy_customers(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "row", "--customers", "60", "--history", "4", "--rows", "40")
    light, median, heavy = (found[name] for name in ("light", "median", "heavy"))
    assert light["state_bytes"] <= median["state_bytes"] <= heavy["state_bytes"]
    assert found["row_features"] + found["cross_features"] == 1_000
    assert all(each["us"]["p50"] > 0 and each["speedup_vs_naive"] > 0 for each in (light, median, heavy))
    assert found["slate"] == 100
    assert all(each["with_slate_us"]["p50"] > each["us"]["p50"] for each in (light, median, heavy))
    assert found["floor_us"]["p50"] < found["row_us"]
    assert "heavy" in page(capsys, found)


def test_freshness_sees_events_in_the_row_and_in_decisions(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "freshness", "--rate", "200", "--seconds", "1", "--customers", "50")
    for name in ("event_to_row_ms", "event_to_decision_ms"):
        assert 0 < found[name]["p50"] <= found[name]["p99"]
    assert found["wanted_per_s"] == 200
    assert "in a decision's answer" in page(capsys, found)


def test_triggers_are_timed_beside_the_fold_alone_and_seen_on_their_topic(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sizes = (
        "--features",
        "200",
        "--triggers",
        "40",
        "--customers",
        "100",
        "--events",
        "800",
        "--batch",
        "200",
    )
    found = told(capsys, "triggers", *sizes, "--history", "3", "--rate", "100", "--seconds", "1")
    assert set(found["by_triggers"]) == {"0", "4", "40"}
    none, most = found["by_triggers"]["0"], found["by_triggers"]["40"]
    assert none["cpu_us_per_event"]["conditions"] == none["fired_per_event"] == 0
    assert most["conditions_us"]["given"] > 0
    assert most["fold_with_triggers_us"] > found["floor_us_per_event"] > 0
    assert found["naive_us_per_event"] > 0
    assert 0 < found["conditions"] <= found["triggers"] <= 40
    assert 0 < found["event_to_trigger_ms"]["p50"] <= found["event_to_trigger_ms"]["p99"]
    text = page(capsys, found)
    assert "the whole stage, events/s a core" in text
    assert "None" not in text


def test_too_few_events_to_measure_triggers_are_refused() -> None:
    with pytest.raises(BenchFailed, match="expected --events of at least 4,000"):
        triggers.run(triggers.Sizes(events=3_999), print)


def test_a_rate_too_high_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    spread = {"p50": 1.0, "p99": 2.0}
    found = {
        "bench": "freshness",
        "revision": "abc",
        "playbook": "wide",
        "machine": {"cores": 2, "processor": "x", "python": "3.11", "load": 1.0},
        "features": 1_000,
        "customers": 10,
        "events_per_s": 4_000,
        "wanted_per_s": 10_000,
        "kept_up": False,
        "event_to_row_ms": spread,
        "event_to_decision_ms": spread,
        "probes": {"row": 1, "decision": 1},
    }
    assert "10,000 events/s were asked for" in page(capsys, found).replace("\n", " ")


@pytest.mark.parametrize("features", [40, 333, 1_000])
def test_a_playbook_is_cut_to_fewer_features(features: int, tmp_path: Path) -> None:
    playbook = cut(WIDE, features, tmp_path / "cut")
    assert features * 0.9 <= visible(playbook) <= features
    compile_plan(playbook)
    if features >= 1_000:
        assert playbook.folder == load(WIDE).folder
    else:
        assert len({aggregate.event for aggregate in playbook.aggregates}) > 1


def test_what_comes_before_the_warm_part_is_not_counted() -> None:
    starting = [Reading(1_000 * n, 2.0 * n, float(n)) for n in range(5)]
    steady = [Reading(1_000 * n, 10.0 + 0.02 * (n - 5), float(n)) for n in range(5, 9)]
    assert steady_us([*starting, *steady], 5_000) == pytest.approx(20.0)


def test_one_noisy_third_is_not_the_median() -> None:
    cpu = [10.0, 10.1, 10.2, 19.3]
    readings = [Reading(10_000 * (n + 1), each, float(n)) for n, each in enumerate(cpu)]
    assert steady_us(readings, 10_000) == pytest.approx(10.0)


def test_processor_time_is_charged_to_the_stage_that_spent_it() -> None:
    spaces: dict[str, Any] = {"time": time}
    spin = (
        "def {}(seconds):\n  ends = time.thread_time() + seconds\n  while time.thread_time() < ends: pass\n"
    )
    for name, file in (("validate", "/x/events/contract.py"), ("encode", "/x/events/codec.py")):
        exec(compile(spin.format(name), file, "exec"), spaces)
    sampler = Sampler()
    sampler.start()
    spaces["validate"](0.9)
    spaces["encode"](0.3)
    spent = sampler.finish()
    # A busy machine lets the sampler look late, and it charges what lies between two looks to the second.
    assert 0.5 < spent["validate"] < 1.2
    assert 0.1 < spent["re-key"] < spent["validate"]
