"""A request in, a decision out: pure, so the same inputs give the same bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from models.arbitration import Slate, Weights, draw, weigh
from models.assortment import Assortment
from models.catalogue import Catalogue
from models.eligibility import CrossFor, Eligibility, eligible
from models.offer import Offer
from models.placement import ContextValue
from models.scorer import Floats, Matrix, Scores
from models.scorers.blend import Blend, Scored


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Who asks, for which decision; `customer` is the minted id, `limit` may only lower the placement's."""

    request_id: str
    customer: str
    context: Mapping[str, ContextValue] = field(default_factory=dict)
    limit: int | None = None

    @property
    def decision_id(self) -> str:
        """The id that this request's decision has, however often it is asked."""
        return decision_id(self.customer, self.request_id)


@dataclass(frozen=True, slots=True)
class Chosen:
    """One offer of the answer; `propensity` is its exact chance at this position given those before."""

    offer: str
    name: str
    treatment: Mapping[str, str]
    position: int
    probability: float
    propensity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Everything that a decision was made of; `record.pack` keeps it.

    Arrays run over `eligibility.offers`, which are places in `assortment`. `at` is the instant decided
    for, ms; `draws` are the float32 weights that the slate was drawn from, `silence` that of saying nothing.
    `folded` is the last position of the customer's partition of the log that `row` knows, -1 for none, None
    when nobody said. `everybody` says where the counts over everybody that `row` knows can be had from the
    log again (see `record.DecisionRecord`), None when it knows none.
    """

    request: Request
    decision_id: str
    placement: str
    assortment: Assortment
    at: int
    seed: int
    slots: int
    catalogue: str
    plan: str
    models: Mapping[str, str]
    row: Floats
    eligibility: Eligibility
    matrix: Matrix
    scored: Scored
    priorities: Scores
    draws: Weights
    silence: float | None
    slate: Slate
    chosen: tuple[Chosen, ...]
    folded: int | None = None
    everybody: tuple[int, ...] | None = None


class Question(NamedTuple):
    """What a decision is asked for: the arguments of `decide` that belong to one customer."""

    request: Request
    row: Floats
    cross_for: CrossFor
    at: int
    seed: int | None = None
    folded: int | None = None
    everybody: tuple[int, ...] | None = None


def decide(
    request: Request,
    placement: str,
    catalogue: Catalogue,
    row: Floats,
    cross_for: CrossFor,
    scorers: Blend,
    at: int,
    seed: int | None = None,
    folded: int | None = None,
    everybody: tuple[int, ...] | None = None,
) -> Decision:
    """Choose what to say to one customer at the instant `at` (ms).

    `row` is `features.row.row(...)`; `cross_for` is given the indices of the offers that dates and cheap
    rules left and returns their cross features (n, C): `features.row.cross` over
    `assortment.keys_of(indices)`. `seed` comes from the decision id unless it is given.
    Errors: KeyError for an unknown placement, BadContext for a context the placement does not declare.
    """
    question = Question(request, row, cross_for, at, seed, folded, everybody)
    (decision,) = decide_all([question], placement, catalogue, scorers)
    return decision


def decide_all(
    questions: Sequence[Question], placement: str, catalogue: Catalogue, scorers: Blend
) -> list[Decision]:
    """Answer each question as `decide` does, to the bit: together the models are asked once.

    Nothing that comes of one answer is known to another; `scorers` are those of all. Errors: as `decide`.
    """
    if not questions:
        return []
    assortment = catalogue.assortment(placement)
    settings = assortment.placement
    able: list[Eligibility] = []
    matrices: list[Matrix] = []
    for each in questions:
        context = settings.read(each.request.context)
        found = eligible(assortment.rules, each.row, each.cross_for, each.at, context)
        able.append(found)
        matrices.append(assortment.matrix(each.row, found.cross, found.offers, each.at))
    scored = scorers.score(matrices)
    versions = scorers.versions
    return [
        _settle(*each, placement=placement, catalogue=catalogue, versions=versions)
        for each in zip(questions, able, matrices, scored, strict=True)
    ]


def _settle(
    question: Question,
    able: Eligibility,
    matrix: Matrix,
    scored: Scored,
    *,
    placement: str,
    catalogue: Catalogue,
    versions: Mapping[str, str],
) -> Decision:
    """Weigh what the models said and draw the slate."""
    assortment = catalogue.assortments[placement]
    settings, request = assortment.placement, question.request
    priorities = scored.probability * assortment.values[able.offers]
    count, quiet = len(priorities), settings.silence is not None
    logs = np.empty(count + quiet)
    np.log(priorities, out=logs[:count])
    if settings.silence is not None:
        logs[count] = np.log(settings.silence)
    every = weigh(logs, settings.temperature, settings.clip)
    draws, silence = every[:count], float(every[count]) if quiet else None
    limit = settings.limit
    slots = limit if request.limit is None else max(0, min(request.limit, limit))
    identity = request.decision_id
    seed = seed_of(identity) if question.seed is None else question.seed
    slate = draw(seed, draws, slots, silence)
    return Decision(
        request=request,
        decision_id=identity,
        placement=placement,
        assortment=assortment,
        at=question.at,
        seed=seed,
        slots=slots,
        catalogue=catalogue.version,
        plan=catalogue.plan,
        models=versions,
        row=question.row,
        eligibility=able,
        matrix=matrix,
        scored=scored,
        priorities=priorities,
        draws=draws,
        silence=silence,
        slate=slate,
        chosen=tuple(
            _chosen(
                assortment.offers[able.offers[n]], placement, position, float(scored.probability[n]), chance
            )
            for position, (n, chance) in enumerate(zip(slate.order, slate.probabilities, strict=True), 1)
        ),
        folded=question.folded,
        everybody=question.everybody,
    )


def _chosen(offer: Offer, placement: str, position: int, probability: float, propensity: float) -> Chosen:
    treatment = offer.treatments.get(placement, {})
    return Chosen(offer.id, offer.name, treatment, position, probability, propensity)


def decision_id(customer: str, request_id: str) -> str:
    """The id of the decision for one request of one customer, fit for a URL.

    >>> decision_id("{007}abcdefabcdef", "r-1")
    '007-abcdefabcdef-53020014c5ed'
    """
    shard, _, rest = customer.removeprefix("{").partition("}")
    digest = blake2b(f"{customer}\n{request_id}".encode(), digest_size=6).hexdigest()
    return f"{shard}-{rest}-{digest}"


def customer_of(identity: str) -> str:
    """The customer a decision was made for; ValueError when `identity` is not a decision's.

    >>> customer_of("007-abcdefabcdef-53020014c5ed")
    '{007}abcdefabcdef'
    """
    parts = identity.split("-")
    if len(parts) != 3 or not parts[0].isdigit() or not parts[1].isalnum() or len(parts[2]) != 12:
        raise ValueError(f"decision id: expected NNN-xxxxxxxxxxxx-<12 hex>, found {identity[:80]!r}")
    return f"{{{parts[0]}}}{parts[1]}"


def seed_of(identity: str) -> int:
    """The 64-bit seed of a decision's draws."""
    return int.from_bytes(blake2b(identity.encode(), digest_size=8, person=b"kairos-draw").digest())
