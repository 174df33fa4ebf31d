"""The one fold: events into the state of a customer. Stream, backfill, tests and simulation all call this.

**The law.** States of disjoint sets of events form a commutative monoid: `merge` is associative and
commutative, and folding a log is merging its singletons. So late events, backfill, rescaling and any batching
give the same state, and `encode` the same bytes. It holds because everything kept is a sum, a minimum or a
maximum over the events of a piece of time (a *tile*), and because which piece an event belongs to follows from
its own time and the newest time alone.

**Tiles.** With windows w1 < w2 < ..., tiles of level k are 2^widths[k] ms wide, at most a hundredth of window k.
Widths nest, so tiles coarsen by adding. An event moves up to level k once the whole tile of level k around it has
left window k-1, and is forgotten once its tile has left the last window. A tile's place is
`(start in units of the finest width) << 3 | level`, so that places sort by start.

**Half-lives.** Time is cut in intervals of one half-life h; an interval i sums round(v * 2^frac(t/h) * 2^24). Read
at t', its part is that sum times 2^(i - t'/h - 24): forward decay (Cormode, Shkapenyuk, Srivastava, Xu 2009), exact
to add in any order. The newest 40 intervals are kept.
"""

import copy
import enum
from collections.abc import Callable
from typing import Any

import mmh3

from events.envelope import Event
from features.plan import COUNT, COUNT_SUM, SUM, Bank, Plan
from features.state import BlobDamaged, Cell, State, Tile, UnknownPlan, pack, unpack

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

HALF_LIVES_KEPT = 40
WEIGHT = float(1 << 24)


