"""The packed record of a decision: enough to re-run it, to score it again and to learn from it."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.arbitration import draw
from models.assortment import Assortment
from models.decision import Decision
from models.eligibility import Mask
from models.floats import FLOAT, pack_floats, unpack_floats
from models.placement import ContextValue
from models.scorer import Floats
from models.scorers.blend import join

FORMAT = 1
# Below so many offers, looking for equal keys costs more time than the bytes are worth.
SMALL = 32


class Block(msgspec.Struct, frozen=True, array_like=True):
    """Cross features that read the same key: `values` (u, len(columns)), one row for each distinct key.

    `rows` says for each offer which row is its own (uint16); empty when every offer has its own.
    """

    columns: list[int]
    rows: bytes
    values: bytes


class DecisionRecord(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """A decision as it is kept: a MessagePack array of these fields in this order.

    Arrays are little-endian bytes; `row`, `numbers` and the values of blocks are packed by `models.floats`.
    `eligible` and `refusals` are bitmaps over the placement's `size` offers in the order of their ids.
    `row` is the customer's features, float32; `clock` the local hour and weekday; `scored` and `draws`
    float32 over the eligible offers. `offers` names the offers said; `order` are their places among the
    eligible, `numbers` (float32) what models saw of each beside the customer's and cross features.
    `folded` is the last position of the log that the row knows of the customer (-1: none, None: not said).
    `everybody` says of the counts over everybody in the row at which instant (ms) they were read, up to when
    (ms) the log was in them, and the last position of each partition of it (-1: none); None for no counts.
    `columns` is the digest of the matrix's names, `plan` that of the features, `catalogue` its version.
    """

    format: int
    decision_id: str
    request_id: str
    customer: str
    placement: str
    at: int
    seed: int
    slots: int
    context: dict[str, ContextValue]
    catalogue: str
    plan: str
    columns: str
    models: dict[str, str]
    rung: str
    blend: dict[str, float]
    size: int
    eligible: bytes
    refusals: dict[str, bytes]
    row: bytes
    clock: list[float]
    cross: list[Block]
    scored: dict[str, bytes]
    draws: bytes
    silence: float | None
    silent: bool
    order: list[int]
    offers: list[str]
    propensities: list[float]
    probability: float
    numbers: bytes
    folded: int | None = None
    everybody: list[int] | None = None

    @property
    def scores(self) -> dict[str, NDArray[np.float64]]:
        """What each model, and `blend` when two were joined, said of `offers`, in their order."""
        return {name: each[self.order] for name, each in self.every_score().items()}

    @property
    def probabilities(self) -> list[float]:
        """The final probability of each of `offers`, in their order."""
        scores = self.scores
        final = scores["blend"] if "blend" in scores else next(iter(scores.values()))
        return [float(each) for each in final]

    def every_score(self) -> dict[str, NDArray[np.float64]]:
        """What each model, and `blend` when two were joined, said of every eligible offer."""
        scores = {name: np.frombuffer(each, dtype="<f4") for name, each in self.scored.items()}
        every = {name: each.astype(np.float64) for name, each in scores.items()}
        if len(scores) > 1:
            every["blend"] = join(scores, self.blend)
        return every

    def places(self) -> NDArray[np.intp]:
        """Which offers of the assortment were eligible, rising."""
        return np.flatnonzero(_bits(self.eligible, self.size))

    def features(self) -> Floats:
        """The customer's row as it was when the decision was made."""
        return unpack_floats(self.row)

    def customer_part(self) -> Floats:
        """The customer's part of the matrix: the row and the clock."""
        return np.concatenate([self.features(), np.array(self.clock, dtype=np.float32)])

    def cross_part(self) -> Floats:
        """The cross features of the eligible offers, (n, C)."""
        return self._crossed(list(range(len(self.draws) // 4)))

    def _crossed(self, places: list[int]) -> Floats:
        """The cross features of some of the eligible offers."""
        width = sum(len(block.columns) for block in self.cross)
        table = np.empty((len(places), width), dtype=np.float32)
        for block in self.cross:
            values = unpack_floats(block.values).reshape(-1, len(block.columns))
            rows = np.frombuffer(block.rows, dtype="<u2")[places] if block.rows else places
            table[:, block.columns] = values[rows]
        return table

    def shown(self) -> Floats:
        """What models saw of each offer of the slate, in its order: cross features, attributes, dates."""
        if not self.order:
            return np.empty((0, 0), dtype=np.float32)
        numbers = unpack_floats(self.numbers).reshape(len(self.order), -1)
        return np.concatenate([self._crossed(self.order), numbers], axis=1)

    def refused(self, rule: str) -> Mask:
        """Which offers of the assortment a rule refused."""
        return _bits(self.refusals[rule], self.size)


def _bits(packed: bytes, size: int) -> Mask:
    return np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=size).astype(np.bool_)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(DecisionRecord)


def keep(decision: Decision) -> DecisionRecord:
    """What is kept of a decision."""
    able, assortment = decision.eligibility, decision.assortment
    mask = np.zeros(len(assortment), dtype=np.bool_)
    mask[able.offers] = True
    width = able.cross.shape[1]
    return DecisionRecord(
        format=FORMAT,
        decision_id=decision.decision_id,
        request_id=decision.request.request_id,
        customer=decision.request.customer,
        placement=decision.placement,
        at=decision.at,
        seed=decision.seed,
        slots=decision.slots,
        context=dict(decision.request.context),
        catalogue=decision.catalogue,
        plan=decision.plan,
        columns=assortment.columns.digest,
        models=dict(decision.models),
        rung=decision.scored.rung,
        blend=dict(decision.scored.weights),
        size=len(assortment),
        eligible=np.packbits(mask).tobytes(),
        refusals={refusal.rule: np.packbits(refusal.offers).tobytes() for refusal in able.refusals},
        row=pack_floats(decision.row),
        clock=decision.matrix.customer[assortment.features :].tolist(),
        cross=_blocks(able.cross, able.offers, assortment),
        scored={name: _floats(each) for name, each in decision.scored.scores.items()},
        draws=_floats(decision.draws),
        silence=decision.silence,
        silent=decision.slate.silent,
        order=list(decision.slate.order),
        offers=[chosen.offer for chosen in decision.chosen],
        propensities=list(decision.slate.probabilities),
        probability=decision.slate.probability,
        numbers=pack_floats(decision.matrix.offers[list(decision.slate.order), width:]),
        folded=decision.folded,
        everybody=None if decision.everybody is None else list(decision.everybody),
    )


def _floats(values: Floats) -> bytes:
    return values.astype(FLOAT, copy=False).tobytes()


def pack(decision: Decision) -> bytes:
    """The bytes of a decision's record: the same decision, the same bytes."""
    return _ENCODER.encode(keep(decision))


def unpack(packed: bytes) -> DecisionRecord:
    """The record in `packed`; msgspec.DecodeError (or ValidationError) when it is not one."""
    return _DECODER.decode(packed)


def rerun(record: DecisionRecord) -> tuple[list[int], list[float]]:
    """Draw the slate again from what was recorded: its order and propensities, identical for ever."""
    weights = np.frombuffer(record.draws, dtype="<f4")
    slate = draw(record.seed, weights, record.slots, record.silence)
    return list(slate.order), list(slate.probabilities)


def _blocks(cross: Floats, offers: NDArray[np.intp], assortment: Assortment) -> list[Block]:
    """Cross features by the key they read; distinct keys once when that is smaller."""
    blocks = []
    for match, columns in assortment.families.items():
        begin, end = columns[0], columns[-1] + 1  # they rise
        values = cross[:, begin:end] if end - begin == len(columns) else cross[:, columns]
        rows = b""
        if len(offers) > SMALL:
            distinct, first, inverse = np.unique(
                assortment.codes[match][offers], return_index=True, return_inverse=True
            )
            if len(distinct) * len(columns) * 4 + 2 * len(offers) < values.size * 4:
                values, rows = values[first], inverse.astype("<u2").tobytes()
        blocks.append(Block(list(columns), rows, pack_floats(values)))
    return blocks
