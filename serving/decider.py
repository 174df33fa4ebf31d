"""One decision from asking to recorded: the path that both doors share."""

import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from events.codec import render_time
from events.faults import did_you_mean
from events.identity import id_key, is_customer, mint, partition_of
from events.setup import Clock
from features.attribute_fields import LOADED_KEY, AttributesDamaged, fields_of, held_of
from features.attributes import Held, nothing_held
from features.feast_store import FIELDS, WATERMARKS_KEY, feast_key, join_parts
from features.fold import BlobDamaged, State, UnknownPlan
from features.full_row import full_row
from features.plan import Plan
from features.row import StateAhead, cross
from features.warming import Mask
from models.assortment import Assortment
from models.catalogue import Catalogue
from models.decision import Decision, Request, decide, decision_id
from models.eligibility import Indices
from models.placement import BadContext
from models.record import pack
from models.scorer import Floats
from models.scorers.blend import Blend
from serving.everybody_room import EverybodyRoom, Seen
from serving.ledger import Ledger, request_key
from serving.messages import LONGEST_TEXT, DecisionAnswer, DecisionRequest, RankedOffer, When, instant
from serving.metrics import Metrics
from serving.model_shelf import ModelShelf
from serving.plan_room import PlanRoom
from serving.problems import Fault, Problem, invalid, show
from serving.redis_line import Command, RedisLine
from serving.relay import Recorded, Relay

ALIASES_REMEMBERED: Final = 100_000
log = logging.getLogger("kairos.serving")
_encode = msgspec.json.Encoder().encode


class NotKnown(Exception):
    """A door that fails closed asked for a customer of whom nothing can be read."""


class Known(NamedTuple):
    """What was read of one customer: `state` is None for someone unseen.

    `watermark` (ms) is how far the customer's partition is folded, None when that is not known or the
    state cannot be read: every value of behaviour is then missing. `attributes` are of batch tables; `at` is
    the instant to decide for, `mask` what of the rows is warming, `seen` what is counted over everybody.
    """

    customer: str
    state: State | None
    watermark: int | None
    at: int
    attributes: Held
    mask: Mask
    seen: Seen | None


class Decided(NamedTuple):
    """A decision that stands: `answer` is JSON, the same bytes however often it is asked."""

    decision_id: str
    customer: str
    answer: bytes
    repeat: bool


