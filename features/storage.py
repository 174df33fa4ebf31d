"""What a plan stores, said so that another plan can read it: the key of each aggregate's cells, in order.

A key covers what the cells are made of (event, value, condition, key field, windows, half-lives, what a tile
keeps), not what they are called or how they are read. So a renamed aggregate finds its cells again, under any
plan that stores the same; one that was widened has new ones.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np

from features.bank import FINENESS, Bank
from features.kernel import layout as at
from features.kernel.buckets import GAMMA
from features.kernel.layout import LIMIT_DIGEST
from features.plan import LAYOUT, Plan
from features.settle import Settling

KEY_BYTES: Final = 8

_SHAPE: Final = (
    *(at.COUNTS, at.SUMS, at.EXTREMES, at.LEVELS, at.EVER, at.FIRST, at.LAST, at.LATEST, at.HALVES),
    *(at.SAMPLE, at.HORIZON),
)
"""Columns of a bank's table that say how its cells look; bounds on keys may change under them."""


class Stored(msgspec.Struct, frozen=True):
    """The cells of one aggregate: `key` of what they hold, and whether they are a family's."""

    key: str
    family: bool
    name: str


class Storage(msgspec.Struct, frozen=True):
    """What the states of one plan hold: aggregates in the order of their numbers, and what is remembered.

    `remembered` are the names of the entries that triggers remember, in the order of their numbers:
    triggers, then what is remembered of events that answer.
    `layout` is the version of the bytes; `triggers` digests each of them; `tables` are those of
    `features.settle.Settling`, by which recent events become cells.
    """

    digest: str
    layout: int
    stored: tuple[Stored, ...]
    triggers: dict[str, str]
    remembered: tuple[str, ...]
    tables: tuple[tuple[int, ...], ...]

    @property
    def settling(self) -> Settling:
        """The tables by which states of this plan are settled."""
        return Settling(*(np.array(table, dtype=np.int64) for table in self.tables))

    @property
    def cells(self) -> tuple[object, ...]:
        """Equal for plans whose states differ in what triggers remember alone, and in their digest."""
        *tables, limits = self.tables
        return (self.stored, tables, limits[:LIMIT_DIGEST], limits[LIMIT_DIGEST + 1 :])

    @property
    def keys(self) -> dict[str, int]:
        """The number of each aggregate by its key."""
        return {each.key: number for number, each in enumerate(self.stored)}


def storage_of(plan: Plan) -> Storage:
    """What the plan's states hold; worked out once for each plan."""
    known = _KNOWN.get(plan.digest)
    if known is None:
        known = _KNOWN[plan.digest] = _storage_of(plan)
    return known


_KNOWN: dict[str, Storage] = {}


def _storage_of(plan: Plan) -> Storage:
    seen: Counter[str] = Counter()
    stored = []
    for bank in plan.banks:
        key = _digest(_definition(plan, bank))
        seen[key] += 1
        # The same question asked twice is stored twice.
        unique = key if seen[key] == 1 else f"{key}.{seen[key]}"
        stored.append(Stored(unique, bank.keyed, bank.aggregate.name))
    triggers = {each.name: _digest(repr(each._replace(meaning=""))) for each in plan.playbook.triggers}
    triggers |= dict.fromkeys(plan.triggers.watches, "")
    remembered = tuple(triggers)
    tables = tuple(tuple(table.tolist()) for table in plan.settling)
    return Storage(plan.digest, LAYOUT, tuple(stored), triggers, remembered, tables)


def pack(storage: Storage) -> bytes:
    """The storage as JSON, as processes tell each other."""
    return msgspec.json.encode(storage)


def unpack(packed: bytes) -> Storage:
    """What `pack` made. Errors: `msgspec.DecodeError`."""
    return msgspec.json.decode(packed, type=Storage)


def _definition(plan: Plan, bank: Bank) -> Any:
    aggregate = bank.aggregate
    kinds: Mapping[str, str] = plan.playbook.contracts.types[aggregate.event].fields
    # Whatever the condition may speak of must mean the same.
    spoken = sorted(
        (name, kind)
        for name, kind in kinds.items()
        if name in (aggregate.value, aggregate.by) or (aggregate.where and name in aggregate.where)
    )
    row = plan.tables.banks[bank.number * at.BANK_COLUMNS : (bank.number + 1) * at.BANK_COLUMNS]
    shape = [int(each) for each in np.take(row, _SHAPE)]
    question = [aggregate.event, aggregate.value, aggregate.where, aggregate.by, aggregate.of]
    if aggregate.histogram:
        question.append(f"in buckets of {GAMMA}")
    return [FINENESS, question, spoken, aggregate.windows, aggregate.half_lives, shape]


def _digest(definition: Any) -> str:
    return hashlib.blake2b(msgspec.json.encode(definition), digest_size=KEY_BYTES).hexdigest()
