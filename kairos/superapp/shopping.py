"""The shop: looking around, a wish that lasts, the basket, the order, the parcel, the way back."""

from datetime import date

from kairos.superapp import world
from kairos.superapp.asking import ask
from kairos.superapp.diary import DAY, HOUR, MINUTE, SECOND, Diary
from kairos.superapp.person import Person

OVERNIGHT = 0.15
"""Of the baskets that are left, how many are paid a day later."""


def shop(person: Person, diary: Diary, number: int, day: date, start: int) -> None:
    """A day in the shop; `number` counts the days, `start` is its midnight (ms)."""
    rng, busy = person.rng, world.busy(day)
    at = start + rng.uniform(11, 21.5) * HOUR
    if number == person.shop_from:
        at = diary.link(person, "shopper", "shopper_linked", at)
    elif not person.chance(min(0.8, 0.22 * person.energy * busy)):
        return
    at = _look(person, diary, at)
    if person.chance(0.5 if not person.in_cart else 0.25):
        at = _fill(person, diary, at)
    elif person.in_cart and person.chance(0.25):
        at = _empty(person, diary, at)
    if person.in_cart and person.chance(0.55 if len(person.in_cart) < 3 else 0.4):
        _order(person, diary, at + rng.uniform(1, 25) * MINUTE, busy)
    elif person.in_cart and person.chance(OVERNIGHT):
        _order(person, diary, at + rng.uniform(0.8, 1.2) * DAY, busy)
    elif person.chance(0.4):
        person.in_cart, person.cart = [], ""  # forgotten; the next basket is another


def _look(person: Person, diary: Diary, at: float) -> float:
    """Products looked at; when that was over (ms)."""
    rng = person.rng
    category = rng.choice(person.categories) if person.chance(0.8) else rng.choice(list(world.CATEGORIES))
    if person.chance(0.25):
        found = 0 if person.chance(0.2) else rng.randint(1, 60)
        diary.note(person, "product_searched", at, category=category, results=found)
        at += rng.uniform(10, 40) * SECOND
    for _ in range(rng.randint(9, 16) if person.chance(0.12) else rng.randint(1, 6)):
        seconds = rng.uniform(4, 90)
        at += seconds * SECOND
        seen = world.product_of(category, 1 + int(world.PRODUCTS_A_CATEGORY * rng.random() ** 1.5))
        diary.note(person, "product_viewed", at, seconds=int(seconds), **seen)
        if person.wish is None and person.chance(0.10):
            person.wish = seen
    if person.wish is not None and person.chance(0.5):
        at += 40 * SECOND
        diary.note(person, "product_viewed", at, seconds=40, **person.wish)
    return at


def _fill(person: Person, diary: Diary, at: float) -> float:
    rng = person.rng
    if not person.cart:
        person.cart = f"c-{person.serial()}"
    category = rng.choice(person.categories)
    for n in range(rng.choice((1, 1, 2, 3))):
        wished = n == 0 and person.wish is not None and person.chance(0.5)
        chosen = person.wish if wished else None
        each = chosen or world.product_of(category, rng.randint(1, world.PRODUCTS_A_CATEGORY))
        if wished:
            person.wish = None
        at += rng.uniform(20, 120) * SECOND
        line = {name: each[name] for name in ("product", "category", "price")}
        quantity = rng.choice((1, 1, 1, 2))
        diary.note(person, "cart_added", at, cart=person.cart, quantity=quantity, **line)
        person.in_cart.append({**each, "quantity": quantity})
    return at


def _empty(person: Person, diary: Diary, at: float) -> float:
    for _ in range(min(len(person.in_cart), person.rng.choice((1, 2, 2)))):
        at += person.rng.uniform(20, 200) * SECOND
        each = person.in_cart.pop()
        line = {name: each[name] for name in ("product", "category", "price")}
        diary.note(person, "cart_removed", at, cart=person.cart, **line)
    return at


def _order(person: Person, diary: Diary, at: float, busy: float) -> None:
    rng = person.rng
    order, lines = f"o-{person.serial()}", person.in_cart
    price = sum(float(str(each["price"])) * int(str(each["quantity"])) for each in lines)
    discount = round(price * 0.15, 2) if person.chance(min(1.0, person.coupons * busy)) else 0.0
    delivery = rng.choice(("home", "home", "home", "pickup", "express"))
    told = {"cart": person.cart, "order": order, "items": len(lines), "delivery": delivery}
    diary.note(person, "order_placed", at, amount=round(price - discount, 2), discount=discount, **told)
    for each in lines:
        diary.note(person, "product_bought", at + rng.uniform(0.1, 1) * SECOND, order=order, **each)
    person.in_cart, person.cart = [], ""
    _deliver(person, diary, at, order, lines)


def _deliver(person: Person, diary: Diary, at: float, order: str, lines: list[dict[str, object]]) -> None:
    rng = person.rng
    late = rng.uniform(1, 6) if person.chance(0.12) else 0.0
    if late and person.chance(0.35):
        ask(person, diary, "delivery", at + (4 + late / 2) * DAY)
    if person.chance(0.02):
        return  # lost
    there = at + (rng.uniform(1, 3) + late) * DAY
    diary.note(person, "order_delivered", there, order=order, late_days=round(late, 1))
    for each in lines:
        product, category = each["product"], each["category"]
        later = there + rng.uniform(0.5, 5) * DAY
        if person.chance(0.22):
            stars = rng.choice((1, 2, 3, 4, 4, 5, 5, 5)) - (late > 2)
            told = {"product": product, "category": category, "stars": max(1, stars)}
            diary.note(person, "product_reviewed", later, **told)
        if person.chance(0.25 if category in ("shoes", "dresses") else 0.08):
            reason = rng.choice(("size", "size", "broken", "unwanted"))
            told = {"order": order, "product": product, "category": category, "reason": reason}
            diary.note(person, "product_returned", later, amount=each["price"], **told)
            if person.chance(0.15):
                ask(person, diary, "refund", later + rng.uniform(1, 4) * DAY)
