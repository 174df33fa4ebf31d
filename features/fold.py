"""The one fold: events into the state of a customer. Stream, backfill, tests and simulation all call this.

**The law.** States of disjoint sets of events form a commutative monoid: `merge` is associative and
commutative, and folding a log is merging its singletons. So late events, backfill, rescaling and any
batching give the same state, and `encode` the same bytes. It holds because everything kept is a sum, a
minimum or a maximum over the events of a piece of time (see `features.tiles`), and because which piece an
event belongs to follows from its own time and the newest time alone.
"""

import enum
from typing import Any

import mmh3

from events.envelope import Event
from features.bank import COUNT, SUM
from features.merge import merge, settle
from features.plan import Plan
from features.state import BlobDamaged, State, UnknownPlan, pack, unpack
from features.tiles import HALF_LIVES_KEPT, add, bounds, decay, new_cell, risen

__all__ = [
    "BlobDamaged",
    "Fate",
    "State",
    "UnknownPlan",
    "decode",
    "empty",
    "encode",
    "fold",
    "merge",
    "settle",
]


class Fate(enum.Enum):
    """What became of an event: folded, known already, too late, read already, or no concern."""

    FOLDED = "folded"
    REPEAT = "repeat"
    LATE = "late"
    BEHIND = "behind"
    IRRELEVANT = "irrelevant"


def empty(plan: Plan) -> State:
    """The state of a customer to whom nothing has happened: the monoid's neutral element."""
    return State(plan.digest, len(plan.banks))


def fold(plan: Plan, state: State, event: Event, partition: int, position: int) -> Fate:
    """Fold one event of the log into the state, in place.

    `position` is the event's place in `partition` of the log: what is at or below the applied position is
    skipped, so that reading a piece of log again changes nothing. An irrelevant event leaves no trace.
    """
    program = plan.programs.get(event.type)
    if program is None:
        return Fate.IRRELEVANT
    if position <= state.applied.get(partition, -1):
        return Fate.BEHIND
    state.applied[partition] = position
    time, newest = event.time, state.newest
    oldest = newest - plan.lateness_ms
    if time < oldest:
        return Fate.LATE
    mark = mmh3.hash64(f"{event.type}\0{event.id}", signed=False)[0]
    recent = state.recent
    # A mark older than `oldest` counts as forgotten whether or not the state has been settled since.
    if mark in recent and recent[mark] >= oldest:
        return Fate.REPEAT
    recent[mark] = time
    if time > newest:
        state.newest = newest = time
    age, fields, banks = newest - time, event.fields, state.banks
    if age:
        state.ordered = False
    truths = [condition(fields) for condition in program.conditions]
    for (
        bank,
        number,
        where,
        value_of,
        by,
        shape,
        tiles,
        width,
        window,
        ever,
        first,
        last,
        latest,
        halves,
    ) in program.steps:
        if where >= 0 and truths[where] is not True:
            continue
        value: Any = 0
        if value_of is not None and (value := fields.get(value_of)) is None:
            continue
        key: Any = ""
        if by is not None and (key := fields.get(by)) is None:
            continue
        cells = banks[number]
        cell = cells.get(key)
        if cell is None:
            cell = cells[key] = new_cell(bank)
        if tiles >= 0:
            place = time >> width << 3
            if age > window:
                place = risen(bank, place, bounds(bank, newest))
            if place >= 0:
                kept = cell[tiles]
                # The two commonest shapes are written out: a call costs more than what it does.
                if shape == SUM:
                    kept[place] = kept.get(place, 0) + value
                elif shape == COUNT:
                    kept[place] = kept.get(place, 0) + 1
                else:
                    add(kept, place, 1, value, shape)
        if ever >= 0:
            add(cell[ever], 0, 1, value, shape)
        if first >= 0 and not 0 <= cell[first] <= time:
            cell[first] = time
        if last >= 0 and time > cell[last]:
            cell[last] = time
        if latest >= 0 and (time, mark) > (cell[latest][0], cell[latest][1]):
            cell[latest] = [time, mark, value]
        for slot, length, decayed in halves:
            interval, weight = decay(time, length)
            if interval >= newest // length - HALF_LIVES_KEPT:
                add(cell[slot], interval, round(weight), round(weight * value), decayed)
    return Fate.FOLDED


def encode(plan: Plan, state: State) -> bytes:
    """The state's canonical bytes; settles it first."""
    settle(plan, state)
    return pack(state)


def decode(plan: Plan, blob: bytes) -> State:
    """The state in these bytes.

    Errors: `BlobDamaged`; `UnknownPlan` when it was folded under another plan.
    """
    return unpack(blob, plan.digest)
