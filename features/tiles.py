"""Tiles: what is kept of the events of a piece of time, and how pieces coarsen as they age.

With windows w1 < w2 < ..., tiles of level k are 2^widths[k] ms wide, at most a hundredth of window k. Widths
nest, so tiles coarsen by adding. An event moves up to level k once the whole tile of level k around it has
left window k-1, and is forgotten once its tile has left the last window: where it belongs follows from its
own time and the newest time alone. A tile's place is `(start in units of the finest width) << 3 | level`,
so that places sort by start.

With a half-life h, time is cut in intervals of h; an interval i sums round(v * 2^frac(t / h) * 2^24). Read at
t', its part is that sum times 2^(i - t'/h - 24): forward decay (Cormode, Shkapenyuk, Srivastava and Xu 2009),
exact to add in any order. The newest 40 intervals are kept; what is older weighs less than 2^-39.
"""

from functools import lru_cache
from typing import Any

from features.bank import COUNT, COUNT_SUM, SUM, Bank
from features.state import Cell, Tile

HALF_LIVES_KEPT = 40
WEIGHT_BITS = 24


def new_cell(bank: Bank) -> Cell:
    """A cell to which nothing has happened, in the order of the bank's slots."""
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


def add(tiles: dict[int, Any], place: int, count: int, value: int, shape: int) -> None:
    """Add a value of so many events, or of such a weight, to the tile at `place`."""
    if shape == COUNT:
        tiles[place] = tiles.get(place, 0) + count
    elif shape == SUM:
        tiles[place] = tiles.get(place, 0) + value
    elif (tile := tiles.get(place)) is None:
        tiles[place] = [count, value] if shape == COUNT_SUM else [count, value, value, value]
    else:
        tile[0] += count
        tile[1] += value
        if shape != COUNT_SUM:
            if value < tile[2]:
                tile[2] = value
            if value > tile[3]:
                tile[3] = value


def total(a: Any, b: Any) -> Tile:
    """Two tiles of one shape as one."""
    if isinstance(a, int):
        return int(a + b)
    if len(a) == 2:
        return [a[0] + b[0], a[1] + b[1]]
    return [a[0] + b[0], a[1] + b[1], min(a[2], b[2]), max(a[3], b[3])]


@lru_cache(maxsize=4096)
def decay(time: int, half_life: int) -> tuple[int, float]:
    """The interval of half-lives in which the instant lies, and the weight of what happens then."""
    interval, rest = divmod(time, half_life)
    return interval, 2.0 ** (rest / half_life + WEIGHT_BITS)


def bounds(bank: Bank, newest: int) -> list[int]:
    """For each window the place below which tiles move up a level; below the last they are forgotten."""
    finest = bank.widths[0]
    above = (*bank.widths[1:], bank.widths[-1])
    return [
        max(0, newest - window) >> width << width >> finest << 3
        for window, width in zip(bank.aggregate.windows, above, strict=True)
    ]


def risen(bank: Bank, place: int, limits: list[int]) -> int:
    """Where the tile at `place` belongs under these bounds; -1 when nowhere."""
    if place < limits[-1]:
        return -1
    level = sum(place < limit for limit in limits[:-1])
    if level <= place & 7:
        return place
    wider = bank.widths[level] - bank.widths[0]
    return place >> 3 >> wider << wider << 3 | level


def coarsened(bank: Bank, tiles: dict[int, Any], limits: list[int]) -> dict[int, Any]:
    """The same tiles, in order, each where it belongs under these bounds; what `risen` says of each."""
    kept: dict[int, Any] = {}
    level = len(limits) - 1
    for place in sorted(tiles):
        # From the oldest on, levels only fall.
        while level and place >= limits[level - 1]:
            level -= 1
        if level > place & 7 or place < limits[-1]:
            place_now = risen(bank, place, limits)
            if place_now < 0:
                continue
        else:
            place_now = place
        kept[place_now] = total(kept[place_now], tiles[place]) if place_now in kept else tiles[place]
    return kept
