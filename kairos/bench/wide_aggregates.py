"""The aggregates of the wide playbook as a table: what a business of five domains keeps of its customers."""

from typing import NamedTuple


class Asked(NamedTuple):
    """One aggregate; lists are written with blanks, trends as `1d/7d`.

    `match` None: a feature of the customer's row. `keys` 0: as many as families keep anyway.
    """

    name: str
    functions: str
    windows: str
    half_lives: str
    unit: str
    meaning: str
    value: str = ""
    where: str = ""
    by: str = ""
    match: str = ""
    trends: str = ""
    ever: bool = False
    keys: int = 0


SECONDS = "seconds"
USD = "USD"

WEB = (
    Asked(
        *("views", "count", "5m 1h 1d 7d 28d 90d", "1h 1d 14d", "pages", "pages looked at"),
        trends="1d/7d 7d/28d 28d/90d",
    ),
    Asked(*("reading", "sum", "1h 1d 7d 28d 90d", "1d 14d", SECONDS, "time on pages"), value="seconds"),
    Asked(
        *("page_time", "mean max", "1h 1d 7d 28d 90d", "1d 14d", SECONDS, "time on a page"), value="seconds"
    ),
    Asked(
        *("product_pages", "count sum mean max since_last", "1h 1d 7d 28d", "1d 7d", SECONDS),
        *("time on pages of products", "seconds", "kind == 'product'"),
    ),
    Asked(
        *("searches", "count since_last", "5m 1h 1d 7d 28d", "7d", "searches", "searches, by word or filter"),
        where="kind == 'search'",
        trends="1d/7d",
    ),
    Asked(
        *("basket_pages", "count since_last", "5m 1h 1d 7d 28d", "7d", "pages", "looks at the own basket"),
        where="kind == 'basket'",
    ),
    Asked(
        *(
            "help_pages",
            "count sum mean max since_last",
            "1d 7d 28d 90d",
            "",
            SECONDS,
            "time on pages that help",
        ),
        *("seconds", "kind == 'help'"),
    ),
    Asked(
        *("phone_pages", "count sum mean max", "1d 7d 28d 90d", "7d 28d", SECONDS, "time on pages, by phone"),
        *("seconds", "device == 'phone'"),
        trends="7d/28d",
    ),
    Asked(
        *("desk_pages", "count sum mean max", "1d 7d 28d", "7d", SECONDS, "time on pages, at a desk"),
        *("seconds", "device == 'desk'"),
    ),
    Asked(
        *("long_reads", "count sum mean max", "1d 7d 28d 90d", "7d", SECONDS, "pages read for half a minute"),
        *("seconds", "seconds > 30"),
        trends="28d/90d",
    ),
    Asked(*("glances", "count", "5m 1h 1d 7d 28d", "1d", "pages", "pages left at once"), where="seconds < 5"),
    Asked(
        *("offers_seen", "count since_last", "1h 1d 7d 28d", "7d", "pages", "pages that showed an offer"),
        where="!is_missing(offer)",
    ),
    Asked(
        *("categories_seen", "distinct", "1d 7d 28d 90d", "", "categories", "categories looked at"),
        value="category",
    ),
    Asked(*("web_visit", "last since_last since_first", "", "", SECONDS, "the visit to a page"), "seconds"),
    Asked(
        *("views_of_category", "count since_last share", "1d 7d 28d", "7d", "pages"),
        *("pages of the offer's category", "", "", "category", "category"),
        keys=64,
    ),
    Asked(
        *(
            "views_of_merchant",
            "count since_last",
            "1d 7d 28d",
            "7d",
            "pages",
            "pages of the offer's merchant",
        ),
        *("", "", "merchant", "merchant"),
        keys=32,
    ),
    Asked(
        *("views_of_offer", "count since_last", "1d 28d", "", "pages", "pages that showed this very offer"),
        *("", "", "offer", "offer"),
        ever=True,
        keys=32,
    ),
)

