"""Recognising deliveries of an event that has already been taken in."""

from collections.abc import Sequence
from typing import Final

REMEMBERED: Final = 400_000
_NONE: Final[frozenset[str]] = frozenset()


class Repeats:
    """Remembers the newest (type, id) pairs, at most `capacity` of them.

    It keeps most repeats out of the log; those that come later than its memory are the fold's to
    recognise, exactly. The pairs themselves are kept, not hashes: nothing is mistaken for a repeat.

    >>> repeats = Repeats(4)
    >>> repeats.is_new("sale", "1"), repeats.is_new("sale", "1"), repeats.is_new("refund", "1")
    (True, False, True)
    """

    def __init__(self, capacity: int = REMEMBERED) -> None:
        # Two generations: the old one goes as a whole, so that forgetting costs nothing an event.
        self._half = max(capacity // 2, 1)
        self._young: dict[str, set[str]] = {}
        self._old: dict[str, set[str]] = {}
        self._count = 0

    def __len__(self) -> int:
        return sum(map(len, (*self._young.values(), *self._old.values())))

    def is_new(self, kind: str, ident: str) -> bool:
        """Whether the pair is not remembered; it is from now on."""
        young = self._young.get(kind, _NONE)
        if ident in young:
            return False
        fresh = ident not in self._old.get(kind, _NONE)
        if self._count >= self._half:
            self._old, self._young, self._count = self._young, {}, 0
        self._young.setdefault(kind, set()).add(ident)
        self._count += 1
        return fresh

    def all_new(self, kind: str, idents: Sequence[str]) -> bool:
        """Whether none of the pairs is remembered, nor twice among them; then all are from now on."""
        fresh = set(idents)
        young = self._young.setdefault(kind, set())
        if (
            len(fresh) < len(idents)
            or self._count + len(fresh) > self._half
            or not fresh.isdisjoint(young)
            or not fresh.isdisjoint(self._old.get(kind, _NONE))
        ):
            return False
        young |= fresh
        self._count += len(fresh)
        return True
