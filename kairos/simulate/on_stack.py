"""The same town over the real stack: events over the bus, decisions over HTTP, messages as they are
pushed.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast
from zlib import crc32

import numpy as np
import orjson
import redis

from events import topics
from events.bus import Bus, BusUnavailable, Message
from events.contract import Contracts
from events.faults import Refusal
from events.identity import Identities
from experiments.world.happening import START, Happened, Moment
from experiments.world.live import STEP
from experiments.world.needs import HOUR
from experiments.world.people import device
from experiments.world.policy import CARD
from experiments.world.response import Deal
from experiments.world.town import Town
from kairos.demo.door import Door
from kairos.demo.publisher import Publisher
from kairos.stack import Stack

PATIENCE_S: Final = 60.0
DEVICES: Final = 2


class NotFolded(Refusal):
    """The stream did not say in time that it has folded what was published."""


class OnStack:
    """Lives in a town on a running stack, which sees everything as soon as it has folded it.

    Every moment waits for the stream to have folded what was before it, so a row holds exactly that. Messages
    are delivered at the end of a step (15 minutes, an hour when nothing happens) by which they were pushed.
    """

    def __init__(
        self, stack: Stack, bus: Bus, town: Town, contracts: Contracts, deals: dict[str, Deal]
    ) -> None:
        self._stack, self._bus, self._town, self._deals = stack, bus, town, deals
        self._types = contracts.types
        self._door = Door(stack.address)
        self._partitions = stack.settings.partitions
        self._publisher = Publisher(bus, self._partitions)
        self._topics = sorted({each.topic for each in contracts.types.values()})
        self._marked = (*self._topics, topics.DECISIONS, topics.OUTCOMES)
        self._redis = redis.Redis.from_url(stack.settings.redis)
        self._identities = Identities(self._redis)
        self._people: dict[str, int] = {}
        self._commands = [
            bus.reader(topics.PUSH_COMMANDS, n, bus.last(topics.PUSH_COMMANDS, n))
            for n in range(bus.partitions(topics.PUSH_COMMANDS))
        ]
        self._decided: dict[tuple[int, ...], str] = {}
        self._pending: list[Happened] = []
        self.times_ms: list[float] = []
        self.pushed = 0
        self.outcomes = 0

    def steps(self) -> Iterator[int]:
        """Live to the end; each step's end (ms)."""
        town = self._town
        self._tell(START)
        for until in range(START + STEP, town.end + 1, STEP):
            while (at := town.next_at()) < until:
                happened, moments = town.advance(at + 1)
                self._pending += happened
                if moments:
                    self._tell(at)
                    self._decide(moments)
                self._report()
            if self._pending or (until - START) % HOUR == 0:
                self._tell(until)
                self._receive(until)
            self._report()
            yield until

    def close(self) -> None:
        """Let the connections go."""
        self._door.close()
        self._redis.close()
        for reader in self._commands:
            reader.close()

    @property
    def published(self) -> int:
        """How many events were published."""
        return self._publisher.published

    def _decide(self, moments: Sequence[Moment]) -> None:
        """Ask for a card each and show it."""
        bodies = [
            {
                "customer": f"device:{moment.device}",
                "placement": CARD,
                "request_id": "-".join(map(str, moment.key)),
                "at": moment.at,
            }
            for moment in moments
        ]
        for moment, (answer, took) in zip(moments, self._door.post_all("/v1/decisions", bodies), strict=True):
            self.times_ms.append(took)
            offers = answer["offers"]
            if offers:
                self._decided[moment.key] = answer["decision_id"]
                self._town.answer(moment, self._deals[offers[0]["offer"]])

    def _receive(self, at: int) -> None:
        """Deliver the messages that were pushed by now."""
        for reader in self._commands:
            with contextlib.suppress(BusUnavailable):
                for record in reader.read(1_000, 2):
                    self._deliver(orjson.loads(record.value), at)

    def _deliver(self, command: dict[str, Any], at: int) -> None:
        person = self._person(command["customer"])
        if person is None or at >= self._town.end:
            return
        number = 2 if 0 <= self._town.people.second[person] <= at - START else 1
        key = (self._town.seed, person, crc32(command["id"].encode()))
        moment = Moment(at, person, device(person, number), True, key)
        self._decided[key] = command["decision_id"]
        self.pushed += self._town.answer(moment, self._deals[command["offer"]])

    def _person(self, customer: str) -> int | None:
        """Who a customer is: asked of the record of ids, as an app's back end would know its own."""
        if customer not in self._people:
            ids = [
                ("device", device(person, number))
                for person in range(self._town.customers)
                for number in range(1, DEVICES + 1)
            ]
            for n, owner in enumerate(self._identities.lookup_many(ids)):
                self._people.setdefault(owner, n // DEVICES)
        return self._people.get(customer)

    def _report(self) -> None:
        """Tell what came of what was shown."""
        told = [
            {
                "decision_id": self._decided[each.moment.key],
                "offer": each.deal.offer,
                "kind": "conversion",
                "time": each.at,
            }
            for each in self._town.conversions
        ]
        self._town.conversions = []
        if told:
            self._door.post("/v1/outcomes", told)
            self.outcomes += len(told)

    def _tell(self, before: int) -> None:
        """Publish what happened, say that it was all before an instant, and wait until it is folded."""
        self._publisher.publish([self._message(each) for each in self._pending])
        self._pending = []
        self._publisher.mark(self._marked, before)
        ends = time.monotonic() + PATIENCE_S
        while self._folded() < before:
            if time.monotonic() > ends:
                logs = self._stack.settings.run_dir / "logs"
                raise NotFolded(
                    f"expected the stream to have folded everything before {before} ms within "
                    f"{PATIENCE_S:.0f} s, found {self._folded()}; see the logs in {logs}"
                )
            self._stack.check()
            time.sleep(0.002)

    def _folded(self) -> int:
        marks = cast("dict[bytes, bytes]", self._redis.hgetall("kairos:watermarks"))
        return min(map(int, marks.values())) if len(marks) == self._partitions else -1

    def _message(self, each: Happened) -> Message:
        """An event as its domain publishes it."""
        contract = self._types[each.type]
        stamp = datetime.fromtimestamp(each.at / 1000, UTC).isoformat(timespec="milliseconds")
        ids = {"device": each.device, "account": each.account}
        data = {member: ids[kind] for kind, member in contract.customer.items()} | each.fields
        if contract.id_field:
            data[contract.id_field] = each.id
        if contract.time_field:
            data[contract.time_field] = stamp
        key = str(each.device or each.account).encode()
        body = {
            "specversion": "1.0",
            "type": each.type,
            "id": each.id,
            "source": contract.topic,
            "time": stamp,
        }
        value = orjson.dumps({**body, "data": data})
        return Message(contract.topic, crc32(key) % self._partitions, key, value)


def summary(lived: OnStack, town: Town, seconds: float, letters: int) -> dict[str, Any]:
    """What came of it, for people and programs."""
    weeks = town.customers * town.days / 7
    p50, p99 = np.percentile(lived.times_ms, [50, 99]) if lived.times_ms else (0.0, 0.0)
    return {
        "customers": town.customers,
        "days": town.days,
        "seed": town.seed,
        "seconds": round(seconds, 1),
        "customer_days_a_second": round(town.customers * town.days / seconds, 1),
        "events": lived.published,
        "decisions": len(lived.times_ms),
        "decision_ms": {"p50": round(float(p50), 2), "p99": round(float(p99), 2)},
        "messages": lived.pushed,
        "outcomes": lived.outcomes,
        "taken": town.tally.taken,
        "opted_out": town.tally.opted_out,
        "dead_letters": letters,
        "gain": float(town.tally.gain.sum() / weeks),
    }
