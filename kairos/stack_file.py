"""How to reach a running stack: `stack.env` in its run folder, there as long as the stack is.

Lines are `KAIROS_NAME=value`, so a shell takes them in with `set -a; . var/up/stack.env` and every verb
then talks to that stack. Only the owner may read the file, as it can hold the API key.
"""

import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from kairos.settings import PREFIX, Settings

NAME = "stack.env"
PATHS = ("playbook", "run_dir", "catalogue", "data")


class NoStack(Exception):
    """No stack has left its address where one was looked for."""


def write(settings: Settings) -> Path:
    """Write what a running stack was started with, paths made absolute; the file."""
    chosen = {name: Path(value).resolve() for name in PATHS if (value := getattr(settings, name))}
    lines = [
        f"{name}={shlex.quote(value)}\n"
        for name, value in settings.model_copy(update=chosen).environment().items()
    ]
    path = settings.run_dir / NAME
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with open(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.writelines(lines)
    return partial.replace(path)


def find(run_dirs: Iterable[Path]) -> Settings:
    """The settings of the first of these folders in which a stack runs. Errors: `NoStack`."""
    looked = [run_dir / NAME for run_dir in run_dirs]
    for path in looked:
        if path.exists():
            pairs = (word.split("=", 1) for word in shlex.split(path.read_text()))
            return Settings.model_validate(
                {name.removeprefix(PREFIX).lower(): value for name, value in pairs}
            )
    raise NoStack(
        f"expected a running stack, found none of {', '.join(map(str, looked))}; start one and leave it "
        "running: `python -m kairos demo --keep`, or `make up`"
    )
