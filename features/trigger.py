"""A trigger as its people declare it: when to act without being asked."""

from typing import NamedTuple

WAKES = 16
"""Instants that may be waited for on behalf of one customer, unless the playbook says its own."""


class Step(NamedTuple):
    """Another event that matters: its type, within so long (ms), agreeing in the fields `same`, if `when`."""

    event: str
    within_ms: int
    same: tuple[str, ...]
    when: str | None = None


class Trigger(NamedTuple):
    """When to act without being asked; lengths of time and instants in ms.

    `on` are types of events, none for every one. `after` makes a sequence, `unless` an absence; `wake_ms` is
    how long after an event time alone may make `when` true. `nth` counts events, for each value of `each`.
    It fires from `since_ms` on and before `until_ms`, for whom `audience` is true, with `payload`: names and
    expressions, None for what the event and the condition hold.
    """

    name: str
    meaning: str
    on: tuple[str, ...]
    when: str | None = None
    repeats: bool = False
    after: Step | None = None
    unless: Step | None = None
    patience_ms: int = 5_000
    wake_ms: int | None = None
    nth: int | None = None
    each: str | None = None
    cooldown_ms: int = 0
    since_ms: int | None = None
    until_ms: int | None = None
    audience: str | None = None
    payload: tuple[tuple[str, str], ...] | None = None

    @property
    def waits(self) -> bool:
        """Whether it may fire by the log's clock alone, not at an event."""
        return self.unless is not None or self.wake_ms is not None


FIRED_COUNT, FIRED_SINCE = "fired_count", "fired_since"
"""What every trigger is as a feature: how often it fired, and how long ago it did last."""


def fired_names(trigger: str) -> tuple[str, str]:
    """The names of a trigger's features.

    >>> fired_names("big_shop")
    ('big_shop_fired_count', 'big_shop_fired_since')
    """
    return f"{trigger}_{FIRED_COUNT}", f"{trigger}_{FIRED_SINCE}"
