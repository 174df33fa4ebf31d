"""One simulated customer: the ids the domains know them by, their habits, and what they have."""

from dataclasses import dataclass, field
from random import Random

from kairos.superapp import world


@dataclass(slots=True)
class Person:
    """A customer; `*_from` and `*_until` are numbers of days, those on which they use a domain.

    `energy` says how much they do of everything. What changes (`balance`, `plan`, `cart`, ...) is what the
    days so far have left.
    """

    number: int
    rng: Random
    energy: float
    salary: float
    payday: int
    unpaid_from: int
    pay_from: int
    pay_until: int
    watch_from: int
    watch_until: int
    shop_from: int
    shop_until: int
    coffee: float
    drives: bool
    trip: tuple[int, int, str]
    genres: tuple[str, ...]
    categories: tuple[str, ...]
    merchants: dict[str, str]
    bills: dict[str, int]
    coupons: float
    consent: bool
    balance: float
    plan: str = "free"
    cart: str = ""
    in_cart: list[dict[str, object]] = field(default_factory=list)
    wish: dict[str, object] | None = None
    series: dict[str, int] = field(default_factory=dict)
    linked: dict[str, float] = field(default_factory=dict)
    told: int = 0

    @classmethod
    def draw(cls, seed: int, number: int, days: int) -> "Person":
        """The customer of that number; the same for the same seed and number of days."""
        rng = Random(f"superapp-{seed}-{number}-{days}")
        pay_from = 0 if rng.random() < 0.75 else rng.randrange(max(1, days))
        watches, shops = rng.random() < 0.85, rng.random() < 0.8
        begins = rng.randrange(3, max(4, days))
        bills = {kind: rng.randint(1, 8) for kind in world.BILLS if rng.random() < 0.6}
        salary = round(rng.lognormvariate(7.7, 0.3), 2)
        return cls(
            number=number,
            rng=rng,
            energy=min(2.5, rng.lognormvariate(0.0, 0.35)),
            salary=salary,
            payday=rng.choice((1, 15, 25, 28)),
            unpaid_from=rng.randrange(days) if rng.random() < 0.08 else days,
            pay_from=pay_from,
            pay_until=_until(rng, days, 0.10),
            watch_from=pay_from + (rng.randrange(3) if rng.random() < 0.7 else begins) if watches else days,
            watch_until=_until(rng, days, 0.15),
            shop_from=pay_from + (rng.randrange(3) if rng.random() < 0.7 else begins) if shops else days,
            shop_until=_until(rng, days, 0.15),
            coffee=rng.uniform(0.6, 0.95) if rng.random() < 0.4 else rng.uniform(0.0, 0.15),
            drives=rng.random() < 0.5,
            trip=_trip(rng, days),
            genres=tuple(rng.sample(world.GENRES, 3)),
            categories=tuple(rng.sample(list(world.CATEGORIES), 3)),
            merchants={kind: rng.choice(names) for kind, names in world.MERCHANTS.items()},
            bills=bills,
            coupons=rng.choice((0.1, 0.3, 0.8)),
            consent=rng.random() < 0.7,
            balance=round(rng.uniform(0.2, 0.9) * salary, 2),
        )

    def id_of(self, kind: str) -> str:
        """The id by which a domain knows the customer: its kind is card, viewer, shopper or phone."""
        n = self.number
        return {
            "card": f"tok-{n:06d}",
            "viewer": f"view{n * 7919 % 1_000_000:06d}",
            "shopper": f"A{n:07d}",
            "phone": f"+49151{n:07d}",
        }[kind]

    def serial(self) -> str:
        """A number that no other event of anybody has."""
        self.told += 1
        return f"{self.number:06d}-{self.told:06d}"

    def chance(self, probability: float) -> bool:
        """Whether something happens that does so with this probability."""
        return self.rng.random() < probability

    def about(self, usual: float, spread: float = 0.35) -> float:
        """An amount around the usual one, EUR; now and then a far larger one."""
        amount = usual * self.rng.lognormvariate(0.0, spread)
        return round(max(0.5, amount * (4.0 if self.chance(0.015) else 1.0)), 2)


def _until(rng: Random, days: int, leaving: float) -> int:
    """The day from which a customer no longer uses a domain; most go on."""
    return rng.randrange(days // 3, days) if days > 3 and rng.random() < leaving else days


def _trip(rng: Random, days: int) -> tuple[int, int, str]:
    """First day, day behind the last, and the country of a journey; (days, days, ...) for none."""
    if rng.random() < 0.4:
        first = rng.randrange(days)
        return first, first + rng.randint(3, 9), rng.choice(world.COUNTRIES)
    return days, days, "DE"
