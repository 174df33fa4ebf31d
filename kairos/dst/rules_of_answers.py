"""What must hold of an answer from the moment it is heard."""

from itertools import islice

import orjson

from kairos.dst.broken import Broken
from kairos.dst.rules_each_step import named
from kairos.dst.witness import Witness
from models.record import DecisionRecord, unpack


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
