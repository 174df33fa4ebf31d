"""The wall clock; nothing below the shells reads it."""

import time


def wall_ms() -> int:
    """Milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000
