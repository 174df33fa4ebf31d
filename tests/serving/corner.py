"""A corner shop small enough to know by heart, and what its tests ask of real servers."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import redis

from events.bus import Bus, Record
from events.envelope import Event
from events.identity import mint
from events.topics import DECISIONS
from features.declare import load
from features.feast_store import RedisStateStore
from features.fold import empty, encode, fold
from features.plan import Plan, compile_plan
from kairos.history import everything
from models.record import DecisionRecord, unpack
from serving import app
from tests.service import Service

DAY = 86_400_000
MORNING = 1_500_000_000_000  # 2017-07-14T02:40:00Z
BOUGHT = "2017-07-14T02:40:00Z"
PARTITIONS = 2

FILES = {
    "playbook.toml": """
name = "corner"
timezone = "America/New_York"
lateness = "1d"
freshness = "2d"

[[aggregate]]
name = "spend"
event = "purchase"
value = "amount"
functions = ["count", "sum"]
windows = ["7d"]
unit = "USD"
meaning = "what was paid"

[[aggregate]]
name = "visit"
event = "purchase"
functions = ["since_last"]
unit = "days"
meaning = "days since the last purchase"

[[aggregate]]
name = "kind"
event = "purchase"
value = "amount"
functions = ["sum"]
by = "kind"
match = "kind"
windows = ["7d"]
unit = "USD"
meaning = "what was paid for this kind of thing"
""",
    "events.toml": """
[purchase]
topic = "shop"
id = "receipt"
time = "bought_at"
customer = { card = "card" }
fields = { amount = "decimal", kind = "category" }

[joined]
topic = "loyalty"
id = "link_id"
time = "joined_at"
link = true
customer = { card = "card", app = "app_user" }
""",
    "triggers.toml": "",
    "offers.toml": """
[[placement]]
name = "feed"
offers = "goods"
limit = 3
context = { weather = "category", degrees = "number" }

[[placement]]
name = "push"
offers = "goods"
limit = 1
model = "feed"

[[placement]]
name = "quiet"
offers = "goods"
limit = 1
silence = 1000000.0
model = "feed"

[[rule]]
name = "no_soup_in_the_heat"
when = "offer.kind != 'soup' || context.degrees < 30 || is_missing(context.degrees)"
reason = "Nobody wants soup in the heat."
placements = ["feed"]

[[offer]]
id = "bread"
name = "Bread"
group = "goods"
attributes = { kind = "bakery" }
treatments = { feed = { title = "Fresh bread" }, push = { title = "Bread is warm" } }

[[offer]]
id = "soup"
name = "Soup"
group = "goods"
attributes = { kind = "soup" }

[[offer]]
id = "tea"
name = "Tea"
group = "goods"
attributes = { kind = "drink" }

[[offer]]
id = "turkey"
name = "Turkey"
group = "goods"
attributes = { kind = "meat" }
valid_from = 2000-11-01T00:00:00Z
valid_to = 2000-12-01T00:00:00Z
""",
}


class Corner(Service):
    """The settings of one test's service."""


@dataclass
class Shop:
    """Bus and Redis of the tests, and what the stream would have written to them."""

    setup: Corner
    bus: Bus
    plan: Plan = field(init=False)

    def __post_init__(self) -> None:
        self.plan = compile_plan(load(self.setup.playbook))
        self.redis = redis.Redis.from_url(self.setup.redis)
        self.store = RedisStateStore(self.setup.redis, self.setup.project)

    def read_up_to(self, instant: int) -> None:
        """Say that every partition is folded up to `instant` (ms)."""
        for partition in range(self.setup.partitions):
            self.store.set_watermark(partition, instant)

    def customer(self, card: str) -> str:
        """Let a card be known, without anything having happened."""
        minted = mint("card", card)
        self.redis.set(f"kairos:id:card:{card}", minted)
        return minted

    def bought(self, card: str, *purchases: tuple[int, float, str]) -> str:
        """Let (time ms, amount, kind) purchases be folded into the card's state."""
        customer = self.customer(card)
        state = empty(self.plan)
        for n, (at, amount, kind) in enumerate(purchases):
            fields: dict[str, Any] = {"amount": round(amount * 10_000), "kind": kind}
            fold(self.plan, state, Event("purchase", f"{card}-{n}", at, customer, fields), 0, n)
        self.store.write_many([(customer, encode(self.plan, state), state.newest)])
        return customer

    def on(self, topic: str) -> list[Record]:
        """Everything on a topic, partition by partition."""
        return list(everything(self.bus, topic))

    def waiting(self) -> int:
        """How many records stand in the outboxes."""
        keys: list[Any] = list(self.redis.scan_iter("*outbox", count=10_000))
        lengths: list[Any] = [self.redis.hlen(key) for key in keys]
        return sum(lengths)

    def decided(self, within_s: float = 60.0) -> list[DecisionRecord]:
        """Every decision on the bus, once the outboxes are empty."""
        ends = time.monotonic() + within_s
        while self.waiting():
            assert time.monotonic() < ends, f"{self.waiting()} records stay in the outbox"
            time.sleep(0.01)
        return [unpack(record.value) for record in self.on(DECISIONS) if record.key != b"mark"]


@contextmanager
def serving(setup: Corner) -> Iterator[httpx.Client]:
    """A real server in a thread, and a client of it, from ready to stopped."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def target() -> None:
        try:
            app.run(setup, stop)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=target, name="server")
    thread.start()
    client = httpx.Client(base_url=f"http://127.0.0.1:{setup.port}", timeout=60)
    if setup.api_key:
        client.headers["X-API-Key"] = setup.api_key
    try:
        ends = time.monotonic() + 20
        while True:
            assert not failures, failures[0]
            assert time.monotonic() < ends, "the server is not ready after 20 s"
            try:
                if client.get("/health/ready").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.02)
        yield client
    finally:
        stop.set()
        thread.join(15)
        client.close()
    assert not thread.is_alive(), "the server did not stop"
    assert not failures, failures[0]


def on_port(setup: Corner, port: int, **changes: Any) -> Corner:
    """The same service elsewhere, or otherwise."""
    return replace(setup, port=port, **changes)


def purchase(
    card: str, receipt: str = "r-1", at: str = "2017-07-14T02:40:00Z", **data: Any
) -> dict[str, Any]:
    """A valid purchase as a CloudEvent."""
    content = {"receipt": receipt, "bought_at": at, "card": card, "amount": 3.5, "kind": "bakery"} | data
    return {"specversion": "1.0", "type": "purchase", "id": receipt, "source": "till", "data": content}


def fault_of(response: httpx.Response, status: int) -> dict[str, str]:
    """The first error of a problem, after checking that it is one."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert set(problem) == {"type", "title", "status", "detail", "instance", "errors"}
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    errors: Sequence[dict[str, str]] = problem["errors"]
    return errors[0] if errors else {}
