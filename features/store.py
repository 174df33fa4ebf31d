"""Where states are kept: the port that the stream writes and that serving and notebooks read."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from events.faults import Refusal

Values = bytes | tuple[bytes | None, ...]
"""What is written of a customer: its recent and its settled part, None where one stays as it is; or both as
the bytes of a state."""


class StoreUnavailable(Refusal):
    """The Redis of states did not answer at start; the message names its address and what to do."""

    exit_code = 3


class StateStore(Protocol):
    """States by customer, watermarks and wake-ups by partition of the log; times in ms.

    Every write is absolute, so that writing again harms nothing.
    """

    def read_many(self, customers: Sequence[str]) -> list[bytes | None]:
        """The state of each customer, in order; None of one nobody knows. One round trip."""
        ...

    def write_many(self, states: Sequence[tuple[str, Values, int]]) -> None:
        """Write (customer, state, time of its newest event); the bytes, or a value for each field of a state.

        One round trip.
        """
        ...

    def watermarks(self) -> dict[int, int]:
        """For each partition up to when its log has been read and its states are written."""
        ...

    def set_watermark(self, partition: int, ms: int) -> None:
        """Say that every state of the partition holds every event before `ms`."""
        ...

    def due(self, partition: int, before_ms: int) -> list[str]:
        """The customers of the partition who asked to be woken at or before `before_ms`, earliest first."""
        ...

    def set_wakes(self, partition: int, wakes: Mapping[str, int | None]) -> None:
        """When each of these customers wants to be woken; None: not at all."""
        ...
