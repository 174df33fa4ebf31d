"""The world of the super-app playbook: the merchants, titles and products its events speak of."""

from datetime import date
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

FOLDER: Final = Path(__file__).parents[2] / "playbooks" / "superapp"
TIMEZONE: Final = ZoneInfo("Europe/Berlin")
START: Final = date(2026, 10, 5)
"""The first simulated day: an autumn with a clock change, a Black Friday and the beginning of Advent."""

MERCHANTS: Final = {
    "groceries": ("freshmart", "biomarket", "cornershop"),
    "restaurant": ("trattoria", "sushibar", "burgerhaus"),
    "delivery": ("quickdish", "wokwagon"),
    "coffee": ("beanery", "kaffeehaus"),
    "fuel": ("fuelup", "chargepoint"),
    "taxi": ("cityride", "greencab"),
    "transit": ("metroline", "railway"),
    "pharmacy": ("apotheke",),
    "gym": ("fitclub",),
    "fashion": ("modehaus", "denimco"),
    "electronics": ("techworld", "gadgetbay"),
    "airline": ("skyways", "cloudair"),
    "hotel": ("sleepwell", "grandhotel"),
    "cinema": ("lichtspiel",),
    "gaming": ("playarcade",),
    "bar": ("nightowl", "bierhof"),
    "charity": ("helpinghands",),
}

PRICES: Final = {
    "groceries": 38.0,
    "restaurant": 42.0,
    "delivery": 26.0,
    "coffee": 3.6,
    "fuel": 58.0,
    "taxi": 16.0,
    "transit": 3.4,
    "pharmacy": 14.0,
    "gym": 35.0,
    "fashion": 65.0,
    "electronics": 120.0,
    "airline": 210.0,
    "hotel": 260.0,
    "cinema": 24.0,
    "gaming": 12.0,
    "bar": 22.0,
    "charity": 15.0,
}
"""What a payment at such a merchant usually is, EUR."""

CASHBACK: Final = {"groceries": 0.05, "restaurant": 0.10, "coffee": 0.10, "fuel": 0.03, "hotel": 0.04}
COUNTRIES: Final = ("FR", "ES", "IT", "AT", "GB", "US")
BILLS: Final = {
    "rent": 780.0,
    "power": 85.0,
    "phone": 25.0,
    "internet": 40.0,
    "insurance": 60.0,
    "streaming": 13.0,
}
"""What comes every month, EUR."""

GENRES: Final = (
    *("drama", "comedy", "thriller", "news", "sport"),
    *("music", "kids", "documentary", "cooking", "anime"),
)
TITLES_A_GENRE: Final = 12
PLANS: Final = {"free": 0.0, "plus": 6.99, "premium": 12.99}

CATEGORIES: Final = {
    "phones": 399.0,
    "audio": 89.0,
    "laptops": 799.0,
    "shoes": 79.0,
    "dresses": 59.0,
    "toys": 29.0,
    "baby": 39.0,
    "kitchen": 49.0,
    "garden": 35.0,
    "home": 65.0,
    "books": 15.0,
    "beauty": 24.0,
    "sport": 55.0,
}
"""The shop's categories with the price of their first product, EUR."""

PRODUCTS_A_CATEGORY: Final = 12
BRANDS: Final = ("acme", "nova", "orbit", "luma", "terra")


def product_of(category: str, number: int) -> dict[str, object]:
    """The product's fields as events carry them; `number` counts from 1.

    >>> product_of("shoes", 2)
    {'product': 'shoes-02', 'category': 'shoes', 'brand': 'orbit', 'price': 110.6}
    """
    price = CATEGORIES[category] * (1 + 0.4 * (number - 1) % 2.4)
    return {
        "product": f"{category}-{number:02d}",
        "category": category,
        "brand": BRANDS[(number + len(category)) % len(BRANDS)],
        "price": round(price, 2),
    }


def busy(day: date) -> float:
    """How much more is bought that day than usual: the week of Black Friday, and Advent.

    >>> busy(date(2026, 11, 27)), busy(date(2026, 11, 10))
    (3.0, 1.0)
    """
    if date(2026, 11, 23) <= day <= date(2026, 11, 30):
        return 3.0 if day == date(2026, 11, 27) else 2.0
    return 1.4 if day.month == 12 else 1.0
