"""A market stall: the playbook of simulated runs, so small that one schedule is cheap."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from events.codec import render_cloudevent, render_time
from features.declare import Playbook, load
from features.plan import Plan, compile_plan
from models.catalogue import Catalogue
from models.catalogue import load as load_catalogue

FILES: Final = {
    "playbook.toml": """
name = "stall"
timezone = "UTC"
lateness = "1m"
freshness = "1h"

[[aggregate]]
name = "spend"
event = "bought"
value = "amount"
functions = ["count", "sum"]
windows = ["1m", "5m"]
half_lives = ["1m"]
unit = "EUR"
meaning = "what was paid"

[[aggregate]]
name = "taste"
event = "bought"
functions = ["count"]
by = "kind"
match = "kind"
windows = ["1m"]
unit = "times"
meaning = "how often this kind was bought"

[[aggregate]]
name = "market"
of = "global"
event = "bought"
value = "amount"
functions = ["count"]
windows = ["5m"]
unit = "times"
meaning = "what everybody buys"
""",
    "events.toml": """
[bought]
topic = "till"
id = "receipt"
time = "at"
customer = { card = "card" }
fields = { amount = "decimal", kind = "category" }

[filled]
topic = "web"
id = "basket"
time = "at"
customer = { app = "app" }
fields = { kind = "category" }

[joined]
topic = "club"
id = "form"
time = "at"
link = true
customer = { card = "card", app = "app" }
""",
    "triggers.toml": """
[[trigger]]
name = "generous"
meaning = "much was bought within a minute"
on = "bought"
when = "spend_sum_1m >= 20"

[[trigger]]
name = "basket_left"
meaning = "a basket was filled and nothing of its kind bought in two seconds"
on = "filled"
unless = { event = "bought", within = "2s", same = ["kind"] }
patience = "1s"

[[trigger]]
name = "second_thoughts"
meaning = "bought again soon after, for a little while only once"
on = "bought"
after = { event = "bought", within = "5s" }
cooldown = "3s"
""",
    "offers.toml": """
[[placement]]
name = "feed"
offers = "goods"
limit = 2
attribution = "3s"

[[placement]]
name = "push"
offers = "goods"
limit = 1
attribution = "3s"
model = "feed"

[[offer]]
id = "pears"
name = "Pears"
group = "goods"
attributes = { kind = "fruit" }

[[offer]]
id = "cheese"
name = "Cheese"
group = "goods"
attributes = { kind = "dairy" }

[[offer]]
id = "bread"
name = "Bread"
group = "goods"
attributes = { kind = "bakery" }
""",
}

KINDS: Final = ("fruit", "dairy", "bakery")


class Stall(NamedTuple):
    """The playbook read once, and what is made of it."""

    playbook: Playbook
    plan: Plan
    catalogue: Catalogue


@cache
def stall() -> Stall:
    """The stall's playbook, plan and offers."""
    with TemporaryDirectory(prefix="kairos-stall-") as name:
        folder = Path(name)
        for file, text in FILES.items():
            (folder / file).write_text(text)
        playbook = load(folder)
        plan = compile_plan(playbook)
        return Stall(playbook, plan, load_catalogue(folder, plan))


def bought(receipt: str, at: int, card: str, amount: object, kind: str) -> bytes:
    """A purchase as a till publishes it."""
    data = {"receipt": receipt, "at": render_time(at), "card": card, "amount": amount, "kind": kind}
    return render_cloudevent("bought", receipt, "till", data)


def filled(basket: str, at: int, app: str, kind: str) -> bytes:
    """A basket that was filled in the app."""
    data = {"basket": basket, "at": render_time(at), "app": app, "kind": kind}
    return render_cloudevent("filled", basket, "web", data)


def joined(form: str, at: int, card: str, app: str) -> bytes:
    """A card and an app that turn out to be one customer."""
    data = {"form": form, "at": render_time(at), "card": card, "app": app}
    return render_cloudevent("joined", form, "club", data)
