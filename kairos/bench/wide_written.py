"""The parts of the wide playbook that are written by hand."""

PLAYBOOK = """
# A thousand features of five domains that share one customer: web, shop, payments, content, support.
# 900 of them are of a customer, 100 of a customer and an offer; an event touches ten of 80 aggregates.

name = "wide"
timezone = "America/New_York"
lateness = "1d"
freshness = "2d"
memory = "128kB"
"""
EVENTS = """
# Five domains, and the desk that knows which of their ids are one customer. `offer`: the one that was meant.

[page_viewed]
topic = "web"
id = "view"
time = "at"
customer = { app = "app_user" }

[page_viewed.fields]
seconds = "integer"
kind = "category"
category = "category"
merchant = "category"
device = "category"
offer = "category?"

[item_bought]
topic = "shop"
id = "line"
time = "at"
customer = { app = "app_user" }

[item_bought.fields]
amount = "decimal"
quantity = "integer"
discount = "decimal"
category = "category"
merchant = "category"
channel = "category"
basket = "category"
offer = "category?"

[payment_made]
topic = "payments"
id = "payment"
time = "at"
customer = { card = "card" }

[payment_made.fields]
amount = "decimal"
fee = "decimal"
merchant_type = "category"
merchant = "category"
method = "category"
country = "category"
declined = "boolean"

[content_watched]
topic = "content"
id = "watch"
time = "at"
customer = { app = "app_user" }

[content_watched.fields]
seconds = "integer"
topic = "category"
show = "category"
device = "category"
finished = "boolean"
live = "boolean"

[support_contacted]
topic = "support"
id = "ticket"
time = "at"
customer = { phone = "phone" }

[support_contacted.fields]
wait_seconds = "integer"
reason = "category"
channel = "category"
solved = "boolean"
rating = "integer?"

[ids_linked]
topic = "support"
id = "link"
time = "at"
link = true
customer = { app = "app_user", card = "card", phone = "phone" }
"""
TRIGGERS = """
[[trigger]]
name = "basket_left"
meaning = "looked at the basket and bought nothing within half an hour"
on = "page_viewed"
when = "event.kind == 'basket'"
unless = { event = "item_bought", within = "30m" }
cooldown = "1d"

[[trigger]]
name = "declined_again"
meaning = "a third declined payment within the hour: the moment to offer another way to pay"
on = "payment_made"
when = "declined_count_1h >= 3"
cooldown = "1d"

[[trigger]]
name = "unhappy"
meaning = "the second unsolved contact within a week"
on = "support_contacted"
when = "unsolved_count_7d >= 2"
cooldown = "7d"
"""
OFFERS = """
[[placement]]
name = "feed"
offers = "deal"
limit = 10
temperature = 0.25
clip = 4.0
prior = 0.02
attribution = "day"

[[placement]]
name = "push"
offers = "deal"
limit = 1
silence = 0.01
temperature = 0.25
clip = 4.0
prior = 0.02
attribution = "7d"
model = "feed"

[[rule]]
name = "not_too_often"
when = "views_of_offer_count_1d < 20"
reason = "This offer was shown often enough today."

[[rule]]
name = "not_right_after_trouble"
placements = ["push"]
when = "unsolved_count_1d == 0"
reason = "Support could not help today: this is no moment for a message."
"""