SHOP = (
    Asked(
        *("spend", "count sum", "1h 1d 7d 28d 90d", "1d 7d 28d", USD, "paid for items"),
        value="amount",
        trends="7d/28d 28d/90d",
        ever=True,
    ),
    Asked(
        *("price", "mean max", "1h 1d 7d 28d 90d", "1d 7d 28d", USD, "paid for an item"),
        value="amount",
        ever=True,
    ),
    Asked(
        *("pieces", "sum mean max", "1d 7d 28d 90d", "14d", "pieces", "pieces bought"),
        value="quantity",
        trends="7d/28d",
    ),
    Asked(
        *("saved", "count sum mean max", "7d 28d 90d", "28d", USD, "taken off the price"),
        *("discount", "discount > 0"),
    ),
    Asked(
        *("dear", "count sum mean max since_last", "1d 7d 28d 90d", "28d", USD, "items of 10 USD and more"),
        *("amount", "amount >= 10"),
    ),
    Asked(
        *("cheap", "count sum mean", "1d 7d 28d", "7d", USD, "items below 5 USD"), *("amount", "amount < 5")
    ),
    Asked(
        *("app_spend", "count sum mean max", "1d 7d 28d 90d", "7d 28d", USD, "paid for items in the app"),
        *("amount", "channel == 'app'"),
    ),
    Asked(
        *("store_spend", "count sum mean max", "1d 7d 28d 90d", "7d 28d", USD, "paid for items in a store"),
        *("amount", "channel == 'store'"),
        trends="28d/90d",
    ),
    Asked(
        *("bulk", "count sum mean max", "7d 28d 90d", "28d", "pieces", "items bought by three or more"),
        *("quantity", "quantity >= 3"),
    ),
    Asked(
        *(
            "bought_on_offer",
            "count sum mean max since_last",
            "7d 28d 90d",
            "28d",
            USD,
            "items that an offer was for",
        ),
        *("amount", "!is_missing(offer)"),
    ),
    Asked(
        *("categories_bought", "distinct", "7d 28d 90d", "", "categories", "categories bought"),
        value="category",
    ),
    Asked(
        *("baskets", "distinct", "1d 7d 28d 90d", "", "baskets", "baskets paid"),
        value="basket",
    ),
    Asked(*("purchase", "last since_last since_first", "", "", USD, "the item bought"), "amount"),
    Asked(
        *("spend_of_category", "count sum since_last share", "7d 28d 90d", "28d", USD),
        *("spend in the offer's category", "amount", "", "category", "category"),
        keys=64,
    ),
    Asked(
        *(
            "spend_of_merchant",
            "count sum since_last",
            "28d 90d",
            "28d",
            USD,
            "spend at the offer's merchant",
        ),
        *("amount", "", "merchant", "merchant"),
        keys=32,
    ),
    Asked(
        *("bought_offer", "count since_last", "28d", "", "times", "this very offer taken"),
        *("", "", "offer", "offer"),
        ever=True,
        keys=32,
    ),
)

PAYMENTS = (
    Asked(
        *("paid", "count sum", "5m 1h 1d 7d 28d 90d", "1d 28d", USD, "paid by any means"),
        *("amount", "!declined"),
        trends="1d/7d 7d/28d 28d/90d",
    ),
    Asked(
        *("payment_size", "mean max", "5m 1h 1d 7d 28d 90d", "1d 28d", USD, "the size of a payment"),
        *("amount", "!declined"),
    ),
    Asked(
        *("fees", "count sum mean max", "7d 28d 90d", "28d", USD, "fees paid"),
        *("fee", "fee > 0"),
    ),
    Asked(
        *(
            "declined",
            "count sum mean max since_last",
            "5m 1h 1d 7d 28d",
            "7d",
            USD,
            "payments that were declined",
        ),
        *("amount", "declined"),
    ),
    Asked(
        *("card_paid", "count sum mean max", "1d 7d 28d 90d", "7d 28d", USD, "paid by card"),
        *("amount", "method == 'card' && !declined"),
    ),
    Asked(
        *("wallet_paid", "count sum mean max", "1d 7d 28d 90d", "7d", USD, "paid from the wallet"),
        *("amount", "method == 'wallet' && !declined"),
        trends="7d/28d",
    ),
    Asked(
        *("transfers", "count sum mean max since_last", "1d 7d 28d 90d", "28d", USD, "transfers to others"),
        *("amount", "method == 'transfer' && !declined"),
    ),
    Asked(
        *("cash_outs", "count sum mean max since_last", "1d 7d 28d 90d", "28d", USD, "cash taken out"),
        *("amount", "method == 'cash_out'"),
    ),
    Asked(
        *("abroad", "count sum mean max since_last", "1d 7d 28d 90d", "28d", USD, "paid in other countries"),
        *("amount", "country != 'US' && !declined"),
    ),
    Asked(
        *(
            "large_paid",
            "count sum mean max since_last",
            "1d 7d 28d 90d",
            "28d",
            USD,
            "payments from 50 USD on",
        ),
        *("amount", "amount >= 50 && !declined"),
    ),
    Asked(*("merchants_paid", "distinct", "7d 28d 90d", "", "merchants", "merchants paid"), value="merchant"),
    Asked(*("payment", "last since_last since_first", "", "", USD, "the payment"), "amount"),
    Asked(
        *("paid_by_type", "count sum since_last share", "7d 28d 90d", "28d", USD),
        *("paid to merchants of the offer's type", "amount", "!declined", "merchant_type", "merchant_type"),
    ),
    Asked(
        *("paid_merchant", "count sum since_last", "28d 90d", "28d", USD, "paid to the offer's merchant"),
        *("amount", "!declined", "merchant", "merchant"),
        keys=32,
    ),
)

