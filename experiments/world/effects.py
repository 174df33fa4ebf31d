"""Every effect of the simulated town: its parameter, its default, and within which bounds it makes sense."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from events.faults import Refusal, did_you_mean


class Impossible(Refusal):
    """A world was asked for that cannot be; the message lists every reason, a line each."""

    exit_code = 2


def _effect(default: float, low: float, high: float, unit: str, meaning: str) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "unit": unit, "meaning": meaning})


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """How people are here. Each number is one effect; docs/world.md draws what it does.

    >>> Effects().opt_out < Effects().changed({"opt_out": 0.1}).opt_out
    True
    """

    # Needs
    needs: float = _effect(3.0, 0.0, 50.0, "a week", "needs a person has, of all kinds together")
    pace: float = _effect(1.0, 0.01, 100.0, "times", "how long needs last, of the half-lives in the table")
    rise: float = _effect(0.1, 0.01, 0.9, "of 1", "half-life of the rise of a need, of that of its decay")
    strength: float = _effect(0.4, 0.0, 1.0, "of 1", "the weakest need at its height; the strongest is 1")
    taste: float = _effect(0.8, 0.0, 3.0, "sd of log", "how much people differ in what they need")
    drift: float = _effect(0.5, 0.0, 3.0, "sd of log", "how far tastes have moved after four weeks")
    season: float = _effect(0.3, 0.0, 1.0, "of 1", "swing of each kind of need over the year")
    weekend: float = _effect(0.3, 0.0, 1.0, "of 1", "how much more, or less, is needed at weekends")
    habit: float = _effect(1.5, 0.0, 6.0, "hours", "how far a person's day is shifted against others'")
    # What is seen of them
    visits: float = _effect(
        1.4, 0.0, 20.0, "a need", "visits to the app that a need of strength 1 brings about"
    )
    browsing: float = _effect(0.2, 0.0, 50.0, "a day", "visits for no need at all")
    looks: float = _effect(2.2, 0.0, 50.0, "a visit", "things looked at")
    stray: float = _effect(0.15, 0.0, 1.0, "of 1", "looks at something else than what is needed")
    carts: float = _effect(0.2, 0.0, 1.0, "of 1", "looks at what is needed that put it into the basket")
    # What an offer does
    organic: float = _effect(0.35, 0.0, 0.99, "of 1", "needs that end in a purchase here without any offer")
    appeal: float = _effect(0.5, 0.001, 0.999, "of 1", "who would take a plain offer at the height of a need")
    price_sense: float = _effect(5.0, 0.0, 50.0, "logits", "what a whole price taken off would add to that")
    impulse: float = _effect(0.002, 0.0, 1.0, "of 1", "who takes an offer without any need")
    touchy: float = _effect(
        0.12, 0.0, 1.0, "of 1", "people whom an offer puts off what they would have bought"
    )
    put_off: float = _effect(0.6, 0.0, 1.0, "of 1", "chance that it does, each time")
    think: float = _effect(0.1, 0.0, 10.0, "half-lives", "mean time between an offer and its purchase")
    # Too much of it
    tired_of_card: float = _effect(0.05, 0.0, 10.0, "fatigue", "what one card on the screen adds")
    tired_of_push: float = _effect(0.35, 0.0, 10.0, "fatigue", "what one message adds")
    recovery: float = _effect(2.0, 0.01, 365.0, "days", "half-life of fatigue")
    heard: float = _effect(0.7, 0.0, 1.0, "of 1", "messages that are noticed, of those that cards would be")
    opt_out: float = _effect(0.015, 0.0, 1.0, "of 1", "messages after which a rested person wants no more")
    # Who is who
    bots: float = _effect(
        0.01, 0.0, 1.0, "of 1", "customers who are programs: they look at all and buy nothing"
    )
    bot_visits: float = _effect(12.0, 0.0, 200.0, "a day", "visits of a bot")
    guests: float = _effect(0.3, 0.0, 1.0, "of 1", "people who look around first and sign in later")
    strangers: float = _effect(0.1, 0.0, 1.0, "of 1", "people whose two ids both have a past when they link")
    second_device: float = _effect(0.08, 0.0, 1.0, "of 1", "people who take another device in between")

    def changed(self, given: Mapping[str, float]) -> "Effects":
        """These effects with some of them other. Errors: `Impossible` lists what cannot be."""
        known = {each.name: each.metadata for each in fields(self)}
        faults = []
        for name, value in given.items():
            if name not in known:
                faults.append(
                    f"{name}: expected an effect, found none of that name; {did_you_mean(name, known)}"
                )
            elif not known[name]["low"] <= value <= known[name]["high"]:
                low, high, unit = (known[name][key] for key in ("low", "high", "unit"))
                faults.append(f"{name}: expected {low:g} to {high:g} ({unit}), found {value:g}")
        mixed = given.get("guests", self.guests) + given.get("strangers", self.strangers)
        if not faults and mixed > 1:
            faults.append(
                f"guests and strangers: expected 1 at most together, found {mixed:g}; nobody is both"
            )
        if faults:
            raise Impossible("\n".join(["this world cannot be:", *faults]).replace("\n", "\n  "))
        return replace(self, **given)
