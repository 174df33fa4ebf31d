"""An SQLite registry's file: there whole or not at all, however many ask for it first, whoever is killed.

MLflow makes its tables in some fifty steps, which takes seconds. Two processes at it at once trip over each
other's, and one that is killed in between leaves a file that nobody can open again.
"""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SQLITE: Final = "sqlite:///"


def file_of(uri: str) -> Path | None:
    """The file of an SQLite registry, None of one that a server keeps.

    >>> file_of("sqlite:///var/run/mlflow.db").name, file_of("http://127.0.0.1:5000")
    ('mlflow.db', None)
    """
    return Path(uri.removeprefix(SQLITE)).resolve() if uri.startswith(SQLITE) else None


def artefacts_of(file: Path) -> str:
    """Where the registry of `file` keeps its models' bytes: the folder `models` beside it, as an address."""
    return (file.parent / "models").as_uri()


def make_ready(file: Path, make: Callable[[Path], None]) -> None:
    """Have `make` make the registry's file unless it is there; waits while another process is at it.

    `make` is given another path, and leaves nothing open there.
    """
    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with _alone(file.with_name(file.name + ".lock")):
        if file.exists():
            return
        unfinished = file.with_name(file.name + ".new")
        for leftover in file.parent.glob(unfinished.name + "*"):  # of one that was killed, its journal too
            leftover.unlink()
        make(unfinished)
        unfinished.replace(file)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold `lock` against every process of this machine; a process that dies lets it go."""
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
