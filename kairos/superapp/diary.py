"""What happens, written down as the domains publish it: CloudEvents that keep the playbook's contract."""

import heapq
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import orjson

from events.contract import Contracts
from kairos.superapp.person import Person

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
LATE = {"content": (0.02, 20 * HOUR), "payments": (0.003, 5 * MINUTE)}
"""Of a domain's events, how many are sent late, and by how much at most (ms): a phone without network."""

REPEATED = 0.005
"""Of all events, how many are sent twice."""


class Published(NamedTuple):
    """What a domain publishes at `sent`: the bytes of an event that happened at `time` (both ms)."""

    sent: int
    topic: str
    key: bytes
    value: bytes
    time: int


class Diary:
    """Takes down what happens, in any order; hands out what is published, in the order of its sending."""

    def __init__(self, contracts: Contracts) -> None:
        self._types = contracts.types
        self._waiting: list[tuple[int, int, Published]] = []
        self._noted = 0

    def note(self, person: Person, type_: str, at: float, **fields: object) -> None:
        """Write down that an event of this type happened to the customer at `at` (ms)."""
        contract = self._types[type_]
        ids = {member: person.id_of(kind) for kind, member in contract.customer.items()}
        time, serial = int(at), person.serial()
        stamp = datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="milliseconds")
        data = {**({contract.id_field: serial} if contract.id_field else {}), **ids, **fields}
        data |= {contract.time_field: stamp} if contract.time_field else {}
        body = {"specversion": "1.0", "type": type_, "id": serial, "source": contract.topic}
        value = orjson.dumps({**body, "time": stamp, "data": data})
        # The newest id names the record: a link then precedes whatever else its new id does.
        key = list(ids.values())[-1].encode()
        sent = time + person.rng.randrange(50, 2_000)
        often, by = LATE.get(contract.topic, (0.0, 0))
        if not contract.link and person.chance(often):
            sent += int(by * person.rng.random())
        self._put(Published(sent, contract.topic, key, value, time))
        if person.chance(REPEATED):
            self._put(
                Published(sent + person.rng.randrange(1_000, 600_000), contract.topic, key, value, time)
            )

    def link(self, person: Person, kind: str, type_: str, at: float) -> float:
        """Tell whose this id is, unless that was told before `at`; the instant from which it may act."""
        if person.linked.get(kind, at + 1) <= at:
            return at
        person.linked[kind] = at + 30 * SECOND
        self.note(person, type_, at)
        return at + 30 * SECOND

    def until(self, instant: int) -> Iterator[Published]:
        """What is sent before the instant (ms), in that order; everything is handed out once."""
        while self._waiting and self._waiting[0][0] < instant:
            yield heapq.heappop(self._waiting)[2]

    def _put(self, published: Published) -> None:
        self._noted += 1
        heapq.heappush(self._waiting, (published.sent, self._noted, published))
