"""Kairos as it stands, without the network: the decision that serving makes, the learner that the stream
runs.
"""

from collections.abc import Sequence

from events.envelope import DECISION, OUTCOME, Event
from experiments.attribution import Attribution, Example
from experiments.training import TooFew, train
from experiments.world.happening import START, Conversion
from experiments.world.knowledge import Knowledge
from experiments.world.needs import DAY
from experiments.world.policy import CARD, Asked
from models.assortment import Assortment
from models.catalogue import Catalogue
from models.decision import Decision, Question, Request, decide_all
from models.eligibility import Indices
from models.record import pack
from models.scorer import Floats
from models.scorers.blend import Blend
from models.scorers.lightgbm_ranker import LightGBMRanker
from models.scorers.prior import Prior
from models.scorers.river_propensity import RiverScorer
from stream.outcomes import Learner
from stream.rounds import Round

TRAIN_EVERY_DAYS = 7
"""How often somebody says `python -m kairos train`."""


class Remembered(Attribution):
    """Attribution that keeps what it taught, which `python -m kairos train` reads off the log again."""

    kept: list[Example]

    @classmethod
    def of(cls, catalogue: Catalogue) -> "Remembered":
        """Attribution as the placements of a catalogue declare it, nothing kept yet."""
        columns = {name: each.columns for name, each in catalogue.assortments.items()}
        made = cls(catalogue.placements, catalogue.zone, columns)
        made.kept = []
        return made

    def settle(self, watermark: int) -> list[Example]:
        """What is certain now, kept as well."""
        examples = Attribution.settle(self, watermark)
        self.kept += examples
        return examples


class Ours:
    """Decides with `models.decision.decide_all`, learns with `stream.outcomes.Learner`, trains once a week.

    `blends` are the models that answer at each placement right now, `lessons` what was taught so far.
    """

    def __init__(self, knowledge: Knowledge, catalogue: Catalogue, seed: int) -> None:
        self._knowledge, self._catalogue, self._seed = knowledge, catalogue, seed
        self.learner = Learner(catalogue)
        self.lessons = Remembered.of(catalogue)
        self.learner.attribution = self.lessons
        self._decided: list[Event] = []
        self._identities: dict[tuple[int, ...], tuple[str, str]] = {}
        self._batch: LightGBMRanker | None = None
        self._trained = 0
        self._position = 0
        self.blends: dict[str, Blend] = {}
        self._arrange()

    def choose(self, asked: Sequence[Asked]) -> list[str | None]:
        """Decide each moment as the door does, those at one placement together."""
        decided: dict[int, Decision] = {}
        for placement in {each.placement: None for each in asked}:
            places = [n for n, each in enumerate(asked) if each.placement == placement]
            decided |= zip(places, self.decide([asked[n] for n in places], placement), strict=True)
        return [self._said(each, decided[n]) for n, each in enumerate(asked)]

    def _said(self, asked: Asked, decision: Decision) -> str | None:
        """Remember a decision until the learner reads it; what was said."""
        self._decided.append(
            Event(
                DECISION,
                decision.decision_id,
                decision.at,
                decision.request.customer,
                {"record": pack(decision)},
            )
        )
        if not decision.chosen:
            return None
        self._identities[asked.moment.key] = (decision.decision_id, decision.request.customer)
        return decision.chosen[0].offer

    def decide(self, asked: Sequence[Asked], placement: str) -> list[Decision]:
        """The whole decisions of moments at one placement."""
        questions = [self._question(each, self._catalogue.assortment(placement)) for each in asked]
        return decide_all(questions, placement, self._catalogue, self.blends[placement])

    def _question(self, asked: Asked, assortment: Assortment) -> Question:
        moment, profile, knowledge = asked.moment, asked.profile, self._knowledge

        def cross_for(offers: Indices) -> Floats:
            return knowledge.cross(profile, moment.at, assortment, offers)

        request = Request(request_id="-".join(map(str, moment.key)), customer=profile.customer)
        return Question(request, knowledge.row(profile, moment.at), cross_for, moment.at)

    def learn(self, conversions: Sequence[Conversion], before: int) -> None:
        """A round of the learner; once a week a model of all examples so far."""
        events = self._decided
        for each in conversions:
            identity, customer = self._identities[each.moment.key]
            fields = {"decision_id": identity, "offer": each.deal.offer, "kind": "conversion"}
            events.append(Event(OUTCOME, f"{identity}-{each.at}", each.at, customer, fields))
        self._decided = []
        self._position += len(events)
        learned = self.learner.learn(Round(before, events, {0: self._position}))
        trained = self._train(before)
        if learned.examples or trained:
            self._arrange()

    def _train(self, before: int) -> bool:
        week = (before - START) // (TRAIN_EVERY_DAYS * DAY)
        if week <= self._trained:
            return False
        self._trained = week
        try:
            trained = train(
                [each for each in self.lessons.kept if each.placement == CARD], zone=self._catalogue.zone
            )
        except TooFew:
            return False
        self._batch = LightGBMRanker.from_artefact(trained.artefact(), str(week))
        return True

    def _arrange(self) -> None:
        online = {
            name: RiverScorer.from_snapshot(model.bytes, model.version)
            for name, model in self.learner.published().items()
            if model.n
        }
        self.blends = {
            name: Blend(prior=Prior(placement.prior), online=online.get(placement.model), batch=self._batch)
            for name, placement in self._catalogue.placements.items()
        }
