"""The replay: rounds of one local day, each decided before it is published.

A round asks every decision of the day, publishes what then happened, and waits until the stream
reports that day folded and learned. So every row holds earlier days only, and nothing is learned
before it was predicted.
"""

import contextlib
import time
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import redis

from events import topics
from events.bus import Bus, BusUnavailable, Record
from events.faults import Refusal
from kairos.demo.door import Door, DoorError, batches
from kairos.demo.live import LiveView, Pulse
from kairos.demo.predictions import MODELS, Predictions
from kairos.demo.publisher import Publisher
from kairos.demo.shopping import Day, Moment, Shopping, card
from kairos.stack import Stack
from kairos.train import NOT_YET
from models.record import DecisionRecord, unpack

DOMAINS = ("shop", "marketing", "loyalty")
MARKED = (*DOMAINS, topics.DECISIONS, topics.OUTCOMES)
FEED, COUPONS = "feed", "coupon_book"
PATIENCE_S = 300.0
FOLLOWED_S = 5.0  # serving looks for a new champion every second
OUTCOMES_A_POST = 100


class NotFolded(Refusal):
    """The stream did not report a day folded and learned in time."""


@dataclass
class Replay:
    """Replays `shopping` through a running `stack`; `offers` and `coupons` then hold what was predicted.

    `train_on` is the number of the day before which LightGBM is trained and named champion.
    """

    stack: Stack
    shopping: Shopping
    bus: Bus
    pulse: Pulse
    view: LiveView
    train_on: int
    offers: Predictions = field(default_factory=Predictions)
    coupons: Predictions = field(default_factory=Predictions)
    served: list[DecisionRecord] = field(default_factory=list)
    eligibility_differs: int = 0
    trained: bool = False
    until: int = 0

    def __post_init__(self) -> None:
        self._door = Door(self.stack.address)
        self._publisher = Publisher(self.bus, self.stack.settings.partitions)
        self._redis = redis.Redis.from_url(self.stack.settings.redis)
        self._records = _Tail(self.bus, topics.DECISIONS)

    def run(self) -> None:
        """Replay every day; errors of the stack or the service surface as they are."""
        for number, day in enumerate(self.shopping.days()):
            if number == 0:
                self._introduce(day)
            self._wait_for(day.start)
            if number == self.train_on:
                self._train()
            self._decide(number, day)
            self._publisher.day(day)
            self._publisher.mark(MARKED, day.end)
            self.offers.close_day()
            self.coupons.close_day()
            self.pulse.day, self.pulse.days = str(day.day), number + 1
            self.pulse.events = self._publisher.published
            self._count()
            self.view.beat()
            self.until = day.end
        self._wait_for(self.until)
        self._count()

    def _introduce(self, first: Day) -> None:
        """Tell who is who, then what was mailed so far: topics have no order between them, but a mark has.

        Nor have a topic's partitions. What was mailed weeks apart is told one instant after the other, or it
        would hang on who is read first what the counts over everybody take for too late.
        """
        known = _earliest(self.shopping, first)
        self._publisher.link(self.shopping.households(), known)
        self._publisher.mark(MARKED, known + 1)
        self._wait_for(known + 1)
        mailed = self.shopping.sends_before()
        for at in sorted(set(mailed.time.tolist())):
            self._publisher.sends(mailed[mailed.time == at])
            self._publisher.mark(MARKED, at + 1)
            self._wait_for(at + 1)
        self._publisher.mark(MARKED, first.start)

    def close(self) -> None:
        """Let the connections go."""
        self._door.close()
        self._redis.close()

    def _decide(self, number: int, day: Day) -> None:
        asked = [(FEED, moment, _request(FEED, moment, 10, {})) for moment in day.moments]
        # Which coupon of a pool: asked only where one was redeemed, as only there the answer can be judged.
        asked += [
            (COUPONS, moment, _request(COUPONS, moment, 250, {"campaign": campaign}))
            for moment in day.moments
            for campaign in sorted({campaign for campaign, _ in moment.redeemed})
        ]
        answers = self._door.post_all("/v1/decisions", [body for _, _, body in asked])
        records = self._records.until({answer["decision_id"] for answer, _ in answers}, self.stack)
        outcomes: list[dict[str, Any]] = []
        for (placement, moment, _), (answer, took) in zip(asked, answers, strict=True):
            record = records[answer["decision_id"]]
            offers = list(record.offers)
            if placement == FEED:
                self.pulse.decision_ms.append(took)
                self.eligibility_differs += sorted(offers) != list(moment.campaigns)
                taken = frozenset(campaign for campaign, _ in moment.redeemed)
                self.served.append(record)
            else:
                taken = frozenset(coupon for _, coupon in moment.redeemed)
            scores = {name: record.scores[name] for name in MODELS if name in record.scores}
            into = self.offers if placement == FEED else self.coupons
            into.predict(number, moment, offers, scores, taken)
            outcomes += [
                {
                    "decision_id": answer["decision_id"],
                    "offer": offer,
                    "kind": "conversion",
                    "time": day.end - 1000,
                    "outcome_id": f"{answer['decision_id']}-{offer}",
                }
                for offer in offers
                if offer in taken
            ]
        for batch in batches(outcomes, OUTCOMES_A_POST):
            self._door.post("/v1/outcomes", list(batch))
        self.pulse.decisions += len(asked)

    def _wait_for(self, instant: int) -> None:
        """Wait until states and models include everything before `instant`: a watermark, not a sleep."""
        ends = time.monotonic() + PATIENCE_S
        while True:
            marks: dict[bytes, bytes] = {}
            with contextlib.suppress(redis.RedisError):  # a server that was killed comes back
                marks = cast("dict[bytes, bytes]", self._redis.hgetall("kairos:watermarks"))
            if len(marks) == self.stack.settings.partitions and min(map(int, marks.values())) >= instant:
                serving = self._door.get("/v1/models")
                learned = serving["placements"][FEED].get("river") or {}
                if (learned.get("learned_to") or 0) >= instant:
                    self.pulse.learned = learned["n"]
                    return
            if time.monotonic() > ends:
                raise NotFolded(
                    f"expected the stream to report {instant} folded and learned within {PATIENCE_S:.0f} s, "
                    f"found watermarks {marks}; see the logs in {self.stack.settings.run_dir / 'logs'}"
                )
            self.stack.check()
            time.sleep(0.002)

    def _train(self) -> None:
        """Train LightGBM on what was served so far and wait until serving scores with it."""
        code = self.stack.once("train", "--placement", FEED, COUPONS, accept=(NOT_YET,))
        ends = time.monotonic() + (PATIENCE_S if code == 0 else FOLLOWED_S)
        while not self._batch_models(FEED if code else COUPONS):
            if time.monotonic() > ends:
                if code == NOT_YET:
                    return
                raise DoorError(f"expected /v1/models to name the new champion within {PATIENCE_S:.0f} s")
            self.stack.check()
            time.sleep(0.05)
        self.pulse.models, self.trained = "river + lightgbm", True

    def _batch_models(self, placement: str) -> bool:
        return bool(self._door.get("/v1/models")["placements"][placement].get("lightgbm"))

    def models(self) -> dict[str, str]:
        """Which version of each model serves now, by placement."""
        serving = self._door.get("/v1/models")["placements"]
        return {
            f"{kind} ({placement})" if placement != FEED else kind: found[kind]["version"]
            for placement, found in serving.items()
            for kind in ("river", "lightgbm")
            if placement in (FEED, COUPONS) and found.get(kind)
        }

    def _count(self) -> None:
        if self.pulse.models == "prior" and self.pulse.learned:
            self.pulse.models = "river"
        with contextlib.suppress(BusUnavailable):
            self.pulse.triggers = _written(self.bus, topics.TRIGGERS)
            self.pulse.pushes = _written(self.bus, topics.PUSH_COMMANDS)
            self.pulse.dead_letters = _written(self.bus, topics.DEAD_LETTERS)


