"""A kiosk small enough to know by heart: its playbook, its events, and what stands in for Redis."""

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import orjson

from events.bus import Message, Record
from events.codec import encode, render_cloudevent, render_mark, render_time
from events.envelope import DECISION, OUTCOME, Event, Tick
from events.identity import Id, mint, partition_of
from features.declare import load
from features.plan import Plan, compile_plan
from features.state import parts_of
from features.store import Values
from models.catalogue import Catalogue
from models.decision import Request, decide
from models.record import pack
from models.scorers.blend import Blend
from models.scorers.prior import Prior
from stream.taps import Poll
from tests.service import Service

DAY = 86_400_000
HOUR = 3_600_000
MONDAY = 1_500_264_000_000  # 2017-07-17T04:00:00Z, midnight in New York
PARTITIONS = 2
SOURCES = ("decisions", "loyalty", "marketing", "outcomes", "shop")

FILES = {
    "playbook.toml": """
name = "kiosk"
timezone = "America/New_York"
lateness = "1d"
freshness = "2d"

[[aggregate]]
name = "spend"
event = "purchase"
value = "amount"
functions = ["count", "sum", "max"]
windows = ["1h", "7d"]
half_lives = ["2d"]
unit = "USD"
meaning = "what was paid"
default = { max = 0 }

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
fields = { amount = "decimal", kind = "category", note = "text?" }

[invited]
topic = "marketing"
id = "invitation"
time = "sent_at"
customer = { mailing = "mailing" }
fields = { campaign = "category" }

[redeemed]
topic = "loyalty"
id = "redemption"
time = "redeemed_at"
customer = { member = "member" }
fields = { campaign = "category" }

[joined]
topic = "loyalty"
id = "link_id"
time = "joined_at"
link = true
customer = { card = "card", mailing = "mailing", member = "member" }
""",
    "triggers.toml": """
[[trigger]]
name = "invitation_came"
meaning = "an invitation was sent"
on = "invited"

[[trigger]]
name = "big_week"
meaning = "much was bought this week"
on = "purchase"
when = "spend_sum_7d >= 100"

[[trigger]]
name = "invitation_forgotten"
meaning = "invited, and nothing redeemed in two days"
on = "invited"
unless = { event = "redeemed", within = "2d", same = ["campaign"] }
patience = "5s"
""",
    "offers.toml": """
[[placement]]
name = "feed"
offers = "goods"
limit = 3
attribution = "1d"

[[placement]]
name = "push"
offers = "goods"
limit = 1
attribution = "1d"
model = "feed"

[[offer]]
id = "bread"
name = "Bread"
group = "goods"
attributes = { kind = "bakery" }

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
""",
}


class KioskSetup(Service):
    """The settings of one test's processes."""


def write_playbook(folder: Path) -> Path:
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


def plan_of(folder: Path) -> Plan:
    return compile_plan(load(folder))


def purchase(receipt: str, at: int, card: str, amount: object, kind: str = "soup", **more: object) -> bytes:
    data = {"receipt": receipt, "bought_at": render_time(at), "card": card, "amount": amount, "kind": kind}
    return render_cloudevent("purchase", f"p-{receipt}", "till", data | more)


def invited(invitation: str, at: int, mailing: str, campaign: str) -> bytes:
    data = {"invitation": invitation, "sent_at": render_time(at), "mailing": mailing, "campaign": campaign}
    return render_cloudevent("invited", invitation, "post", data)


def redeemed(redemption: str, at: int, member: str, campaign: str) -> bytes:
    data = {"redemption": redemption, "redeemed_at": render_time(at), "member": member, "campaign": campaign}
    return render_cloudevent("redeemed", redemption, "desk", data)


def joined(link: str, at: int, **ids: str) -> bytes:
    return render_cloudevent("joined", link, "desk", {"link_id": link, "joined_at": render_time(at), **ids})


def outcome(ident: str, at: int, decision: str, offer: str, kind: str = "conversion") -> bytes:
    data = {"decision_id": decision, "offer": offer, "kind": kind}
    return render_cloudevent("kairos.outcome", ident, "app", data, at)


def mark(at: int) -> bytes:
    return render_mark(at, "test")


