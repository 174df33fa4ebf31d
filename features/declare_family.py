"""Reading whose events an `[[aggregate]]` counts and which key an offer picks, every fault noted."""

from collections.abc import Mapping, Sequence

from events.faults import did_you_mean
from features.duration import MINUTE, render_duration
from features.feature import PERCENTILES, SHARED, Of
from features.table import Table

KEYS, MOST_KEYS = 128, 4_096
"""Keys that a family of a customer keeps unless it says otherwise, and the most that any may keep."""

SAMPLE = 256
"""Values that a distinct keeps unless it says otherwise: its error past them is at most 6.3 %."""

BUCKETS = 160
"""Buckets that percentiles keep: while values are within a factor of 3,000, their error is 2.5 %."""

SHORTEST_SHARED = 5 * MINUTE
"""The shortest window over everybody: its counts are read once a second, so that is within 1 % of it."""

COUNTED = ("count", "sum", "mean", "min", "max", "share")
"""What can be asked of everybody: of windows only, as the log is not folded again for what is new."""

_PAIR = ["customer", "offer"]
_OF = '"customer", ["customer", "offer"], "offer", "offer_group" or "global"'


def read_family(
    table: Table, event: str, kinds: Mapping[str, str], declared: tuple[str, ...]
) -> tuple[Of, str | None, str | None]:
    """(of, by, match); `match` is "offer" where the offer's own id picks the key."""
    of = _of(table)
    by, match = table.optional_text("by"), table.optional_text("match")
    keys = [field for field, kind in kinds.items() if kind.removesuffix("?") == "category"]
    if by and event and by not in keys:
        table.fault("by", f"a category field of {event}", repr(by), did_you_mean(by, keys))
    if "share" in declared and not by:
        table.fault("by", "the field that keys the family a share is of", "nothing")
    percentiles = any(function in PERCENTILES for function in declared)
    if percentiles and of == "customer" and by:
        table.fault("by", "no by, as percentiles are of all values of one field", repr(by))
    if percentiles and of == "pair":
        table.fault("of", "a customer's, as percentiles are", "those with each offer")
    if "distinct" in declared and by:
        table.fault("by", "no by, as distinct counts the values of one field", repr(by))
    if of == "global":
        for key, written in (("by", by), ("match", match)):
            if written:
                table.fault(key, f"no {key}, as it is one number for all", repr(written))
        return of, None, None
    if of in ("pair", "offer"):
        if not by:
            table.fault("by", "the field of the event that names the offer", "nothing")
        if match:
            table.fault("match", "no match, as the offer's own id picks the key", repr(match))
        return of, by, "offer"
    if of == "offer_group" and not by and not match:
        table.fault("by", "the field of the event that names the group", "nothing")
    if by and not match:
        table.fault("match", "the offer's attribute that picks the key of this family", "nothing")
    if match and not by:
        table.fault("by", "the field that keys this family, as match is given", "nothing")
    return of, by, match


def check_shared(
    table: Table, declared: Sequence[str], windows: Sequence[int], half_lives: Sequence[int], ever: bool
) -> None:
    """Note what cannot be counted over everybody."""
    hint = "ask it of a customer, or count over windows"
    for function in declared:
        if function not in COUNTED:
            table.fault("functions", f"some of {', '.join(COUNTED)} over everybody", function, hint)
    if half_lives:
        written = ", ".join(map(render_duration, half_lives))
        table.fault("half_lives", "windows only, as it counts over everybody", written, hint)
    if ever:
        table.fault("ever", "windows only, as it counts over everybody", "true", hint)
    for window in windows:
        if window < SHORTEST_SHARED:
            shortest = f'lengths from "{render_duration(SHORTEST_SHARED)}" on, as it counts over everybody'
            table.fault("windows", shortest, render_duration(window))


def read_keys(table: Table, of: Of, by: str | None, declared: tuple[str, ...]) -> int:
    """How many keys are kept, or values of a distinct, or buckets; 1 when none of these is asked for."""
    if any(function in PERCENTILES for function in declared) and not table.has("keys"):
        return BUCKETS
    if by or "distinct" in declared:
        usual = MOST_KEYS if of in SHARED else KEYS
        return table.whole("keys", SAMPLE if "distinct" in declared else usual, 1, MOST_KEYS)
    if table.has("keys"):
        table.fault("keys", "by or distinct beside it, as it bounds their keys", "neither")
    return 1


def _of(table: Table) -> Of:
    written = table.raw["of"] if table.has("of") else "customer"
    if written == _PAIR:
        return "pair"
    if written == "customer":
        return "customer"
    if isinstance(written, str) and written in SHARED:
        return written
    hint = did_you_mean(written, ["customer", *SHARED]) if isinstance(written, str) else ""
    if written == "pair" or (isinstance(written, list) and sorted(map(str, written)) == _PAIR):
        hint = 'write of = ["customer", "offer"]'
    table.fault("of", _OF, repr(written), hint)
    return "customer"