class _Tail:
    """Follows a topic from now on and hands out decision records by id."""

    def __init__(self, bus: Bus, topic: str) -> None:
        self._readers = [bus.reader(topic, n, bus.last(topic, n)) for n in range(bus.partitions(topic))]

    def until(self, wanted: set[str], stack: Stack) -> dict[str, DecisionRecord]:
        """The records of exactly the `wanted` decisions, once all of them are on the topic."""
        found: dict[str, DecisionRecord] = {}
        ends = time.monotonic() + PATIENCE_S
        while len(found) < len(wanted):
            for reader in self._readers:
                records: list[Record] = []
                with contextlib.suppress(BusUnavailable):
                    records = reader.read(1_000, 2)
                for record in records:
                    if record.value[:1] == b"{":  # a mark of our own
                        continue
                    decision = unpack(record.value)
                    if decision.decision_id in wanted:
                        found[decision.decision_id] = decision
            stack.check()
            if time.monotonic() > ends:
                missing = len(wanted) - len(found)
                raise NotFolded(f"{missing} of {len(wanted)} decision records are not on topic decisions")
        return found


def _written(bus: Bus, topic: str) -> int:
    return sum(
        max(0, bus.last(topic, n) - bus.first(topic, n) + 1) if bus.last(topic, n) >= 0 else 0
        for n in range(bus.partitions(topic))
    )


def _request(placement: str, moment: Moment, limit: int, context: dict[str, Any]) -> dict[str, Any]:
    suffix = "-".join(["", *map(str, context.values())])
    return {
        "customer": f"card:{card(moment.household)}",
        "placement": placement,
        "context": context,
        "limit": limit,
        "request_id": f"{placement}-{moment.household}-{moment.at}{suffix}",
        "at": moment.at,
    }


def _earliest(shopping: Shopping, first: Day) -> int:
    sends = shopping.sends_before()
    return int(min(sends.time.min(), first.start)) - 1000 if len(sends) else first.start - 1000


def latency(times_ms: list[float]) -> dict[str, float]:
    """p50 and p99 of round trips, ms."""
    p50, p99 = np.percentile(times_ms, [50, 99]) if times_ms else (0.0, 0.0)
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}