class Fate(enum.Enum):
    """What became of an event: folded, known already, too late, at or below the applied position, or no concern."""

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
    if recent.get(mark, -1) >= oldest and mark in recent:
        return Fate.REPEAT
    recent[mark] = time
    if time > newest:
        state.newest = newest = time
    fields, banks = event.fields, state.banks
    truths = [condition(fields) for condition in program.conditions]
    for (
        bank,
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
        if value_of is None:
            value: Any = 0
        elif (value := fields.get(value_of)) is None:
            continue
        key: Any = ""
        if by is not None and (key := fields.get(by)) is None:
            continue
        cells = banks[bank.number]
        cell = cells.get(key)
        if cell is None:
            cell = cells[key] = new_cell(bank)
        if tiles >= 0:
            if newest - time <= window:
                _add(cell[tiles], time >> width << 3, value, shape)
            elif (place := _place(bank, time, newest)) >= 0:
                _add(cell[tiles], place, value, shape)
        if ever >= 0:
            _add(cell[ever], 0, value, shape)
        if first >= 0 and not 0 <= cell[first] <= time:
            cell[first] = time
        if last >= 0 and time > cell[last]:
            cell[last] = time
        if latest >= 0 and (time, mark) > (cell[latest][0], cell[latest][1]):
            cell[latest] = [time, mark, value]
        for slot, length in halves:
            interval, rest = divmod(time, length)
            if interval >= newest // length - HALF_LIVES_KEPT:
                weight = 2.0 ** (rest / length) * WEIGHT
                _add_decayed(cell[slot], interval, round(weight), round(weight * value), shape)
    return Fate.FOLDED


def new_cell(bank: Bank) -> Cell:
    """A cell to which nothing has happened."""
    cell: Cell = []
    if bank.tiles >= 0:
        cell.append({})
    if bank.ever >= 0:
        cell.append({})
    if bank.first >= 0:
        cell.append(-1)
    if bank.last >= 0:
        cell.append(-1)
    if bank.newest >= 0:
        cell.append([-1, 0, 0])
    if bank.halves >= 0:
        cell.extend({} for _ in bank.aggregate.half_lives)
    return cell


def _add(tiles: dict[int, Any], place: int, value: int, shape: int) -> None:
    """Count one value into the tile at `place`."""
    if shape == COUNT:
        tiles[place] = tiles.get(place, 0) + 1
    elif shape == SUM:
        tiles[place] = tiles.get(place, 0) + value
    else:
        tile = tiles.get(place)
        if tile is None:
            tiles[place] = [1, value] if shape == COUNT_SUM else [1, value, value, value]
            return
        tile[0] += 1
        tile[1] += value
        if shape != COUNT_SUM:
            if value < tile[2]:
                tile[2] = value
            if value > tile[3]:
                tile[3] = value


def _add_decayed(tiles: dict[int, Any], interval: int, count: int, total: int, shape: int) -> None:
    if shape == COUNT:
        tiles[interval] = tiles.get(interval, 0) + count
    elif shape == SUM:
        tiles[interval] = tiles.get(interval, 0) + total
    elif interval in tiles:
        tile = tiles[interval]
        tile[0] += count
        tile[1] += total
    else:
        tiles[interval] = [count, total]


def _bounds(bank: Bank, newest: int) -> list[int]:
    """For each window the place below which tiles move up a level (below the last: are forgotten), newest first."""
    finest = bank.widths[0]
    widths = (*bank.widths[1:], bank.widths[-1])
    return [
        max(0, newest - window) >> width << width >> finest << 3
        for window, width in zip(bank.aggregate.windows, widths, strict=True)
    ]


def _place(bank: Bank, time: int, newest: int) -> int:
    """The place of an event that may be older than the first window; -1 when it is past the last."""
    place = time >> bank.widths[0] << 3
    return _risen(bank, place, _bounds(bank, newest))


def _risen(bank: Bank, place: int, bounds: list[int]) -> int:
    """Where the tile at `place` belongs now; -1 when nowhere."""
    if place < bounds[-1]:
        return -1
    level = sum(place < bound for bound in bounds[:-1])
    if level <= place & 7:
        return place
    wider = bank.widths[level] - bank.widths[0]
    return place >> 3 >> wider << wider << 3 | level


def settle(plan: Plan, state: State) -> None:
    """Bring the state into canonical form: tiles coarsened, what is past forgotten, everything in order.

    Changes no value that `features.row` reads: reading treats a tile as if it had been coarsened already.
    """
    newest = state.newest
    for bank, cells in zip(plan.banks, state.banks, strict=True):
        bounds = _bounds(bank, newest) if bank.tiles >= 0 else []
        horizons = [
            (slot, newest // length - HALF_LIVES_KEPT)
            for slot, length in enumerate(bank.aggregate.half_lives, start=bank.halves)
            if bank.halves >= 0
        ]
        gone = []
        fading = max(bank.ever, bank.first, bank.last, bank.newest) < 0
        for key, cell in cells.items():
            if bounds:
                cell[bank.tiles] = _settled(bank, cell[bank.tiles], bounds)
            for slot, horizon in horizons:
                kept = cell[slot]
                if kept:
                    cell[slot] = {i: kept[i] for i in sorted(kept) if i >= horizon}
            if fading and not any(cell):
                gone.append(key)
        for key in gone:
            del cells[key]
        if bank.keyed:
            state.banks[bank.number] = {key: cells[key] for key in sorted(cells)}
    oldest = newest - plan.lateness_ms
    state.recent = {mark: time for mark, time in state.recent.items() if time >= oldest}
    state.applied = dict(sorted(state.applied.items()))
    state.memory = {name: state.memory[name] for name in sorted(state.memory)}


def _settled(bank: Bank, tiles: dict[int, Any], bounds: list[int]) -> dict[int, Any]:
    places = sorted(tiles)
    if not places or places[0] >= bounds[0]:
        return {place: tiles[place] for place in places}
    settled: dict[int, Any] = {}
    for place in places:
        if place >= bounds[0]:
            settled[place] = tiles[place]
            continue
        risen = _risen(bank, place, bounds)
        if risen >= 0:
            settled[risen] = (
                _sum(settled[risen], tiles[place], bank.shape) if risen in settled else tiles[place]
            )
    return settled


def _sum(a: Any, b: Any, shape: int) -> Tile:
    """Two tiles as one."""
    if shape in (COUNT, SUM):
        return int(a + b)
    if shape == COUNT_SUM or len(a) == 2:
        return [a[0] + b[0], a[1] + b[1]]
    return [a[0] + b[0], a[1] + b[1], min(a[2], b[2]), max(a[3], b[3])]


def merge(plan: Plan, a: State, b: State) -> State:
    """The state of the events of both, which must have none in common.

    What triggers remember is no part of the law: of each trigger's memory the greater is kept.
    Errors: `UnknownPlan` when the two were folded under different plans.
    """
    for state in (a, b):
        if state.digest != plan.digest:
            raise UnknownPlan(state.digest, plan.digest)
    both = empty(plan)
    both.newest = max(a.newest, b.newest)
    both.applied = _joined(a.applied, b.applied, max)
    both.recent = _joined(a.recent, b.recent, max)
    both.memory = _joined(a.memory, b.memory, max)
    for bank in plan.banks:
        one, other = a.banks[bank.number], b.banks[bank.number]
        cells = both.banks[bank.number]
        for key in one.keys() | other.keys():
            cells[key] = _merged(bank, one.get(key, new_cell(bank)), other.get(key, new_cell(bank)))
    both.banks = copy.deepcopy(both.banks)
    settle(plan, both)
    return both


def _merged(bank: Bank, a: Cell, b: Cell) -> Cell:
    cell = new_cell(bank)
    for slot in range(len(cell)):
        if slot == bank.first:
            cell[slot] = min((time for time in (a[slot], b[slot]) if time >= 0), default=-1)
        elif slot == bank.last or slot == bank.newest:
            cell[slot] = max(a[slot], b[slot])
        else:
            cell[slot] = _joined(a[slot], b[slot], lambda x, y: _sum(x, y, bank.shape))
    return cell


def _joined(a: dict[Any, Any], b: dict[Any, Any], join: Callable[[Any, Any], Any]) -> dict[Any, Any]:
    both = a | b
    for key in a.keys() & b.keys():
        both[key] = join(a[key], b[key])
    return both


def encode(plan: Plan, state: State) -> bytes:
    """The state's canonical bytes; settles it first."""
    settle(plan, state)
    return pack(state)


def decode(plan: Plan, blob: bytes) -> State:
    """The state in these bytes.

    Errors: `BlobDamaged`; `UnknownPlan` when it was folded under another plan.
    """
    return unpack(blob, plan.digest)
