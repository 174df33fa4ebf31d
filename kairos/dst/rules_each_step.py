"""What must hold after every step; each rule looks only at what the step has changed."""

from events.bus import Record
from events.codec import decode
from events.envelope import Event
from events.topics import BEHAVIOUR
from features.feast_store import WATERMARKS_KEY, wakes_key
from features.triggers import next_wake
from kairos.dst.broken import Broken
from kairos.dst.processes import PARTITIONS
from kairos.dst.stall import stall
from kairos.dst.witness import Witness, identity_of
from stream.behaviour import POSITIONS
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


class OnePush:
    """One instance of a trigger makes one push."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    def __call__(self) -> None:
        """Look at what has changed. Errors: `Broken`."""
        if not self._witness.fresh:
            return
        for instance, records in self._witness.pushes.items():
            if len(records) > 1:
                raise Broken(named(self), f"{instance} was pushed {len(records)} times")
            if instance not in self._witness.triggers:
                raise Broken(named(self), f"{instance} was pushed and never fired")


class JournalTrue:
    """What intake's journal calls read is on the log, or among the dead letters."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._checked: dict[bytes, int] = {}
        self._seen: dict[bytes, bytes] = {}

    def __call__(self) -> None:
        """Look at what has changed. Errors: `Broken`."""
        journal = self._witness.hash(JOURNAL)
        if journal == self._seen:
            return
        self._seen = dict(journal)
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


class PositionsTrue:
    """What a watermark or a saved position covers is in the states, and who waits is known to be woken."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._checked = [-1] * PARTITIONS
        self._seen: tuple[dict[bytes, bytes], dict[bytes, bytes]] = ({}, {})

    def __call__(self) -> None:
        """Look at what has changed. Errors: `Broken`."""
        witness = self._witness
        marks, places = witness.hash(WATERMARKS_KEY), witness.hash(POSITIONS)
        if (marks, places) == self._seen:
            return
        self._seen = dict(marks), dict(places)
        for partition in range(PARTITIONS):
            field = b"%d" % partition
            claimed = int(places.get(field, b"-1"))
            if (mark := marks.get(field)) is not None:
                tick = witness.tick(partition, int(mark))
                if tick is None:
                    raise Broken(named(self), f"watermark {int(mark)} of {partition} is of no tick")
                claimed = max(claimed, tick)
            if claimed > self._checked[partition]:
                self._look(partition, self._checked[partition], claimed)
                self._checked[partition] = claimed

    def _look(self, partition: int, after: int, claimed: int) -> None:
        log, programs = self._witness.log[partition], stall().plan.programs
        newest: dict[str, int] = {}
        for record, item in log[after + 1 : claimed + 1]:
            if isinstance(item, Event) and item.type in programs:
                newest[item.customer] = record.position
        waiting = self._witness.world.redis.keys.ranked(wakes_key(partition).encode())
        for customer, position in newest.items():
            state = self._witness.state(customer)
            held = -1 if state is None else state.applied.get(partition, -1)
            if state is None or held < position:
                what = (
                    f"{customer} holds {partition} up to {held}, not {position}, though {claimed} is claimed"
                )
                raise Broken(named(self), what)
            if held > position:
                continue  # it is being folded on: its wake-up is written behind it
            due, known = next_wake(stall().plan, state), waiting.get(customer.encode())
            if due is not None and (known is None or known > due):
                what = f"{customer} waits for {due}, Redis knows of {known}, though {claimed} is claimed"
                raise Broken(named(self), what)


def named(rule: object) -> str:
    """The rule in a sentence."""
    return (getattr(rule, "__doc__", "") or "").strip().splitlines()[0].rstrip(".")


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
