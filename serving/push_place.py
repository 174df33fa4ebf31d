"""What the push door reads: fired triggers, and its own place among triggers and commands."""

import logging
from typing import Any, NamedTuple

import orjson

from events.bus import Bus, BusUnavailable, Reader
from events.codec import BadEvent, parse_cloudevent, parse_time
from events.envelope import SUPERSEDED
from events.identity import is_customer
from events.topics import PUSH_COMMANDS, TRIGGERS
from serving.ledger import tag_of

log = logging.getLogger("kairos.push")


class Fired(NamedTuple):
    """A trigger that fired for a customer at `time` (ms)."""

    instance: str
    trigger: str
    customer: str
    time: int


def pushed_key(customer: str, instance: str) -> str:
    """Name the key that says a trigger's command is on the bus.

    >>> pushed_key("{007}abcdefghijkl", "big_shop-1")
    '{007}push:big_shop-1'
    """
    return f"{tag_of(customer)}push:{instance}"


def read_trigger(value: bytes) -> Fired | None:
    """Read a fired trigger; None for what says that one was superseded. Errors: `BadEvent`."""
    event = parse_cloudevent(value)
    if event.type == SUPERSEDED:
        return None  # what was sent is not taken back
    data = event.data
    customer, at = data.get("customer"), data.get("time")
    if not isinstance(customer, str) or not is_customer(customer):
        raise BadEvent("no_customer", "data.customer", "a minted id", repr(customer)[:60])
    try:
        fired = parse_time(at)  # type: ignore[arg-type]
    except ValueError as error:
        raise BadEvent("wrong_type", "data.time", "an instant", str(error)[:60]) from None
    return Fired(event.id, str(data.get("trigger", "")), customer, fired)


class Place:
    """How far one partition's triggers are done, and how far its commands were known when that was saved."""

    def __init__(self, bus: Bus, partition: int) -> None:
        self._bus, self.partition = bus, partition
        self.triggers = self.commands = -1

    def open(self) -> Reader:
        """Read triggers on from here; from the oldest kept when older ones are gone."""
        last, first = self._bus.last(TRIGGERS, self.partition), self._bus.first(TRIGGERS, self.partition)
        if self.triggers > last:
            log.warning("partition %d of triggers begins anew: it ends before our cursor", self.partition)
            self.triggers = -1
        return self._bus.reader(TRIGGERS, self.partition, max(self.triggers, first - 1))

    def scan(self) -> list[dict[str, Any]]:
        """Read the commands behind the cursor."""
        end = self._bus.last(PUSH_COMMANDS, self.partition)
        first = self._bus.first(PUSH_COMMANDS, self.partition)
        if self.commands > end:
            self.commands = -1
        position = max(self.commands, first - 1)
        found: list[dict[str, Any]] = []
        if position >= end:
            return found
        reader = self._bus.reader(PUSH_COMMANDS, self.partition, position)
        try:
            while position < end:
                records = reader.read(1_000, 1_000)
                for record in records:
                    position = record.position
                    found.append(orjson.loads(record.value))
                if not records and position < end:
                    raise BusUnavailable(f"push-commands {self.partition}: the tail could not be read")
        finally:
            reader.close()
        return found
