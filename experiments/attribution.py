"""Which outcome belongs to which decision, and what each decision therefore teaches."""

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from models.catalogue import Catalogue
from models.placement import DAY_MS, Placement
from models.record import DecisionRecord, unpack
from models.scorer import Columns, Floats

# How long after its window a decision is still remembered, so that a repeat of it teaches nothing,
# and how long an outcome waits for a decision that has not been read yet.
MEMORY_MS = DAY_MS


class Example(NamedTuple):
    """One offer that was shown and what came of it: `label` 1 for a conversion, 0 for none in time.

    `x` float32 are the values of `names` that the decision saw at the instant `at` (ms).
    """

    decision_id: str
    customer: str
    offer: str
    at: int
    names: tuple[str, ...]
    x: Floats
    label: int
    placement: str


class _Pending(msgspec.Struct, array_like=True):
    """A decision whose window is open; `left` are the places in the slate without an answer so far."""

    customer: str
    placement: str
    at: int
    closes: int
    columns: str
    offers: list[str]
    shared: bytes
    pairs: bytes
    left: list[int]
    converted: dict[int, int]


class _State(msgspec.Struct, array_like=True):
    pending: dict[str, _Pending]
    settled: dict[str, int]
    waiting: dict[str, list[tuple[str, str, int]]]
    names: dict[str, tuple[list[str], list[str]]]
    counts: dict[str, int]
    ignored: dict[str, int]
    watermark: int


