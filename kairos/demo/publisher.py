"""The demo as the three domains: shop, marketing and loyalty publish CloudEvents, each with its own ids."""

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from zlib import crc32

import orjson
import pandas as pd

from events.bus import Bus, BusUnavailable, Message
from events.envelope import MARK
from kairos.demo.door import PATIENCE_S, batches
from kairos.demo.shopping import Day, card, rows

BATCH = 2_000
MOST_PIECES = 1_000  # fuel is counted in hundredths of a gallon: 89,638 pieces in one line


def mailing(household: int) -> str:
    """The id by which marketing writes to a household."""
    return f"M-{household:05d}"


def member(household: int) -> str:
    """The id by which the loyalty programme knows a household."""
    return f"{household:04d}-L"


class Publisher:
    """Publishes days of shopping to the domains' topics and marks how far they are complete."""

    def __init__(self, bus: Bus, partitions: int) -> None:
        self._bus = bus
        self._partitions = partitions
        self.published = 0

    def link(self, households: Iterable[int], at: int) -> None:
        """Tell that a household's card, mailing and member ids are one customer."""
        self.publish(
            [
                self._message(
                    "loyalty",
                    member(h),
                    "household_linked",
                    f"link-{h}",
                    at,
                    {"link_id": f"link-{h}", "linked_at": _rfc3339(at)}
                    | {"card": card(h), "mailing_id": mailing(h), "member_no": member(h)},
                )
                for h in households
            ]
        )

    def sends(self, sends: pd.DataFrame) -> None:
        """Publish campaign sends, topic `marketing`."""
        self.publish(
            [
                self._message(
                    "marketing",
                    mailing(row.household_id),
                    "campaign_sent",
                    send := f"{row.campaign}-{row.household_id}",
                    row.time,
                    {"send_id": send, "sent_at": _rfc3339(row.time), "mailing_id": mailing(row.household_id)}
                    | {"campaign": row.campaign, "campaign_type": row.campaign_type},
                )
                for row in rows(sends)
            ]
        )

    def day(self, day: Day) -> None:
        """Publish what happened on one day; redemptions come after the last basket."""
        self.publish(self._lines(day.lines))
        self.sends(day.sends)
        self.publish(
            [
                self._message(
                    "loyalty",
                    member(row.household_id),
                    "coupon_redeemed",
                    redemption := f"{row.coupon}-{row.household_id}-{day.day}-{n}",
                    row.time,
                    {"redemption_id": redemption, "redeemed_at": _rfc3339(row.time)}
                    | {"member_no": member(row.household_id), "campaign": row.campaign}
                    | {"campaign_type": row.campaign_type, "coupon": row.coupon},
                )
                for n, row in enumerate(rows(day.redemptions))
            ]
        )

    def mark(self, topics: Sequence[str], before: int) -> None:
        """Promise on every partition of `topics` that all events before `before` (ms) are published."""
        stamp = _rfc3339(before)
        self._acknowledged(
            [
                Message(topic, partition, b"mark", _cloudevent(MARK, mark, "demo", stamp, {"before": stamp}))
                for topic in topics
                for partition in range(self._partitions)
                for mark in [f"{topic}-{partition}-{before}"]
            ]
        )

    def _lines(self, lines: pd.DataFrame) -> list[Message]:
        messages = []
        for row in rows(lines):
            line, key = f"{row.basket_id}-{row.number}", card(row.household_id)
            data = {
                "line_id": line,
                "bought_at": _rfc3339(row.time),
                "card": key,
                "basket": str(row.basket_id),
                "amount": row.sales_value,
                "quantity": min(row.quantity, MOST_PIECES),
                "discount": row.retail_disc,
                "coupon_discount": row.coupon_disc,
                "department": row.department,
                "category": row.category,
                "store": str(row.store_id),
            }
            messages.append(self._message("shop", key, "basket_line", line, row.time, data))
        return messages

    def _message(
        self, topic: str, key: str, kind: str, id_: str, at: int, data: Mapping[str, object]
    ) -> Message:
        encoded = key.encode()
        partition = crc32(encoded) % self._partitions
        return Message(topic, partition, encoded, _cloudevent(kind, id_, topic, _rfc3339(at), data))

    def publish(self, messages: Sequence[Message]) -> None:
        """Publish in batches; durable on return."""
        for batch in batches(messages, BATCH):
            self._acknowledged(batch)
        self.published += len(messages)

    def _acknowledged(self, batch: Sequence[Message]) -> None:
        """Publish until it is acknowledged, as a domain would: what was kept the first time is a repeat."""
        ends = time.monotonic() + PATIENCE_S
        while True:
            try:
                self._bus.publish(batch)
            except BusUnavailable:
                if time.monotonic() > ends:
                    raise
                time.sleep(0.05)
            else:
                return


def _cloudevent(kind: str, id_: str, source: str, at: str, data: Mapping[str, object]) -> bytes:
    return orjson.dumps(
        {"specversion": "1.0", "type": kind, "id": id_, "source": source, "time": at, "data": data}
    )


def _rfc3339(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
