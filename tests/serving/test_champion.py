"""The model that the registry's alias names: taken in, and exchanged, while the service runs."""

import time
from dataclasses import replace
from pathlib import Path

import httpx
import lightgbm as lgb
import numpy as np

from experiments.registry import Registry
from kairos.local import free_port
from models.scorers.lightgbm_ranker import artefact
from tests.serving.corner import MORNING, Shop, serving


def trained(names: list[str], rounds: int) -> bytes:
    random = np.random.default_rng(rounds)
    x = random.normal(size=(200, len(names)))
    data = lgb.Dataset(x, (x[:, 0] > 0).astype(int))
    settings = {"objective": "binary", "verbosity": -1, "num_threads": 1, "seed": 1}
    return artefact(lgb.train(settings, data, rounds).model_to_string(), names, {})


def serves(door: httpx.Client, version: str, within_s: float = 60.0) -> bool:
    ends = time.monotonic() + within_s
    while time.monotonic() < ends:
        found = door.get("/v1/models").json()["placements"]["feed"]["lightgbm"]
        if found is not None and found["version"] == version:
            return True
        time.sleep(0.05)
    return False


def ask(door: httpx.Client) -> dict[str, str]:
    body = {"customer": "card:champion", "placement": "feed", "at": MORNING}
    models: dict[str, str] = door.post("/v1/decisions", json=body).json()["models"]
    return models


def test_what_champion_names_serves_and_what_it_names_next_too(shop: Shop, tmp_path: Path) -> None:
    setup = replace(shop.setup, mlflow=f"sqlite:///{tmp_path / 'mlflow.db'}", port=free_port())
    names = [feature.name for feature in shop.plan.customer_features]
    with serving(setup) as door:
        assert door.get("/v1/models").json()["placements"]["feed"]["lightgbm"] is None
        registry = Registry(setup.mlflow)
        for rounds in (3, 5):
            version = registry.log_model("kairos-feed", trained(names, rounds), "lightgbm")
            before = ask(door).get("lightgbm")
            assert before != version, "registered is not yet named"
            registry.set_alias("kairos-feed", "champion", version)
            assert serves(door, version, 20 if before is None else 10)
            assert ask(door)["lightgbm"] == version
        registry.set_alias("kairos-feed", "champion", "1")
        assert serves(door, "1"), "and back"
