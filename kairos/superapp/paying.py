"""Payments: paydays and bills, the weekly shopping and evenings out, journeys, and what is declined."""

from datetime import date

from kairos.superapp import world
from kairos.superapp.asking import ask
from kairos.superapp.diary import HOUR, MINUTE, SECOND, Diary
from kairos.superapp.person import Person

APP = ("taxi", "transit", "gaming", "delivery")


def pay(person: Person, diary: Diary, number: int, day: date, start: int) -> None:
    """A day of payments; `number` counts the days, `start` is its midnight (ms)."""
    _income(person, diary, number, day, start)
    _bills(person, diary, day, start)
    first, behind, country = person.trip
    if number == first - 14:
        _buy(person, diary, "airline", start + 20 * HOUR, "DE", "online")
    if number == first - 5:
        _buy(person, diary, "hotel", start + 21 * HOUR, "DE", "online")
    here = country if first <= number < behind else "DE"
    for kind, hour in _errands(person, day, here):
        at = start + (hour + person.rng.uniform(-0.6, 0.6)) * HOUR
        paid = _buy(person, diary, kind, at, here, "app" if kind in APP else "store")
        if paid and kind in ("restaurant", "bar") and person.chance(0.25):
            _send(person, diary, "split", paid / 2, at + person.rng.uniform(10, 150) * MINUTE)
    if here != "DE" and person.chance(0.3):
        _withdraw(person, diary, start + 12 * HOUR, here, 4.9)
    elif person.chance(0.04 * person.energy):
        fee = 3.5 if person.chance(0.2) else 0.0
        _withdraw(person, diary, start + 12 * HOUR, here, fee)
    if person.chance(0.02):
        _send(person, diary, person.rng.choice(("gift", "family")), person.about(30), start + 19 * HOUR)


def _errands(person: Person, day: date, here: str) -> list[tuple[str, float]]:
    """What is bought that day: the type of merchant and the hour."""
    weekend, energy = day.weekday() >= 5, person.energy
    chances = [
        ("coffee", 8.3, person.coffee if not weekend else person.coffee / 3),
        ("transit", 8.8, 0.0 if person.drives or weekend else 0.5 * energy),
        ("restaurant", 12.8, 0.12 * energy + 0.3 * (here != "DE")),
        ("groceries", 18.2, 0.34 + 0.2 * (day.weekday() == 5)),
        ("fuel", 17.4, 0.11 if person.drives else 0.0),
        ("pharmacy", 16.5, 0.03),
        ("gym", 7.3, 0.03),
        ("fashion", 15.5, 0.03 * energy * world.busy(day)),
        ("electronics", 15.8, 0.012 * energy * world.busy(day)),
        ("delivery", 19.4, 0.10 * energy),
        ("restaurant", 19.8, (0.25 if day.weekday() in (4, 5) else 0.06) * energy),
        ("cinema", 20.1, 0.06 * energy if day.weekday() in (3, 4, 5) else 0.01),
        ("bar", 22.0, (0.25 if day.weekday() in (4, 5) else 0.03) * energy),
        ("taxi", 23.2, (0.15 if day.weekday() in (4, 5) else 0.03) * energy),
        ("gaming", 21.5, 0.04 * energy),
        ("charity", 18.0, 0.01 + 0.02 * (day.month == 12)),
    ]
    return [(kind, hour) for kind, hour, chance in chances if person.chance(chance)]


def _buy(
    person: Person, diary: Diary, kind: str, at: float, country: str, channel: str, asks: bool = True
) -> float:
    """Pay at a merchant of this type, or be declined; what was paid, EUR."""
    rng = person.rng
    usual = person.merchants[kind] if person.chance(0.75) else rng.choice(world.MERCHANTS[kind])
    amount = person.about(world.PRICES[kind] * (0.6 + 0.4 * person.energy))
    place = {"merchant_type": kind, "merchant": usual}
    if amount > person.balance:
        diary.note(person, "payment_declined", at, amount=amount, reason="no_funds", **place)
        if person.chance(0.35):  # try again, in vain
            at += rng.uniform(1, 6) * MINUTE
            diary.note(person, "payment_declined", at, amount=amount, reason="no_funds", **place)
        if asks and person.chance(0.06):
            ask(person, diary, "payment", at + rng.uniform(10, 110) * MINUTE)
        if not person.chance(0.5):
            return 0.0
        at += rng.uniform(3, 20) * MINUTE
        _top_up(person, diary, "friend" if person.chance(0.4) else "bank", round(amount + 150.0), at)
        at += rng.uniform(1, 5) * MINUTE
    elif person.chance(0.012):
        reason = rng.choice(("wrong_pin", "wrong_pin", "limit", "fraud_check", "expired"))
        for _ in range(1 + (reason == "wrong_pin" and person.chance(0.5))):
            diary.note(person, "payment_declined", at, amount=amount, reason=reason, **place)
            at += rng.uniform(20, 90) * SECOND
        if asks and person.chance(0.3):
            ask(person, diary, "payment", at + rng.uniform(10, 110) * MINUTE)
        if reason in ("fraud_check", "expired") or person.chance(0.3):
            return 0.0
    person.balance = round(person.balance - amount, 2)
    cashback = round(amount * world.CASHBACK.get(kind, 0.0), 2) if person.chance(person.coupons / 2) else 0.0
    told = {"channel": channel, "country": country, "cashback": cashback, "balance": person.balance}
    diary.note(person, "card_paid", at, amount=amount, **place, **told)
    return amount


def _income(person: Person, diary: Diary, number: int, day: date, start: int) -> None:
    if day.day == person.payday and number < person.unpaid_from:
        amount = round(person.salary * person.rng.uniform(0.98, 1.05), 2)
        _top_up(person, diary, "salary", amount, start + person.rng.uniform(2, 9) * HOUR)
    elif person.balance < 120 and person.chance(0.4):
        source = person.rng.choice(("bank", "bank", "bank", "cash", "friend"))
        amount = float(person.rng.choice((100, 200, 400)))
        _top_up(person, diary, source, amount, start + person.rng.uniform(9, 20) * HOUR)


def _bills(person: Person, diary: Diary, day: date, start: int) -> None:
    for kind, due in person.bills.items():
        late = (person.number * 31 + day.month * 17 + due * 7) % 9 == 0
        if day.day == due + (4 if late else 0):
            amount = round(world.BILLS[kind] * (0.8 + person.number % 5 / 10), 2)
            person.balance = round(person.balance - amount, 2)
            at = start + person.rng.uniform(7, 21) * HOUR
            diary.note(person, "bill_paid", at, amount=amount, bill_type=kind, late=late)


def _top_up(person: Person, diary: Diary, source: str, amount: float, at: float) -> None:
    person.balance = round(person.balance + amount, 2)
    diary.note(person, "topped_up", at, amount=amount, source=source, balance=person.balance)


def _send(person: Person, diary: Diary, purpose: str, amount: float, at: float) -> None:
    friend = f"friend-{person.rng.randrange(6)}"
    person.balance = round(person.balance - amount, 2)
    diary.note(person, "money_sent", at, amount=round(amount, 2), receiver=friend, purpose=purpose)


def _withdraw(person: Person, diary: Diary, at: float, country: str, fee: float) -> None:
    amount = float(person.rng.choice((20, 50, 100)))
    person.balance = round(person.balance - amount - fee, 2)
    at += person.rng.uniform(0, 6) * HOUR
    diary.note(person, "cash_withdrawn", at, amount=amount, fee=fee, country=country)
