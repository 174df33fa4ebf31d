"""The world of the wide playbook: the values that its events and its offers speak of."""

from typing import Final

DEPARTMENTS: Final = ("home", "garden", "toys", "sport", "beauty", "food", "books", "music", "shoes", "tools")
CATEGORIES: Final = tuple(f"{each}-{n}" for each in DEPARTMENTS for n in range(1, 5))
MERCHANTS: Final = tuple(f"m{n:03d}" for n in range(300))
MERCHANT_TYPES: Final = (
    *("grocery", "fuel", "travel", "hotel", "restaurant", "cafe", "pharmacy", "doctor", "school", "sport"),
    *("fashion", "electronics", "furniture", "pets", "taxi", "transit", "telecom", "energy", "insurance"),
    *("rent", "charity", "games", "cinema", "books", "garden", "beauty", "repair", "parking", "toll", "tax"),
)
TOPICS: Final = (
    *("news", "sport", "cooking", "travel", "science", "history", "nature", "music", "comedy", "drama"),
    *("crime", "children", "games", "cars", "money", "health", "fashion", "gardens", "film", "art", "books"),
    *("faith", "weather", "local"),
)
SHOWS: Final = tuple(f"s{n:03d}" for n in range(500))
PAGES: Final = ("list", "product", "home", "search", "basket", "help", "account")
DEVICES: Final = ("phone", "desk", "tablet")
CHANNELS: Final = ("app", "store", "web")
METHODS: Final = ("card", "wallet", "transfer", "cash_out")
COUNTRIES: Final = ("US", "CA", "MX", "GB", "FR", "ES", "DE", "JP")
REASONS: Final = ("delivery", "refund", "login", "card", "complaint", "price", "content", "other")
ASKED: Final = ("chat", "call", "mail")
OFFERS: Final = tuple(f"deal-{n:03d}" for n in range(100))

SHARES: Final = {
    "page_viewed": 0.50,
    "item_bought": 0.18,
    "payment_made": 0.15,
    "content_watched": 0.13,
    "support_contacted": 0.04,
}
"""Of all events, how many are of each type."""
