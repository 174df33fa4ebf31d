"""The one door to numba: functions compiled once, kept beside the sources until any of them changes."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

__all__ = ["Bytes", "Floats", "Words", "compiled", "pointer"]

Words = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]

_F = TypeVar("_F", bound=Callable[..., Any])


def _digest() -> str:
    """Of every source here: numba looks only at the file of a function, not at those it calls."""
    how = f"{numba.__version__} {numba.config.BOUNDSCHECK}"
    digest = hashlib.blake2b(how.encode(), digest_size=8)
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


numba.config.CACHE_DIR = str(Path(__file__).parent / "__pycache__" / f"compiled-{_digest()}")


def compiled(function: _F) -> _F:
    """Compile with numba at the first call; later processes load what was compiled."""
    return numba.njit(cache=True, nogil=True, error_model="numpy")(function)  # type: ignore[no-any-return]


def _first(array: Any) -> Any:
    """The array itself: what `pointer` is where nothing is compiled."""
    return array


@intrinsic  # type: ignore[untyped-decorator]
def _address(typing: Any, array: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return cgutils.create_struct_proxy(array)(context, builder, value=arguments[0]).data

    return types.CPointer(array.dtype)(array), generate


pointer: Callable[[Any], Any] = _first if numba.config.DISABLE_JIT else _address
"""Where an array of one dimension begins, to be indexed like it: nothing is counted or checked at each use.

Whoever takes a pointer keeps the array; an array made in compiled code lives only as long as it is used
after. With NUMBA_DISABLE_JIT=1 it is the array itself, and every index is checked.
"""
