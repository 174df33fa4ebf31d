"""The notebook a data scientist starts with, executed as it stands on a real stack and a few real days."""

import json
import re
import urllib.request
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from rich.console import Console

from events.bus import connect
from experiments.registry import Registry
from kairos import stack_file
from kairos.demo.live import LiveView, Pulse
from kairos.demo.replay import Replay
from kairos.demo.shopping import HOUSEHOLDS, Shopping
from kairos.settings import load
from kairos.stack import Stack
from kairos.train import run as train

NOTEBOOK = Path(__file__).parents[2] / "experiments" / "notebooks" / "retrain.ipynb"
# Two campaigns had just been mailed: one offer in thirty is taken, on other days one in a hundred.
FIRST, DAYS = date(2017, 8, 9), 6


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, int]]:
    """A stack that has served and learned from those days, and how many feed decisions it made."""
    run_dir = tmp_path_factory.mktemp("notebook") / "run"
    shopping = Shopping(DAYS, FIRST)
    shopping.write_catalogue(run_dir / "catalogue.parquet")
    shopping.write_households(run_dir / HOUSEHOLDS)
    settings = load(run_dir=run_dir, catalogue=run_dir / "catalogue.parquet", clock="events")
    with Stack(settings, say=lambda _: None) as stack:
        stack.once("features", "load")
        bus, pulse = connect(stack.settings.bus), Pulse()
        with LiveView(pulse, DAYS, Console(quiet=True)) as view:
            replay = Replay(stack, shopping, bus, pulse, view, train_on=DAYS)
            replay.run()
        replay.close()
        bus.close()
        yield stack, len(replay.served)
    with pytest.raises(stack_file.NoStack):
        stack_file.find([run_dir])


def executed(run_dir: Path, patience_s: int = 600) -> str:
    """Run the notebook on the stack in `run_dir`; everything it printed and showed."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    changed = parameters.source.replace('RUN_DIR = ""', f"RUN_DIR = {str(run_dir)!r}")
    assert changed != parameters.source
    parameters.source = changed
    client = NotebookClient(
        notebook, timeout=patience_s, kernel_name="python3", resources={"metadata": {"path": NOTEBOOK.parent}}
    )
    client.execute()
    return "\n".join(
        output.text if output.output_type == "stream" else output.data.get("text/html", "")
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output.output_type == "stream" or "data" in output
    )


def models(address: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{address}/v1/models", timeout=60) as answer:
        feed: dict[str, Any] = json.load(answer)["placements"]["feed"]
    return feed


@pytest.mark.timeout(1_500)
def test_from_feast_rows_to_a_model_that_serving_uses(replayed: tuple[Stack, int]) -> None:
    stack, decisions = replayed
    server = stack.parts["serve"].process.pid
    registry = Registry(stack.settings.mlflow)
    assert train(stack.settings, placements=["feed"], alias="champion") == 0
    before = registry.version("kairos-feed", "champion")

    said = executed(stack.settings.run_dir)

    asked = re.search(r"asked for ([\d,]+) moments, got ([\d,]+) rows of (\d+) features", said)
    agreed = re.search(r"([\d,]+) rows from Feast equal the rows that were served, in all (\d+)", said)
    assert asked, said
    assert agreed, said
    assert {asked[1], asked[2], agreed[1]} == {f"{decisions:,}"}
    assert asked[3] == agreed[2]
    assert int(asked[3]) > 20
    assert "found 1 feature" in " ".join(said.split()), "the planted leak was refused"

    version = registry.version("kairos-feed", "champion")
    assert version not in (before, None)
    assert version == registry.version("kairos-feed", "challenger")
    assert models(stack.address)["lightgbm"] == {"version": version}
    assert stack.parts["serve"].process.pid == server
    stack.check()


def test_the_committed_notebook_holds_no_outputs_and_no_places() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    mend = f"python -m jupyter nbconvert --clear-output --inplace {NOTEBOOK}"
    for cell in notebook.cells:
        assert not cell.get("outputs"), mend
        assert cell.get("execution_count") is None, mend
        assert "execution" not in cell.metadata, mend
    assert not re.search(r"/(home|root|Users|tmp|work)/", NOTEBOOK.read_text())