@dataclass(slots=True)
class Attribution:
    """Joins outcomes to decisions: a conversion inside the window is a 1, silence to its end a 0.

    Pure: time only moves by `settle`. The order in which decisions and outcomes are told does not matter,
    nor does telling one twice. `counts` says what was taken in, `ignored` what was not and why.
    """

    placements: Mapping[str, Placement]
    zone: ZoneInfo
    columns: Mapping[str, Columns]
    counts: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    watermark: int = -1
    _pending: dict[str, _Pending] = field(default_factory=dict)
    _settled: dict[str, int] = field(default_factory=dict)
    _waiting: dict[str, list[tuple[str, str, int]]] = field(default_factory=dict)
    _names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _parts: dict[str, tuple[list[str], list[str]]] = field(default_factory=dict)
    # What the next settling has to look at, so that it need not walk through all that is pending.
    _closing: list[tuple[int, str]] = field(default_factory=list)
    _answered: set[str] = field(default_factory=set)
    _fading: list[tuple[int, str]] = field(default_factory=list)

    @classmethod
    def of(cls, catalogue: Catalogue) -> "Attribution":
        """Attribution as the placements of a catalogue declare it."""
        columns = {name: each.columns for name, each in catalogue.assortments.items()}
        return cls(catalogue.placements, catalogue.zone, columns)

    def decision(self, record: DecisionRecord | bytes) -> None:
        """Take in a decision; one that is known already, or long over, changes nothing."""
        record = unpack(record) if isinstance(record, bytes) else record
        identity = record.decision_id
        placement = self.placements.get(record.placement)
        if placement is None:
            self.ignored["decision_of_unknown_placement"] += 1
            return
        if identity in self._pending or identity in self._settled:
            self.ignored["repeated_decision"] += 1
            return
        closes = placement.closes(record.at, self.zone)
        if closes + MEMORY_MS <= self.watermark:
            self.ignored["decision_too_late"] += 1
            return
        columns = self.columns[record.placement]
        if record.columns != columns.digest:
            # Its values cannot be named: the features or attributes have changed since.
            self.ignored["decision_of_other_columns"] += 1
            return
        if columns.digest not in self._names:
            self._names[columns.digest] = columns.names
            self._parts[columns.digest] = (list(columns.customer), list(columns.offers))
        self._pending[identity] = _Pending(
            customer=record.customer,
            placement=record.placement,
            at=record.at,
            closes=closes,
            columns=columns.digest,
            offers=list(record.offers),
            shared=record.customer_part().astype("<f4").tobytes(),
            pairs=record.shown().astype("<f4").tobytes(),
            left=list(range(len(record.offers))),
            converted={},
        )
        heapq.heappush(self._closing, (closes, identity))
        self.counts["decisions"] += 1
        for offer, kind, time in self._waiting.pop(identity, ()):
            self.outcome(identity, offer, kind, time)

    def outcome(self, decision_id: str, offer: str, kind: str, time: int) -> None:
        """Take in what came of an offer of a decision at the instant `time` (ms)."""
        pending = self._pending.get(decision_id)
        if pending is None:
            if decision_id in self._settled:
                self.ignored["outcome_after_settlement"] += 1
            else:
                waiting = self._waiting.setdefault(decision_id, [])
                if (offer, kind, time) not in waiting:
                    waiting.append((offer, kind, time))
            return
        if offer not in pending.offers:
            self.ignored["outcome_of_offer_not_in_decision"] += 1
            return
        placement = self.placements.get(pending.placement)
        if placement is not None and kind != placement.reward:
            self.counts[f"outcomes_{kind}"] += 1
            return
        if time < pending.at:
            self.ignored["outcome_before_decision"] += 1
            return
        if time >= pending.closes:
            self.ignored["outcome_outside_window"] += 1
            return
        place = pending.offers.index(offer)
        if place in pending.converted or place not in pending.left:
            self.ignored["repeated_outcome"] += 1
            pending.converted[place] = min(time, pending.converted.get(place, time))
            return
        pending.converted[place] = time
        self._answered.add(decision_id)
        self.counts[f"outcomes_{kind}"] += 1

    def settle(self, watermark: int) -> list[Example]:
        """The examples that are certain once everything before `watermark` (ms) has been read.

        Conversions as they happen, the rest when the window has closed; in the order of those
        instants, then of decision ids, then of positions. Each pair is given exactly once.
        """
        self.watermark = max(self.watermark, watermark)
        over = self._over()
        found: list[tuple[int, str, int, int]] = []
        for identity in self._answered.union(over):
            found += self._certain(identity, identity in over)
        examples = [self._example(*each) for each in sorted(found)]
        for identity in over:
            pending = self._pending.pop(identity)
            self._settled[identity] = pending.closes
            heapq.heappush(self._fading, (pending.closes, identity))
        self._answered = {identity for identity in self._answered if identity in self._pending}
        self._forget()
        self.counts["examples"] += len(examples)
        self.counts["positives"] += sum(example.label for example in examples)
        return examples

    def _over(self) -> set[str]:
        """The decisions whose window has closed by now."""
        over = set()
        while self._closing and self._closing[0][0] <= self.watermark:
            over.add(heapq.heappop(self._closing)[1])
        return over

    def _certain(self, identity: str, over: bool) -> list[tuple[int, str, int, int]]:
        """(when it became certain, decision, place in its slate, label) of what can be learned now."""
        pending = self._pending[identity]
        certain, left = [], []
        for place in pending.left:
            time = pending.converted.get(place)
            if time is not None and time < self.watermark:
                certain.append((time, identity, place, 1))
            elif over:
                certain.append((pending.closes, identity, place, 0))
            else:
                left.append(place)
        pending.left = left
        if all(place not in left for place in pending.converted):
            self._answered.discard(identity)
        return certain

    @property
    def pending(self) -> int:
        """Decisions whose window is still open."""
        return len(self._pending)

    def dump(self) -> bytes:
        """Everything remembered, as MessagePack."""
        used = {pending.columns for pending in self._pending.values()}
        return msgspec.msgpack.encode(
            _State(
                self._pending,
                self._settled,
                self._waiting,
                {digest: parts for digest, parts in self._parts.items() if digest in used},
                dict(self.counts),
                dict(self.ignored),
                self.watermark,
            )
        )

    def restore(self, packed: bytes) -> None:
        """Go on from a dump."""
        state = msgspec.msgpack.decode(packed, type=_State)
        self._pending, self._settled, self._waiting = state.pending, state.settled, state.waiting
        self._parts = state.names
        self._names = {digest: (*shared, *pairs) for digest, (shared, pairs) in state.names.items()}
        self.counts, self.ignored = Counter(state.counts), Counter(state.ignored)
        self.watermark = state.watermark
        self._closing = sorted((pending.closes, identity) for identity, pending in self._pending.items())
        self._fading = sorted((closes, identity) for identity, closes in self._settled.items())
        self._answered = {
            identity
            for identity, pending in self._pending.items()
            if any(place in pending.left for place in pending.converted)
        }

    def _example(self, _: int, identity: str, place: int, label: int) -> Example:
        pending = self._pending[identity]
        shared = np.frombuffer(pending.shared, dtype="<f4")
        pairs = np.frombuffer(pending.pairs, dtype="<f4").reshape(len(pending.offers), -1)
        return Example(
            decision_id=identity,
            customer=pending.customer,
            offer=pending.offers[place],
            at=pending.at,
            names=self._names[pending.columns],
            x=np.concatenate([shared, pairs[place]]),
            label=label,
            placement=pending.placement,
        )

    def _forget(self) -> None:
        while self._fading and self._fading[0][0] + MEMORY_MS <= self.watermark:
            del self._settled[heapq.heappop(self._fading)[1]]
        for identity, outcomes in list(self._waiting.items()):
            kept = [each for each in outcomes if each[2] + MEMORY_MS > self.watermark]
            self.ignored["outcome_of_unknown_decision"] += len(outcomes) - len(kept)
            if kept:
                self._waiting[identity] = kept
            else:
                del self._waiting[identity]