def poll(topic: str, values: Sequence[bytes], partition: int = 0, start: int = 0, end: bool = True) -> Poll:
    records = [Record(topic, partition, start + n, b"", value) for n, value in enumerate(values)]
    return Poll(topic, partition, records, MONDAY if end else None)


class Phonebook:
    """`Identities` in memory."""

    def __init__(self) -> None:
        self.known: dict[Id, str] = {}
        self.asked = 0

    def resolve_many(self, ids: Sequence[Id]) -> list[str]:
        self.asked += 1
        return [self.known.setdefault(each, mint(*each)) for each in ids]

    def link(self, ids: Sequence[Id]) -> str:
        from events.codec import BadEvent

        owners = {self.known[each] for each in ids if each in self.known}
        if len(owners) > 1:
            raise BadEvent("identity_conflict", "data", "one customer", " and ".join(sorted(owners)))
        customer = owners.pop() if owners else mint(*sorted(ids)[0])
        self.known.update(dict.fromkeys(ids, customer))
        return customer


class Crash(Exception):
    """The process is gone at this moment."""


class MemoryStore:
    """A `StateStore` in memory, whose process dies after `lives` more effects (None: never)."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.marks: dict[int, int] = {}
        self.wakes: dict[int, dict[str, int]] = {}
        self.lives: int | None = None

    rewritten: frozenset[str] = frozenset()

    def effect(self) -> None:
        if self.lives is not None:
            if self.lives == 0:
                raise Crash
            self.lives -= 1

    def read_many(self, customers: Sequence[str]) -> list[bytes | None]:
        return [self.blobs.get(customer) for customer in customers]

    def write_many(self, states: Sequence[tuple[str, Values, int]]) -> None:
        for customer, blob, _ in states:
            self.effect()  # a pipeline may be cut anywhere
            recent, settled = parts_of(blob) if isinstance(blob, bytes) else blob
            if settled is None:
                _, settled = parts_of(self.blobs.get(customer, b""))
            self.blobs[customer] = (recent or b"") + settled

    def watermarks(self) -> dict[int, int]:
        return dict(self.marks)

    def set_watermark(self, partition: int, ms: int) -> None:
        self.effect()
        self.marks[partition] = ms

    def due(self, partition: int, before_ms: int) -> list[str]:
        return [customer for customer, at in self.wakes.get(partition, {}).items() if at <= before_ms]

    def set_wakes(self, partition: int, wakes: Mapping[str, int | None]) -> None:
        for customer, at in wakes.items():
            self.effect()
            if at is None:
                self.wakes.setdefault(partition, {}).pop(customer, None)
            else:
                self.wakes.setdefault(partition, {})[customer] = at


class PaperOutlet:
    """An `Outlet` that keeps what is published, and dies when its store does."""

    def __init__(self, store: MemoryStore) -> None:
        self.messages: list[Message] = []
        self._store = store

    def publish(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._store.effect()
            self.messages.append(message)


def behaviour_log(
    days: int, customers: int, seed: int = 7, events_a_day: int = 60, partitions: int = PARTITIONS
) -> list[list[Record]]:
    """The partitions of a log of purchases, invitations and redemptions, a tick at each midnight.

    Some events come late, some too late, some twice.
    """
    dice = random.Random(seed)
    people = [mint("card", str(n)) for n in range(customers)]
    logs: list[list[bytes]] = [[] for _ in range(partitions)]
    sent: list[tuple[str, str, int]] = []

    def put(event: Event) -> None:
        logs[partition_of(event.customer, partitions)].append(encode(event))

    for day in range(days):
        for n in range(events_a_day):
            at = MONDAY + day * DAY + n * (DAY // events_a_day)
            who, ident = dice.choice(people), f"{day}-{n}"
            what = dice.random()
            if what < 0.1:
                campaign = dice.choice("ABC")
                sent.append((who, campaign, at))
                put(Event("invited", ident, at, who, {"campaign": campaign}))
            elif what < 0.16 and sent:
                who, campaign, _ = dice.choice(sent)
                put(Event("redeemed", ident, at, who, {"campaign": campaign}))
            else:
                late = dice.choice([0] * 8 + [HOUR * 5, DAY * 3])
                amount = dice.randrange(10_000, 500_000)
                fields = {"amount": amount, "kind": dice.choice(["soup", "tea"]), "note": None}
                event = Event("purchase", ident, at - late, who, fields)
                put(event)
                if dice.random() < 0.05:
                    put(event)
        for log in logs:
            log.append(encode(Tick(MONDAY + (day + 1) * DAY)))
    return [
        [Record("behaviour", partition, n, b"", value) for n, value in enumerate(log)]
        for partition, log in enumerate(logs)
    ]


def polls_of(logs: Sequence[Sequence[Record]], size: int, after: Sequence[int] | None = None) -> list[Poll]:
    """The log as micro-batches of `size` records, the partitions in turn."""
    after = after or [-1] * len(logs)
    cuts = [
        [Poll("behaviour", n, list(log[at : at + size]), None) for at in range(after[n] + 1, len(log), size)]
        for n, log in enumerate(logs)
    ]
    polls = []
    for turn in range(max(map(len, cuts), default=0)):
        polls += [cut[turn] for cut in cuts if turn < len(cut)]
    return polls


def decision_event(catalogue: Catalogue, customer: str, request: str, at: int, seed: int) -> Event:
    """A decision for the feed as intake puts it on the log, with a row of its own."""
    dice = np.random.default_rng(seed)
    assortment = catalogue.assortment("feed")
    row = dice.normal(size=assortment.features).astype(np.float32)
    width = sum(len(columns) for columns in assortment.families.values())

    def cross(
        offers: np.ndarray[tuple[int], np.dtype[np.intp]],
    ) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        return dice.normal(size=(len(offers), width)).astype(np.float32)

    decision = decide(
        Request(request_id=request, customer=customer), "feed", catalogue, row, cross, Blend(Prior(0.02)), at
    )
    fields = {"placement": "feed", "offers": ",".join(c.offer for c in decision.chosen)}
    return Event(DECISION, decision.decision_id, at, customer, {**fields, "record": pack(decision)})


def outcome_event(decision: str, offer: str, customer: str, at: int) -> Event:
    fields = {"decision_id": decision, "offer": offer, "kind": "conversion"}
    return Event(OUTCOME, f"o-{decision}-{offer}", at, customer, fields)


def learning_log(catalogue: Catalogue, days: int, decisions_a_day: int, seed: int = 3) -> list[list[Record]]:
    """Both partitions of a log of decisions and outcomes, a tick at each midnight."""
    dice = random.Random(seed)
    logs: list[list[bytes]] = [[], []]

    def put(event: Event) -> None:
        logs[partition_of(event.customer, PARTITIONS)].append(encode(event))

    for day in range(days):
        for n in range(decisions_a_day):
            at = MONDAY + day * DAY + n * (DAY // 2 // decisions_a_day)
            customer = mint("card", str(dice.randrange(40)))
            event = decision_event(catalogue, customer, f"r-{day}-{n}", at, dice.randrange(1 << 30))
            offer = str(event.fields["offers"]).split(",")[0]
            happened = outcome_event(event.id, offer, customer, at + HOUR)
            if dice.random() < 0.3:
                # Outcomes come on another topic: now and then they are on the log first.
                for one in [event, happened] if dice.random() < 0.7 else [happened, event]:
                    put(one)
            else:
                put(event)
        for log in logs:
            log.append(encode(Tick(MONDAY + (day + 1) * DAY)))
    return [
        [Record("behaviour", partition, n, b"", value) for n, value in enumerate(log)]
        for partition, log in enumerate(logs)
    ]


def as_messages(logs: Sequence[Sequence[Record]]) -> list[Message]:
    return [Message("behaviour", each.partition, each.key, each.value) for log in logs for each in log]


def eventually(condition: Callable[[], object], within_s: float = 120.0, step_s: float = 0.005) -> None:
    waited = threading.Event()
    for _ in range(int(within_s / step_s)):
        if condition():
            return
        waited.wait(step_s)
    raise AssertionError(f"{condition} did not come true within {within_s} s")


def json_of(raw: bytes) -> dict[str, object]:
    value = orjson.loads(raw)
    assert isinstance(value, dict)
    return value
