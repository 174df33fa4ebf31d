"""The one door to numba: functions compiled once, kept beside the sources until any of them changes."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numba
import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["Bytes", "Floats", "Words", "compiled", "int64", "pointer", "within"]

_T = TypeVar("_T")


class Row(Protocol[_T]):
    """What compiled code indexes: an array of one dimension, or a pointer to one."""

    @property
    def size(self) -> int:
        """How many there are; a pointer does not know."""
        ...

    def __getitem__(self, place: int, /) -> _T: ...

    def __setitem__(self, place: int, value: _T, /) -> None: ...


Words = Row[int]
"""64-bit whole numbers."""

Bytes = Row[int]
"""Unsigned bytes."""

Floats = Row[float]
"""64-bit floats."""

int64: Callable[[Any], int] = np.int64  # type: ignore[assignment]
"""A 64-bit whole number: without it a byte stays a byte, and a literal zero what it is."""


def _digest() -> str:
    """Of every source here: numba looks only at the file of a function, not at those it calls."""
    how = f"{numba.__version__} {os.environ.get('NUMBA_BOUNDSCHECK')}"
    digest = hashlib.blake2b(how.encode(), digest_size=8)
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


numba.config.CACHE_DIR = str(  # type: ignore[attr-defined]
    Path(__file__).parent / "__pycache__" / f"compiled-{_digest()}"
)


def compiled(function: Callable[..., _T]) -> Callable[..., _T]:
    """Compile with numba at the first call; later processes load what was compiled."""
    return numba.njit(cache=True, nogil=True, error_model="numpy")(function)


def within(function: Callable[..., _T]) -> Callable[..., _T]:
    """`compiled` for what only compiled code calls: there is no way in from Python, which takes long to make
    for tables of pointers."""
    options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    made: Callable[..., _T] = numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)
    return made


def _first(array: Any) -> Any:
    """The array itself: what `pointer` is where nothing is compiled."""
    return array


@intrinsic
def _address(typing: Any, array: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return cgutils.create_struct_proxy(array)(context, builder, value=arguments[0]).data

    return types.CPointer(array.dtype)(array), generate


_PLAIN = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")

pointer: Callable[[Row[_T]], Row[_T]] = _first if _PLAIN else _address  # type: ignore[assignment]
"""Where an array of one dimension begins, to be indexed like it: nothing is counted or checked at each use.

Whoever takes a pointer keeps the array; an array made in compiled code lives only as long as it is used
after. With NUMBA_DISABLE_JIT=1 it is the array itself, and every index is checked.
"""