class Decider:
    """Reads, decides and records; holds nothing of a customer but which foreign id is whose.

    `now` gives the wall clock's seconds; it counts with `clock="wall"` only. Errors of all methods:
    `Problem` for what the caller can mend, `RedisAway`.
    """

    def __init__(
        self,
        *,
        project: str,
        partitions: int,
        clock: Clock,
        kinds: frozenset[str],
        plan: Plan,
        catalogue: Catalogue,
        line: RedisLine,
        ledger: Ledger,
        relay: Relay,
        shelf: ModelShelf,
        plans: PlanRoom,
        everybody: EverybodyRoom,
        metrics: Metrics,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._project, self._partitions, self._clock, self._kinds = project, partitions, clock, kinds
        self._plan, self._catalogue = plan, catalogue
        self._tables = plan.playbook.attributes
        self._fields = (*FIELDS, *fields_of(self._tables))
        names = [table.name for table in self._tables]
        self._asked_beside: tuple[Command, ...] = (("HMGET", LOADED_KEY, *names),) if names else ()
        self._line, self._ledger, self._relay = line, ledger, relay
        self._shelf, self._plans, self._everybody = shelf, plans, everybody
        self._metrics, self._now = metrics, now
        self._aliases: OrderedDict[str, str] = OrderedDict()

    async def decide(self, ask: DecisionRequest, *, closed: bool = False) -> Decided:
        """Decide one request, or give the answer it got before; `closed` refuses to decide on defaults.

        Errors: `NotKnown` when `closed` and the customer's state is absent, unreadable or of unknown age.
        """
        started = time.perf_counter()
        assortment = self._assortment(ask.placement)
        at = self._asked(ask.at)
        request_id = ask.request_id or secrets.token_hex(12)
        customer = await self.customer(ask.customer, "body.customer")
        first, known = await self._read(customer, at, ("GET", request_key(customer, request_id)))
        identity = decision_id(customer, request_id)
        if first is None:
            if isinstance(known, Problem):
                raise known
            if closed and (known.state is None or known.watermark is None):
                raise NotKnown(f"{customer}: nothing can be read of this customer")
            decision = self._decide(ask, request_id, known, assortment, closed)
            answer = self._answer(decision, known)
            record = pack(decision)
            first = await self._ledger.record(customer, request_id, identity, answer, record)
            if first is None:
                self._relay.hand(Recorded(customer, identity, record))
                self._metrics.decisions.labels(ask.placement, decision.scored.rung).inc()
                self._metrics.seconds.observe(time.perf_counter() - started)
                return Decided(identity, customer, answer, False)
        self._metrics.repeats.inc()
        return Decided(identity, customer, first, True)

    async def look(self, reference: str, where: str) -> Known:
        """Read what is known of a customer now."""
        customer = await self.customer(reference, where)
        _, known = await self._read(customer, None, ("PING",))
        if isinstance(known, Problem):
            raise known
        return known

    async def customer(self, reference: str, where: str) -> str:
        """Resolve `kind:value` or a minted id; an id nobody linked yet is the customer it would become."""
        if is_customer(reference):
            return reference
        found = self._aliases.get(reference)
        if found is not None:
            self._aliases.move_to_end(reference)
            return found
        kind, colon, value = reference.partition(":")
        if not colon or not value or kind not in self._kinds or len(reference) > LONGEST_TEXT:
            kinds = ", ".join(f"{each}:..." for each in sorted(self._kinds))
            raise invalid(where, f"one of {kinds}, or an id that Kairos minted", show(reference))
        (owner,) = await self._line.ask(("GET", id_key(kind, value)))
        if owner is None:
            return mint(kind, value)
        found = str(owner, "ascii")
        self._aliases[reference] = found
        if len(self._aliases) > ALIASES_REMEMBERED:
            self._aliases.popitem(last=False)
        return found

    async def _read(
        self, customer: str, at: int | None, beside: Command
    ) -> tuple[bytes | None, Known | Problem]:
        """One round trip: `beside`'s reply, and what is known, or why that instant cannot be decided."""
        reply, (recent, settled, *fields), mark, *loaded = await self._line.ask(
            beside,
            ("HMGET", feast_key(self._project, customer), *self._fields),
            ("HGET", WATERMARKS_KEY, partition_of(customer, self._partitions)),
            *self._asked_beside,
        )
        watermark = None if mark is None else int(mark)
        state: State | None = None
        readable, mask = True, self._plans.mask
        if recent:
            try:
                state, mask = await self._open(join_parts((recent, settled)) or b"")
            except (BlobDamaged, UnknownPlan, ValueError):
                self._metrics.unreadable.inc()
                readable = False
        try:
            when = self._instant(at, state, watermark)
        except Problem as problem:
            return reply, problem
        # What cannot be read is missing, not empty: no watermark says so.
        attributes = self._attributes(fields, loaded[0] if loaded else [], when)
        seen = await self._everybody.catch_up(watermark)
        read_up_to = watermark if readable else None
        return reply, Known(customer, state, read_up_to, when, attributes, mask, seen)

    async def _open(self, blob: bytes) -> tuple[State, Mask]:
        try:
            return self._plans.open(blob)
        except UnknownPlan:
            await self._plans.refresh()  # the stream may have changed its plan this very second
            return self._plans.open(blob)

    def _attributes(self, fields: list[bytes | None], loaded: list[bytes | None], at: int) -> Held:
        try:
            return held_of(self._tables, fields, loaded, at)
        except AttributesDamaged:
            self._metrics.unreadable.inc()
            return nothing_held(self._tables)

    def _asked(self, at: When | None) -> int | None:
        if at is None:
            return None
        if self._clock != "events":
            raise invalid("body.at", "no instant (the server's clock is the wall's)", show(at))
        return instant(at, "body.at")

    def _instant(self, at: int | None, state: State | None, watermark: int | None) -> int:
        newest = None if state is None or state.newest < 0 else state.newest
        if at is not None:
            if newest is not None and newest >= at:
                raise _ahead(at, newest)
            return at
        if self._clock == "wall":
            # Another machine's clock may be ahead of ours: what it told us has happened all the same.
            now = int(self._now() * 1000)
            return now if newest is None or newest < now else newest + 1
        if watermark is None:
            if newest is None:
                raise Problem(
                    "clock-not-started",
                    "no watermark yet: publish a mark, or send `at`",
                    Fault("body.at", "an instant, or a log with a mark in it", "neither"),
                )
            return newest + 1
        return watermark if newest is None or newest < watermark else newest + 1

    def _assortment(self, placement: str) -> Assortment:
        assortment = self._catalogue.assortments.get(placement)
        if assortment is None:
            known = did_you_mean(placement, self._catalogue.assortments)
            raise invalid("body.placement", f"a placement of the catalogue ({known})", show(placement))
        return assortment

    def _decide(
        self, ask: DecisionRequest, request_id: str, known: Known, assortment: Assortment, closed: bool
    ) -> Decision:
        plan, state, at = self._plan, known.state, known.at
        everybody = None if known.seen is None else known.seen.everybody
        shared = None if known.seen is None else known.seen.offers[ask.placement]

        def cross_for(offers: Indices) -> Floats:
            keys, theirs = assortment.keys_of(offers), None if shared is None else shared[offers]
            values = cross(plan, state, at, keys, known.watermark, everybody, theirs)
            return known.mask.on_cross(values, at)

        partition = partition_of(known.customer, self._partitions)
        folded = -1 if state is None else state.applied.get(partition, -1)
        request = Request(
            request_id=request_id, customer=known.customer, context=ask.context, limit=ask.limit
        )

        def with_models(scorers: Blend) -> Decision:
            return decide(
                *(request, ask.placement, self._catalogue, features, cross_for, scorers, at),
                folded=folded,
                everybody=None if known.seen is None else known.seen.cut.plain,
            )

        try:
            features = full_row(plan, state, known.attributes, at, known.watermark, everybody)
            features = known.mask.on_row(features, at)
            try:
                return with_models(self._shelf.blend(ask.placement))
            except (StateAhead, BadContext):
                raise
            except Exception:
                if closed:
                    raise
                # A model that fails must not silence the feed: the prior answers, and the rung says so.
                self._metrics.model_failures.inc()
                log.exception("placement %s: the models failed, the declared prior answers", ask.placement)
                return with_models(self._shelf.without_models(ask.placement))
        except StateAhead:
            raise _ahead(at, state.newest if state else at) from None
        except BadContext as bad:
            raise invalid(f"body.{bad.place}", bad.expected, bad.found) from None

    def _answer(self, decision: Decision, known: Known) -> bytes:
        return _encode(
            DecisionAnswer(
                decision_id=decision.decision_id,
                customer=known.customer,
                placement=decision.placement,
                at=render_time(decision.at),
                offers=[
                    RankedOffer(
                        offer=chosen.offer,
                        treatment=dict(chosen.treatment),
                        probability=chosen.probability,
                        propensity=chosen.propensity,
                        position=chosen.position,
                    )
                    for chosen in decision.chosen
                ],
                unknown_customer=known.state is None,
                rung=decision.scored.rung,
                models=dict(decision.models),
            )
        )


def _ahead(at: int, newest: int) -> Problem:
    found = f"an event of {render_time(newest)} in the state"
    return Problem(
        "state-ahead",
        f"body.at: expected an instant after everything folded, found {found}; a state cannot look back",
        Fault("body.at", f"an instant after {render_time(newest)}", render_time(at)),
    )
