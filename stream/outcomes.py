"""Outcomes joined to decisions, and what they teach: the learner without its dataflow."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from events.envelope import DECISION, OUTCOME
from experiments.attribution import Attribution
from models.catalogue import Catalogue
from models.online import OnlineModel
from models.scorers.river_propensity import RiverPropensity
from stream.rounds import Round


class LearnerState(msgspec.Struct, frozen=True):
    """All that the learner knows: `applied` is the last position of each partition that is in it."""

    applied: dict[int, int]
    learned_to: int
    attribution: bytes
    models: dict[str, bytes]


class Learned(NamedTuple):
    """What a round came to: examples and positives learned, by model; `changed` when anything was new."""

    examples: dict[str, int]
    positives: int
    changed: bool


class Learner:
    """Learns rounds of the log in order; the same log gives the same models, bit by bit.

    Examples are learned in the order in which they became certain, then of decision ids, then of
    positions in the slate. A model learns from the placement it is named after: what another
    placement, such as push, uses it for says little about its own.
    """

    def __init__(self, catalogue: Catalogue, state: LearnerState | None = None) -> None:
        self.attribution = Attribution.of(catalogue)
        placements = catalogue.placements
        self.models = {
            name: RiverPropensity(prior=placement.prior)
            for name, placement in sorted(placements.items())
            if placement.model in ("", name)
        }
        self._packed: dict[str, bytes] = {}
        self.applied: dict[int, int] = {}
        self.learned_to = -1
        if state is not None:
            self.attribution.restore(state.attribution)
            self.applied = dict(state.applied)
            self.learned_to = state.learned_to
            for name, packed in state.models.items():
                if name in self.models:
                    self.models[name] = RiverPropensity.restore(packed)

    def learn(self, one: Round) -> Learned:
        """Take in a round: its decisions and outcomes, then what is certain at its tick."""
        for event in one.events:
            fields = event.fields
            if event.type == DECISION:
                record = fields["record"]
                assert isinstance(record, bytes)
                self.attribution.decision(record)
            elif event.type == OUTCOME:
                decision, offer, kind = str(fields["decision_id"]), str(fields["offer"]), str(fields["kind"])
                self.attribution.outcome(decision, offer, kind, event.time)
        examples = self.attribution.settle(one.time)
        counts: dict[str, int] = {}
        positives = 0
        for example in examples:
            model = self.models.get(example.placement)
            if model is None:
                continue
            model.learn(example.names, example.x, example.label)
            positives += example.label
            counts[example.placement] = counts.get(example.placement, 0) + 1
        for name in counts:
            self._packed.pop(name, None)
        self.applied = dict(one.positions)
        self.learned_to = one.time
        return Learned(counts, positives, bool(one.events or examples))

    def state(self) -> LearnerState:
        """Everything, to go on from after a crash."""
        packed = {name: self._pack(name) for name in self.models}
        return LearnerState(self.applied, self.learned_to, self.attribution.dump(), packed)

    def published(self) -> Mapping[str, OnlineModel]:
        """Each model as serving reads it."""
        return {
            name: OnlineModel(str(model.count), self.learned_to, model.count, self._pack(name))
            for name, model in self.models.items()
        }

    def _pack(self, name: str) -> bytes:
        """A model's bytes, made again only after it has learned."""
        if name not in self._packed:
            self._packed[name] = self.models[name].snapshot()
        return self._packed[name]
