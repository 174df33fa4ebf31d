import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.registry import Loaded, Registry, Tampered


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return Registry(f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}")


def test_an_alias_names_a_version_and_moves(registry: Registry) -> None:
    assert registry.load("kairos-feed", "champion") is None
    assert registry.version("kairos-feed", "champion") is None
    first = registry.log_model("kairos-feed", b"one", "lightgbm", {"auc": 0.7}, {"leaves": 7}, "data-1")
    second = registry.log_model("kairos-feed", b"two", "lightgbm", {"auc": 0.8})
    assert (first, second) == ("1", "2")
    registry.set_alias("kairos-feed", "champion", first)
    assert registry.load("kairos-feed", "champion") == Loaded("1", "lightgbm", b"one")
    registry.set_alias("kairos-feed", "champion", second)
    assert registry.load("kairos-feed", "champion") == Loaded("2", "lightgbm", b"two")
    assert registry.version("kairos-feed", "champion") == "2"
    assert registry.version("kairos-feed", "challenger") is None
    assert registry.load("kairos-nobody", "champion") is None


def test_another_process_sees_it(registry: Registry) -> None:
    """What serving does: it opens the same registry anew and finds what training left."""
    registry.log_model("kairos-shared", b"\x00\xff", "river")
    registry.set_alias("kairos-shared", "champion", "1")
    again = Registry(registry.uri)
    assert again.load("kairos-shared", "champion") == Loaded("1", "river", b"\x00\xff")


def test_metrics_and_params_can_be_read_in_mlflow(registry: Registry) -> None:
    version = registry.log_model("kairos-told", b"x", "lightgbm", {"auc": 0.75}, {"leaves": 7}, "abc")
    found = registry._client.get_model_version("kairos-told", version)
    assert found.tags["data"] == "abc"
    assert len(found.tags["sha256"]) == 64
    run = registry._client.get_run(str(found.run_id))
    assert (run.data.metrics["auc"], run.data.params["leaves"]) == (0.75, "7")


def test_changed_bytes_are_never_handed_out(registry: Registry) -> None:
    registry.log_model("kairos-spoiled", b"honest", "lightgbm")
    registry.set_alias("kairos-spoiled", "champion", "1")
    home = Path(registry.uri.removeprefix("sqlite:///")).parent / "models"
    (spoiled,) = [path for path in home.rglob("model.bin") if path.read_bytes() == b"honest"]
    spoiled.write_bytes(b"wicked")
    with pytest.raises(Tampered, match="expected sha256"):
        registry.load("kairos-spoiled", "champion")


def test_a_poll_is_cheap(registry: Registry) -> None:
    registry.log_model("kairos-polled", b"x", "lightgbm")
    registry.set_alias("kairos-polled", "champion", "1")
    spent = []
    for _ in range(20):
        started = time.process_time()
        registry.version("kairos-polled", "champion")
        spent.append(time.process_time() - started)
    assert sorted(spent)[10] < 0.02


def test_whoever_is_killed_while_it_is_made_the_next_one_makes_it_whole(tmp_path: Path) -> None:
    """Serving looks for it while training makes it."""
    file = tmp_path / "run" / "mlflow.db"
    command = [
        sys.executable,
        "-c",
        f"from experiments.registry import Registry; Registry('sqlite:///{file}')",
    ]
    first = subprocess.Popen(command)
    others: list[subprocess.Popen[bytes]] = []
    try:
        unfinished = file.with_name("mlflow.db.new")
        ends = time.monotonic() + 300
        while not (unfinished.exists() and unfinished.stat().st_size > 50_000):
            assert first.poll() is None, "expected the first one to be at it for a while"
            assert time.monotonic() < ends
            time.sleep(0.01)
        others = [subprocess.Popen(command) for _ in range(2)]
        assert not file.exists()
        first.kill()
        assert [other.wait(300) for other in others] == [0, 0]
    finally:
        for process in (first, *others):
            process.kill()
            process.wait()
    assert sorted(path.name for path in file.parent.iterdir()) == ["mlflow.db", "mlflow.db.lock"]
    with sqlite3.connect(file) as database:
        assert not database.execute(
            "select name from sqlite_master where name like '_alembic_tmp%'"
        ).fetchall()
    database.close()


@pytest.mark.parametrize("uri", ["var/mlruns", "file:///tmp/mlruns"])
def test_folders_of_files_are_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="expected sqlite"):
        Registry(uri)


def test_importing_the_registry_warns_of_nothing() -> None:
    program = "import experiments.registry, logging; assert logging.getLogger('mlflow')"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_nothing_executable_is_kept(registry: Registry) -> None:
    """Only our own bytes: no pickle, no MLmodel folder, nothing that a loader would run."""
    registry.log_model("kairos-plain", b"plain", "lightgbm")
    path = Path(registry.uri.removeprefix("sqlite:///"))
    assert {found.name for found in (path.parent / "models").rglob("*") if found.is_file()} == {"model.bin"}
    with sqlite3.connect(path) as database:
        assert database.execute("select count(*) from model_versions").fetchone()[0] >= 1
    database.close()