CONTENT = (
    Asked(
        *("watched", "count sum", "5m 1h 1d 7d 28d 90d", "1d 14d", SECONDS, "time watched"),
        value="seconds",
        trends="1d/7d 7d/28d 28d/90d",
    ),
    Asked(
        *("sitting", "mean max", "5m 1h 1d 7d 28d 90d", "1d 14d", SECONDS, "time watched at once"),
        value="seconds",
    ),
    Asked(
        *(
            "finished",
            "count sum mean max since_last",
            "1d 7d 28d 90d",
            "14d",
            SECONDS,
            "shows watched to their end",
        ),
        *("seconds", "finished"),
        trends="7d/28d",
    ),
    Asked(
        *("left_early", "count since_last", "1h 1d 7d 28d", "7d", "shows", "shows left in the first minute"),
        where="seconds < 60 && !finished",
    ),
    Asked(
        *("live", "count sum mean max", "1d 7d 28d 90d", "14d", SECONDS, "time watched live"),
        *("seconds", "live"),
    ),
    Asked(
        *("watched_phone", "count sum mean max", "1d 7d 28d 90d", "7d 28d", SECONDS, "watched by phone"),
        *("seconds", "device == 'phone'"),
    ),
    Asked(
        *("watched_desk", "count sum mean max", "1d 7d 28d", "7d", SECONDS, "watched at a desk"),
        *("seconds", "device == 'desk'"),
    ),
    Asked(
        *("watched_tablet", "count sum mean max", "1d 7d 28d", "7d", SECONDS, "watched on a tablet"),
        *("seconds", "device == 'tablet'"),
    ),
    Asked(
        *(
            "long_sittings",
            "count sum mean max",
            "7d 28d 90d",
            "28d",
            SECONDS,
            "ten minutes and more at a time",
        ),
        *("seconds", "seconds >= 600"),
    ),
    Asked(*("topics_watched", "distinct", "7d 28d 90d", "", "topics", "topics watched"), value="topic"),
    Asked(*("shows_watched", "distinct", "1d 7d 28d 90d", "", "shows", "shows watched"), value="show"),
    Asked(*("show", "last since_last since_first", "", "", SECONDS, "the show watched"), "seconds"),
    Asked(
        *("watched_of_topic", "count sum since_last share", "1d 7d 28d", "14d", SECONDS),
        *("watched on the offer's topic", "seconds", "", "topic", "topic"),
    ),
    Asked(
        *(
            "finished_of_topic",
            "count mean since_last",
            "7d 28d 90d",
            "14d",
            SECONDS,
            "finished on the offer's topic",
        ),
        *("seconds", "finished", "topic", "topic"),
    ),
)

SUPPORT = (
    Asked(
        *("contacts", "count since_last since_first", "1h 1d 7d 28d 90d", "7d 28d", "contacts"),
        "times support was asked",
        trends="7d/28d 28d/90d",
        ever=True,
    ),
    Asked(
        *("waiting", "count sum", "1d 7d 28d 90d", "28d", SECONDS, "time waited for support"),
        value="wait_seconds",
    ),
    Asked(
        *("wait", "mean max last", "1d 7d 28d 90d", "28d", SECONDS, "a wait for support"),
        value="wait_seconds",
    ),
    Asked(
        *("calls", "count sum mean max", "1d 7d 28d 90d", "28d", SECONDS, "time waited for a call"),
        *("wait_seconds", "channel == 'call'"),
    ),
    Asked(
        *("chats", "count sum mean max", "1d 7d 28d 90d", "28d", SECONDS, "time waited for a chat"),
        *("wait_seconds", "channel == 'chat'"),
    ),
    Asked(
        *("mails", "count since_last", "7d 28d 90d", "28d", "mails", "mails to support"),
        where="channel == 'mail'",
    ),
    Asked(
        *(
            "unsolved",
            "count sum mean max since_last",
            "1d 7d 28d 90d",
            "28d",
            SECONDS,
            "waited and not helped",
        ),
        *("wait_seconds", "!solved"),
    ),
    Asked(
        *("solved", "count since_last", "7d 28d 90d", "28d", "contacts", "contacts that solved it"),
        where="solved",
    ),
    Asked(
        *("ratings", "count mean min max last", "28d 90d", "28d", "stars", "stars given to support"),
        value="rating",
        ever=True,
    ),
    Asked(
        *("complaints", "count since_last", "7d 28d 90d", "28d", "contacts", "complaints"),
        where="reason == 'complaint'",
        ever=True,
    ),
    Asked(
        *("long_waits", "count sum mean max", "7d 28d 90d", "28d", SECONDS, "waits of five minutes and more"),
        *("wait_seconds", "wait_seconds >= 300"),
    ),
    Asked(*("reasons", "distinct", "28d 90d", "", "reasons", "different reasons"), value="reason", ever=True),
    Asked(
        *("asked_about", "count since_last share", "28d 90d", "28d", "contacts"),
        *("contacts for what the offer helps with", "", "", "reason", "reason"),
        ever=True,
    ),
    Asked(
        *("unsolved_about", "count sum since_last", "28d", "", SECONDS, "unsolved and the offer helps"),
        *("wait_seconds", "!solved", "reason", "reason"),
        ever=True,
    ),
)

