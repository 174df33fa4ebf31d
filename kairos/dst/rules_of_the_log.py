"""What must hold of the log: what was acknowledged is on it, or among the dead letters, once."""

from collections.abc import Iterator

from events.bus import Record
from events.codec import decode
from events.envelope import Event
from events.topics import BEHAVIOUR
from kairos.dst.broken import Broken, named
from kairos.dst.processes import PARTITIONS
from kairos.dst.stall import stall
from kairos.dst.witness import Witness, identity_of
from stream.intake_journal import KEY as JOURNAL


class OnceOnTheLog:
    """A delivery is on the log at most once, whoever crashed.

    A domain that delivers an event again may have it on the log again: intake forgets in a crash what it has
    seen, and the state knows it as a repeat.
    """

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    def __call__(self) -> None:
        """Look at what has changed. Errors: `Broken`."""
        witness = self._witness
        for record in witness.fresh:
            if record.topic == BEHAVIOUR:
                item = decode(record.value)
                if not isinstance(item, Event):
                    continue
                places, times = witness.events[item.type, item.id], witness.delivered[item.type, item.id]
                if len(places) > times:
                    shown = " and ".join(f"{each.partition}/{each.position}" for each in places)
                    raise Broken(
                        named(self), f"{item.type} {item.id}, delivered {times} times, stands at {shown}"
                    )


class JournalTrue:
    """What intake's journal calls read is on the log, or among the dead letters."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._checked: dict[bytes, int] = {}

    def __call__(self) -> None:
        """Look at what has changed. Errors: `Broken`."""
        if not self._witness.touched(JOURNAL):
            return
        journal = self._witness.hash(JOURNAL)
        for name, value in journal.items():
            if not name.startswith(b"read:"):
                continue
            position = int(value)
            before = self._checked.get(name, -1)
            if position == before:
                continue
            _, topic, partition = name.decode().split(":")
            self._checked[name] = position
            for record in self._witness.world.topics.records(topic, int(partition), before):
                if record.position > position:
                    break
                if what := lost(self._witness, record):
                    raise Broken(named(self), f"read up to {topic}/{partition}/{position}, but {what}")


def taken_in(witness: Witness) -> Iterator[str]:
    """Every acknowledged event is on the log, or among the dead letters."""
    for topic in witness.world.topics.partitions:
        if topic in stall().playbook.contracts.topics:
            for partition in range(PARTITIONS):
                for record in witness.world.topics.records(topic, partition):
                    if what := lost(witness, record):
                        yield what


def refused_once(witness: Witness) -> Iterator[str]:
    """A message is refused once."""
    for place, letters in witness.letters.items():
        if len(letters) > 1 and place[0] != BEHAVIOUR:
            yield f"{'/'.join(map(str, place))} has {len(letters)} dead letters"


def lost(witness: Witness, record: Record) -> str:
    """What is missing of a domain's record; empty when it was taken in."""
    if (record.topic, record.partition, record.position) in witness.letters:
        return ""
    place = f"{record.topic}/{record.partition}/{record.position}"
    known = identity_of(record)
    if known is None:
        return f"{place} cannot be read and was not refused"
    return (
        ""
        if known in witness.events or known in witness.refused
        else f"{' '.join(known)} at {place} is not there"
    )
