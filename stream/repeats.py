"""Recognising deliveries of an event that has already been taken in."""

from typing import Final

REMEMBERED: Final = 400_000


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
        self._young: dict[str, None] = {}
        self._old: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def is_new(self, kind: str, ident: str) -> bool:
        """Whether the pair is not remembered; it is from now on."""
        pair = f"{kind} {ident}"  # a type has no space in it
        if pair in self._young:
            return False
        fresh = pair not in self._old
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[pair] = None
        return fresh
