"""The one door to numba: functions compiled once, kept beside the sources until any of them changes."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["Bytes", "Floats", "Words", "compiled"]

Words = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]

_F = TypeVar("_F", bound=Callable[..., Any])


def _digest() -> str:
    """Of every source here: numba looks only at the file of a function, not at those it calls."""
    digest = hashlib.blake2b(numba.__version__.encode(), digest_size=8)
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


numba.config.CACHE_DIR = str(Path(__file__).parent / "__pycache__" / f"compiled-{_digest()}")


def compiled(function: _F) -> _F:
    """Compile with numba at the first call; later processes load what was compiled."""
    return numba.njit(cache=True, nogil=True, error_model="numpy")(function)  # type: ignore[no-any-return]
