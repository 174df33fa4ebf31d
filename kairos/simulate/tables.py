"""The report's tables: the same rows for people at a terminal and for the page."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

NOBODY = ("oracle", "silence")
"""Arms that learn nothing, so nothing is new to them."""


SCALES: Final = (("lunch", "ride", "bike"), ("cinema", "groceries"), ("shoes", "gadget", "travel"))
"""Needs that last about equally long."""


class Told(NamedTuple):
    """A table: what stands above it, and its rows."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def arms(told: Mapping[str, Any]) -> Told:
    """What each arm captures and misses."""
    return Told(
        ("", "captured (95 %)", "regret (95 %)", "of the oracle", "missed at its moments", "booked (95 %)"),
        [
            [
                arm["name"],
                money(arm["gain"], arm["gain_ci"]),
                money(arm.get("regret"), arm.get("regret_ci")),
                percent(arm.get("of_oracle")),
                percent(arm["regret_a_moment"]),
                money(arm.get("booked"), arm.get("booked_ci")),
            ]
            for arm in told.values()
        ],
    )


def sources(report: Mapping[str, Any]) -> Told:
    """From which needs it comes what each arm captures."""
    return Told(
        ("", *(scale(report["needs"], some) for some in SCALES)),
        [
            [
                arm["name"],
                *(
                    f"{gain:.2f} ({percent(gain / arm['gain'] if arm['gain'] > 0 else None)})"
                    for gain in (sum(arm["by_need"][need] for need in some) for some in SCALES)
                ),
            ]
            for name, arm in report["arms"].items()
            if name != "silence"
        ],
    )


def contacts(told: Mapping[str, Any]) -> Told:
    """What each arm says to people, and what comes of it."""
    return Told(
        ("", "cards", "messages", "taken", "put off", "given away, EUR", "switched messages off"),
        [
            [
                arm["name"],
                *(f"{arm[part]:.2f}" for part in ("cards", "messages", "taken", "put_off", "given_away")),
                percent(arm["opted_out"], 1),
            ]
            for arm in told.values()
        ],
    )


def delays(report: Mapping[str, Any]) -> Told:
    """What it costs to see the world late, here and where needs last longer."""
    slow = report["delay_slow"]
    times = f"needs {slow['pace'] / report['delay']['pace']:g} times as long"
    return Told(
        (
            "Kairos sees so late",
            "captured (95 %)",
            "of 1 s (95 %)",
            "town by town",
            f"{times}: of 1 s (95 %)",
            "of these, town by town",
        ),
        [
            [
                name,
                money(told["gain"], told["gain_ci"]),
                *(
                    each
                    for one in (told, slow["delays"][name])
                    for each in (share(one["share"], one["share_ci"]), towns(one["share_by_seed"]))
                ),
            ]
            for name, told in report["delay"]["delays"].items()
        ],
    )


def needs(told: Sequence[Mapping[str, Any]]) -> Told:
    """What people need in this town."""
    return Told(
        ("", "half-life", "share of needs", "price, EUR"),
        [
            [each["name"], lasts(each["half_life_h"]), f"{100 * each['share']:.3g} %", f"{each['price']:.0f}"]
            for each in told
        ],
    )


def newcomer(each: Mapping[str, Any]) -> str:
    """How long an offer stays cold, arm by arm, in a sentence."""
    never = f"not within {each['watched']} days"
    told = ", ".join(
        f"{arm['name']} {never if arm['days'] is None else arm['days']}"
        for name, arm in each["arms"].items()
        if name not in NOBODY
    )
    return (
        f"{each['offer']} appears on day {each['from_day']}. Days until it is made at half the rate of old "
        f"offers, each where it is truly the best: {told}."
    )


def lasts(hours: float) -> str:
    """A time for people.

    >>> lasts(1 / 3), lasts(3.0), lasts(48.0), lasts(1 / 3600)
    ('20 min', '3 h', '2 days', '1 s')
    """
    for unit, words, least in ((24.0, "days", 48.0), (1.0, "h", 1.0), (1 / 60, "min", 1 / 60)):
        if hours >= least:
            return f"{hours / unit:.3g} {words}"
    return f"{3_600 * hours:.3g} s"


def span(hours: Iterable[float]) -> str:
    """From the shortest to the longest time.

    >>> span([3.0, 1.0, 96.0])
    '1 h to 4 days'
    """
    known = list(hours)
    return f"{lasts(min(known))} to {lasts(max(known))}"


def scale(needs: Sequence[Mapping[str, Any]], some: Sequence[str]) -> str:
    """What needs are called that last about equally long, as long as they do in this town."""
    return f"{span(each['half_life_h'] for each in needs if each['name'] in some)} ({', '.join(some)})"


def money(amount: float | None, pair: Sequence[float] | None) -> str:
    """An amount and its interval.

    >>> money(1.5, [1.25, 2.0]), money(None, None)
    ('1.50 (1.25 to 2.00)', '-')
    """
    if amount is None:
        return "-"
    return f"{amount:.2f}" + ("" if pair is None else f" ({pair[0]:.2f} to {pair[1]:.2f})")


def percent(part: float | None, places: int = 0) -> str:
    """A part of 1 as a share of a hundred."""
    return "-" if part is None else f"{100 * part:.{places}f} %"


def share(part: float | None, pair: Sequence[float] | None) -> str:
    """A share and its interval."""
    known = pair is not None and pair[0] < pair[1]  # of itself it is 100 % whoever is drawn
    return percent(part) + (f" ({100 * pair[0]:.0f} to {100 * pair[1]:.0f})" if pair and known else "")


def towns(shares: Sequence[float | None]) -> str:
    """The least and the greatest share of any town.

    >>> towns([0.7, 0.8, None]), towns([0.7])
    ('70 to 80 %', '-')
    """
    known = [each for each in shares if each is not None]
    return (
        "-"
        if len(known) < 2 or min(known) == max(known)
        else f"{100 * min(known):.0f} to {100 * max(known):.0f} %"
    )
