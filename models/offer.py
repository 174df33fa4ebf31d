"""One thing a business may say to a customer."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Attribute = str | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One thing a business may say to a customer, and when it may be said.

    `valid_from` and `valid_to` are milliseconds (UTC); `valid_to` is exclusive and None is open.
    `value` is what a conversion is worth, in the unit in which the placement prices silence.
    `eligible` holds conditions that must all be true for this offer alone.

    >>> soup = Offer(id="soup", name="Soup of the day", group="menu", valid_from=1_000, valid_to=2_000)
    >>> [soup.valid_at(at) for at in (999, 1_000, 1_999, 2_000)]
    [False, True, True, False]
    """

    id: str
    name: str
    group: str
    placements: tuple[str, ...] = ()
    treatments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    valid_from: int | None = None
    valid_to: int | None = None
    value: float = 1.0
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    eligible: tuple[str, ...] = ()

    def valid_at(self, at: int) -> bool:
        """Whether the dates allow this offer at the instant `at` (ms)."""
        return (self.valid_from is None or at >= self.valid_from) and (
            self.valid_to is None or at < self.valid_to
        )
