"""A café: a playbook small enough to read at a glance, and decisions made over it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from features.declare import load as load_playbook
from features.plan import Plan, compile_plan
from models.catalogue import Catalogue, load
from models.decision import Decision, Question, Request, decide
from models.eligibility import Indices
from models.placement import ContextValue
from models.scorer import Floats
from models.scorers.blend import Blend
from models.scorers.prior import Prior

NOON = 1_700_000_000_000  # 2023-11-14 22:13:20 UTC, 17:13:20 in New York, a Tuesday
CUSTOMER = "{007}abcdefabcdef"

PLAYBOOK = """
name = "cafe"
timezone = "America/New_York"

[[aggregate]]
name = "sips"
event = "drink"
value = "price"
functions = ["count", "sum"]
windows = ["7d"]
unit = "USD"
meaning = "what was drunk"

[[aggregate]]
name = "of_kind"
event = "drink"
by = "kind"
match = "kind"
functions = ["count"]
windows = ["7d"]
unit = "times"
meaning = "drinks of the kind the offer is"

[[aggregate]]
name = "told"
event = "drink"
by = "drink"
match = "offer"
functions = ["count"]
ever = true
unit = "times"
meaning = "how often this very drink was had"
"""

EVENTS = """
[drink]
topic = "bar"
id = "no"
time = "at"
customer = { card = "card" }

[drink.fields]
price = "decimal"
kind = "category"
drink = "category"
"""

OFFERS = """
[[placement]]
name = "board"
offers = "drinks"
limit = 3
temperature = 0.5
clip = 3.0
prior = 0.1
attribution = "day"
context = { weather = "category" }

[[placement]]
name = "whisper"
offers = "drinks"
limit = 1
silence = 0.1
temperature = 0.5
clip = 3.0
model = "board"

[[rule]]
name = "hot_weather"
placements = ["board"]
when = "offer.kind != 'tea' || context.weather != 'hot'"
reason = "Nobody wants tea in the heat."

[[rule]]
name = "regulars"
when = "offer.strength < 9 || sips_count_7d > 2"
reason = "The strongest drinks are for regulars."

[[rule]]
name = "no_repeats"
when = "told_count_ever < 5"
reason = "The guest knows this drink too well."

[[offer]]
id = "espresso"
group = "drinks"
value = 2.0
attributes = { kind = "coffee", strength = 9 }
treatments = { board = { text = "Short and strong" } }

[[offer]]
id = "latte"
group = "drinks"
attributes = { kind = "coffee", strength = 4 }
valid_from = 2023-11-01T00:00:00Z

[[offer]]
id = "mate"
group = "drinks"
attributes = { kind = "tea", strength = 6 }
valid_to = 2023-11-14T22:13:20Z

[[offer]]
id = "oolong"
group = "drinks"
attributes = { kind = "tea", strength = 3 }

[[offer]]
id = "sencha"
group = "drinks"
attributes = { kind = "tea" }
eligible = ["sips_sum_7d > 1"]
"""


def write(folder: Path, offers: str = OFFERS) -> Path:
    """The café's playbook in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"playbook.toml": PLAYBOOK, "events.toml": EVENTS, "triggers.toml": "", "offers.toml": offers}
    for name, text in texts.items():
        (folder / name).write_text(text)
    return folder


def opened(folder: Path, offers: str = OFFERS) -> tuple[Plan, Catalogue]:
    """Plan and catalogue of a café written to `folder`."""
    plan = compile_plan(load_playbook(write(folder, offers)))
    return plan, load(folder, plan)


# A customer's row is sips_count_7d, sips_sum_7d; a cross row is of_kind_count_7d, told_count_ever.
ROW = np.array([3, 12.5], dtype=np.float32)


def crossing(
    values: Mapping[str, float], catalogue: Catalogue, placement: str
) -> Callable[[Indices], Floats]:
    """Cross features in which `told_count_ever` is as given by offer, and the rest 1."""
    offers = catalogue.assortment(placement).offers

    def cross_for(chosen: Indices) -> Floats:
        return np.array([[1, values.get(offers[n].id, 0)] for n in chosen], dtype=np.float32).reshape(-1, 2)

    return cross_for


def question(
    catalogue: Catalogue,
    placement: str = "board",
    *,
    request_id: str = "r-1",
    at: int = NOON,
    context: Mapping[str, ContextValue] | None = None,
    row: Floats = ROW,
    told: Mapping[str, float] | None = None,
    limit: int | None = None,
    seed: int | None = None,
) -> Question:
    """What the café is asked."""
    weather: Mapping[str, ContextValue] = {"weather": "mild"} if placement == "board" else {}
    request = Request(
        request_id=request_id,
        customer=CUSTOMER,
        context=weather if context is None else context,
        limit=limit,
    )
    return Question(request, row, crossing(told or {}, catalogue, placement), at, seed)


def answered(
    catalogue: Catalogue, question: Question, placement: str = "board", scorers: Blend | None = None
) -> Decision:
    """The café's decision of a question."""
    scorers = scorers or Blend(prior=Prior(0.1))
    request, row, cross_for, at, seed, *_ = question
    return decide(request, placement, catalogue, row, cross_for, scorers, at, seed)


def asked(
    catalogue: Catalogue, placement: str = "board", *, scorers: Blend | None = None, **said: Any
) -> Decision:
    """A decision of the café; `said` are the named arguments of `question`."""
    return answered(catalogue, question(catalogue, placement, **said), placement, scorers)
