"""Where tables for people go: as wide as their terminal, and wide enough where there is none."""

from typing import Final

from rich.console import Console

WIDE: Final = 120
"""Columns of a file or a pipe."""


def page() -> Console:
    """The standard output."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDE)