DOMAINS = {
    "page_viewed": WEB,
    "item_bought": SHOP,
    "payment_made": PAYMENTS,
    "content_watched": CONTENT,
    "support_contacted": SUPPORT,
}


class Divided(NamedTuple):
    """Ratios of two features over each of some windows, `{name}_{window}`."""

    name: str
    numerator: str
    denominator: str
    windows: str
    unit: str
    meaning: str


PART = "of 1"

RATIOS = (
    Divided("app_of_spend", "app_spend_sum", "spend_sum", "7d 28d 90d", PART, "bought in the app"),
    Divided("store_of_spend", "store_spend_sum", "spend_sum", "7d 28d 90d", PART, "bought in a store"),
    Divided(
        "dear_of_spend", "dear_sum", "spend_sum", "7d 28d 90d", PART, "spent on items of 10 USD and more"
    ),
    Divided("cheap_of_items", "cheap_count", "spend_count", "7d 28d", PART, "items below 5 USD"),
    Divided("saved_of_spend", "saved_sum", "spend_sum", "7d 28d 90d", PART, "taken off for each USD paid"),
    Divided(
        "on_offer_of_spend", "bought_on_offer_sum", "spend_sum", "7d 28d 90d", PART, "bought on an offer"
    ),
    Divided("items_a_basket", "spend_count", "baskets_distinct", "7d 28d 90d", "items", "items of a basket"),
    Divided("spend_a_basket", "spend_sum", "baskets_distinct", "7d 28d 90d", USD, "paid for a basket"),
    Divided("phone_of_views", "phone_pages_count", "views_count", "1d 7d 28d", PART, "pages by phone"),
    Divided("desk_of_views", "desk_pages_count", "views_count", "7d 28d", PART, "pages at a desk"),
    Divided(
        "products_of_views", "product_pages_count", "views_count", "1d 7d 28d", PART, "pages of products"
    ),
    Divided(
        "searches_of_views", "searches_count", "views_count", "1d 7d 28d", PART, "pages that were searches"
    ),
    Divided("glances_of_views", "glances_count", "views_count", "1d 7d 28d", PART, "pages left at once"),
    Divided("card_of_paid", "card_paid_sum", "paid_sum", "7d 28d 90d", PART, "paid by card"),
    Divided("wallet_of_paid", "wallet_paid_sum", "paid_sum", "7d 28d", PART, "paid from the wallet"),
    Divided("abroad_of_paid", "abroad_sum", "paid_sum", "7d 28d 90d", PART, "paid in other countries"),
    Divided("fees_of_paid", "fees_sum", "paid_sum", "28d 90d", PART, "fees for each USD paid"),
    Divided(
        "declined_a_payment", "declined_count", "paid_count", "1d 7d 28d", PART, "declined for each paid"
    ),
    Divided("finished_of_watched", "finished_count", "watched_count", "7d 28d 90d", PART, "shows finished"),
    Divided("live_of_watched", "live_sum", "watched_sum", "7d 28d", PART, "time watched live"),
    Divided("phone_of_watched", "watched_phone_sum", "watched_sum", "7d 28d", PART, "time watched by phone"),
    Divided(
        "calls_of_contacts", "calls_count", "contacts_count", "28d 90d", PART, "contacts that were calls"
    ),
    Divided(
        *("price_of_category", "spend_of_category_sum", "spend_of_category_count", "28d 90d", USD),
        "paid for an item of the offer's category",
    ),
    Divided(
        *("views_an_item_of_category", "views_of_category_count", "spend_of_category_count", "7d 28d"),
        *("pages", "pages looked at for each item bought of the offer's category"),
    ),
    Divided(
        *("merchant_in_shop", "spend_of_merchant_sum", "paid_merchant_sum", "28d 90d", PART),
        "of what the offer's merchant was paid, in our shop",
    ),
    Divided(
        *("topic_of_watched", "watched_of_topic_count", "watched_count", "7d 28d", PART),
        "shows watched that were on the offer's topic",
    ),
)
