"""Reading whose events an `[[aggregate]]` counts and which key an offer picks, every fault noted."""

from collections.abc import Mapping
from typing import cast

from events.faults import did_you_mean
from features.feature import Of
from features.table import Table

KEYS, MOST_KEYS = 128, 4_096
"""Keys that a family keeps unless it says otherwise, and the most it may keep."""

SAMPLE = 256
"""Values that a distinct keeps unless it says otherwise: its error past them is at most 6.3 %."""

_SHARED = ("offer", "offer_group", "global")
"""Counted over everybody: declarations have them, the fold keeps states of single customers only."""

_PAIR = ["customer", "offer"]
_OF = '"customer" or ["customer", "offer"]'


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
    if "distinct" in declared and by:
        table.fault("by", "no by, as distinct counts the values of one field", repr(by))
    if of in _SHARED:
        # Refused already: what is wrong with its keys besides would only hide that.
        return of, by, "offer" if of == "offer" else match
    if of == "pair":
        if not by:
            table.fault("by", "the field of the event that names the offer", "nothing")
        if match:
            table.fault("match", "no match, as the offer's own id picks the key", repr(match))
        return of, by, "offer"
    if by and not match:
        table.fault("match", "the offer's attribute that picks the key of this family", "nothing")
    if match and not by:
        table.fault("by", "the field that keys this family, as match is given", "nothing")
    return of, by, match


def read_keys(table: Table, by: str | None, declared: tuple[str, ...]) -> int:
    """How many keys are kept, or values of a distinct; 1 when neither is asked for."""
    if by or "distinct" in declared:
        return table.whole("keys", SAMPLE if "distinct" in declared else KEYS, 1, MOST_KEYS)
    if table.has("keys"):
        table.fault("keys", "by or distinct beside it, as it bounds their keys", "neither")
    return 1


def _of(table: Table) -> Of:
    written = table.raw["of"] if table.has("of") else "customer"
    if written == _PAIR:
        return "pair"
    if written == "customer":
        return "customer"
    shared = isinstance(written, str) and written in _SHARED
    hint = did_you_mean(written, ["customer"]) if isinstance(written, str) else ""
    if written == "pair" or (isinstance(written, list) and sorted(map(str, written)) == _PAIR):
        hint = 'write of = ["customer", "offer"]'
    if shared:
        hint = "counts over everybody come with the next release"
    table.fault("of", _OF, repr(written), hint)
    return cast(Of, written) if shared else "customer"
