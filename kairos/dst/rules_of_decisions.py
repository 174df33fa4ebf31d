"""What must hold of decisions: every trigger has one, every answer and every push has its record."""

from collections.abc import Iterator
from itertools import islice

import orjson

from events.counters import counters_key
from events.envelope import DECISION
from kairos.dst.broken import Broken, named
from kairos.dst.witness import Witness
from models.record import DecisionRecord, unpack
from serving.push import PLACEMENT as PUSH
from serving.push_place import read_trigger


class AnswersKept:
    """An answer that was heard has its record, on the bus or on its way, with its offers in their order."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._checked = 0

    def __call__(self) -> None:
        """Look at what has changed. Errors: `Broken`."""
        answers = self._witness.outside.answers
        for body in islice(answers.values(), self._checked, None):
            answer = orjson.loads(body)
            said = [each["offer"] for each in answer["offers"]]
            record = self._record(answer["decision_id"])
            if record is None:
                raise Broken(named(self), f"{answer['decision_id']} was answered and has no record")
            if list(record.offers) != said:
                what = f"{record.decision_id} was answered {said}, its record says {record.offers}"
                raise Broken(named(self), what)
        self._checked = len(answers)

    def _record(self, decision: str) -> DecisionRecord | None:
        if (record := self._witness.decisions.get(decision)) is not None:
            return record
        keys = self._witness.world.redis.keys
        for outbox in keys.named(b"outbox"):
            if packed := (keys.held(outbox, dict) or {}).get(decision.encode()):
                return unpack(packed)
        return None


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


def decisions_kept(witness: Witness) -> Iterator[str]:
    """Every decision that was pushed has its record, and every one that was answered is on the log.

    What is pushed after intake was stopped is on its way to the log.
    """
    pushed = {orjson.loads(each.value)["decision_id"] for some in witness.pushes.values() for each in some}
    answered = {orjson.loads(body)["decision_id"] for body in witness.outside.answers.values()}
    for decision in sorted(answered | pushed):
        if decision not in witness.decisions:
            yield f"{decision} has no record"
        elif decision in answered and not witness.events[DECISION, decision]:
            yield f"{decision} is not on the log"


def triggers_decided(witness: Witness) -> Iterator[str]:
    """Every trigger that fired was decided on, but for those that the push door counts as behind."""
    decided = {record.request_id for record in witness.decisions.values()}
    counted = witness.hash(counters_key("push"))
    fired = {
        instance
        for instance, records in witness.triggers.items()
        if any(read_trigger(record.value) is not None for record in records)
    }
    left = sorted(fired - decided)
    if len(left) > (behind := int(counted.get(b"behind", b"0"))):
        yield f"{' '.join(left)}: nothing was decided, and {behind} are counted as behind"


def decided_is_sent(witness: Witness) -> Iterator[str]:
    """A push that was decided is sent."""
    for record in witness.decisions.values():
        if record.placement == PUSH and record.offers and record.request_id not in witness.pushes:
            yield f"{record.request_id} was decided and never sent"
