"""The two records of the log: something that happened to a customer, and the time up to which all is read."""

from typing import Any, Final

import msgspec

Field = str | int | float | bool | bytes | None
"""What a field of an event may hold."""


DECISION: Final = "kairos.decision"
OUTCOME: Final = "kairos.outcome"
TRIGGER: Final = "kairos.trigger"
SUPERSEDED: Final = "kairos.trigger_superseded"
MARK: Final = "kairos.mark"


# Nothing in a record refers back to it, so the garbage collector need not look.
class Event(msgspec.Struct, frozen=True, array_like=True, tag="e", tag_field="record", gc=False):
    """One thing that happened to one known customer; a record of topic `behaviour`.

    `time` is when it happened, in milliseconds since the epoch, UTC. `id` makes two deliveries the
    same event within its `type`. Decimal fields are whole ten-thousandths (see `events.contract`).
    """

    type: str
    id: str
    time: int
    customer: str
    fields: dict[str, Any]  # of Field: msgspec takes no union of str and bytes


class Tick(msgspec.Struct, frozen=True, array_like=True, tag="t", tag_field="record", gc=False):
    """The log's clock: every source has been read up to `time` (ms); what comes later with less is late."""

    time: int
