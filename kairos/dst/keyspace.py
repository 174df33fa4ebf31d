"""What one Redis holds: keys with their values and lifetimes."""

from collections.abc import Callable, Container, Sequence
from typing import Any, Final

Reply = int | bytes | str | None | list[Any]
"""What a command answers: a whole number, bytes, a status (text), nothing, or a list of replies."""

Words = Sequence[bytes]
_NO_EXPIRY: Final = float("inf")


class Refused(Exception):
    """Redis's own error reply, such as `WRONGTYPE ...`."""


_WRONG_TYPE: Final = "WRONGTYPE Operation against a key holding the wrong kind of value"


class Ranked(dict[bytes, float]):
    """A sorted set: members and scores."""


class Keyspace:
    """Keys with their values and lifetimes; `now` gives the server's clock in milliseconds.

    While `full` is set, commands that may need memory are refused as a Redis without eviction refuses them.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._values: dict[bytes, Any] = {}
        self._expires: dict[bytes, int] = {}
        self.full = False
        self.refused = 0
        """How many commands were refused for being full."""
        self.version = 0
        """Counts what may have written something."""
        self.touched: set[bytes] = set()
        """The first key of each command that may have, until somebody who looks empties it."""

    def held(self, key: bytes, kind: type) -> Any:
        """The value of a key, None when there is none. Errors: `Refused` when it is of another kind."""
        value = self._values.get(key)
        if value is None:
            return None
        if self._expires and self._expires.get(key, _NO_EXPIRY) <= self._now():
            self.drop(key)
            return None
        if type(value) is not kind:
            raise Refused(_WRONG_TYPE)
        return value

    def kept(self, key: bytes, kind: type) -> Any:
        """The value of a key, an empty one made where there is none."""
        value = self.held(key, kind)
        if value is None:
            value = self._values[key] = kind()
        return value

    def drop(self, key: bytes) -> bool:
        """Forget a key; whether it was there."""
        self._expires.pop(key, None)
        return self._values.pop(key, None) is not None

    def there(self, key: bytes) -> bool:
        """Whether the key has a value now."""
        if self._expires.get(key, _NO_EXPIRY) <= self._now():
            self.drop(key)
        return key in self._values

    def put(self, key: bytes, value: Any, lives_ms: int | None = None) -> None:
        """Give a key a value and a lifetime (None: for ever), whatever it had."""
        self._values[key] = value
        self._expires.pop(key, None)
        if lives_ms is not None:
            self._expires[key] = self._now() + lives_ms

    def empty(self, key: bytes, value: Any) -> None:
        """Redis keeps no empty collection."""
        if not value:
            self.drop(key)

    def expire(self, key: bytes, lives_ms: int) -> int:
        """Give a key a lifetime; 0 when there is none."""
        if not self.there(key):
            return 0
        self._expires[key] = self._now() + lives_ms
        return 1

    def left_ms(self, key: bytes) -> int:
        """The lifetime left; -1 for ever, -2 for no key."""
        if not self.there(key):
            return -2
        ends = self._expires.get(key)
        return -1 if ends is None else ends - self._now()

    def ranked(self, key: bytes) -> dict[bytes, float]:
        """The scores of a sorted set's members."""
        return dict(self.held(key, Ranked) or {})

    @property
    def names(self) -> Container[bytes]:
        """Every key; one whose lifetime is over may still be among them."""
        return self._values

    def named(self, ending: bytes) -> list[bytes]:
        """The keys with that ending."""
        return [key for key in self._values if key.endswith(ending)]

    def drain(self) -> None:
        """Be no longer full."""
        self.full = False

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
        self._expires.clear()
