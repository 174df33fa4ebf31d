"""Reading a cell of a state at an instant: what its windows, half-lives and times come to then.

A window (at - w, at) counts the tiles whose middle is later than at - w, at the width that belongs to the
window: its edge is off by at most half a hundredth of its length. Half-lives, `ever` and times are exact.
A tile counts as if it had been coarsened already, and an interval of half-lives as if it had been forgotten
already, so that a state reads the same before and after it is settled.
"""

from typing import Any

from features.bank import COUNT, SUM, Bank, Span
from features.duration import DAY
from features.state import Cell
from features.tiles import HALF_LIVES_KEPT, WEIGHT_BITS


def read_cell(bank: Bank, cell: Cell, at: int) -> list[tuple[int, float]]:
    """(place among the bank's features, value) of what is not empty in this cell at `at`."""
    values: list[tuple[int, float]] = []
    for span in bank.spans:
        if span.kind == "window":
            width = bank.widths[span.number]
            finest = bank.widths[0]
            # Tiles whose middle is at or after the edge; they start at multiples of their width.
            edge = at - span.length - (1 << width >> 1)
            bound = -(-edge >> width) << width >> finest << 3
            _read_tiles(
                bank, span, [tile for place, tile in cell[bank.tiles].items() if place >= bound], values
            )
        elif span.kind == "ever":
            _read_tiles(bank, span, list(cell[bank.ever].values()), values)
        else:
            _read_decayed(bank, span, cell[bank.halves + span.number], at, values)
    for place, function in bank.moments:
        if function == "since_last":
            values.append((place, (at - cell[bank.last]) / DAY))
        elif function == "since_first":
            values.append((place, (at - cell[bank.first]) / DAY))
        else:
            values.append((place, cell[bank.newest][2] / bank.scale))
    return values


def _read_tiles(bank: Bank, span: Span, tiles: list[Any], values: list[tuple[int, float]]) -> None:
    if not tiles:
        return
    count = total = 0
    if bank.shape == COUNT:
        count = sum(tiles)
    elif bank.shape == SUM:
        total = sum(tiles)
    else:
        count = sum([tile[0] for tile in tiles])
        total = sum([tile[1] for tile in tiles])
    for place, function in span.outputs:
        if function == "count":
            values.append((place, count))
        elif function == "sum":
            values.append((place, total / bank.scale))
        elif function == "mean":
            values.append((place, total / count / bank.scale))
        elif function == "min":
            values.append((place, min(tile[2] for tile in tiles) / bank.scale))
        else:
            values.append((place, max(tile[3] for tile in tiles) / bank.scale))


def _read_decayed(
    bank: Bank, span: Span, tiles: dict[int, Any], at: int, values: list[tuple[int, float]]
) -> None:
    # By the instant, not by the newest event, so that a state reads the same before and after it is settled.
    horizon = at // span.length - HALF_LIVES_KEPT
    tiles = {interval: tile for interval, tile in tiles.items() if interval >= horizon}
    if not tiles:
        return
    now = at / span.length + WEIGHT_BITS
    weights = [2.0 ** (interval - now) for interval in tiles]
    count = total = 0.0
    if bank.shape == COUNT:
        count = sum([weight * tile for weight, tile in zip(weights, tiles.values(), strict=True)])
    elif bank.shape == SUM:
        total = sum([weight * tile for weight, tile in zip(weights, tiles.values(), strict=True)])
    else:
        count = sum([weight * tile[0] for weight, tile in zip(weights, tiles.values(), strict=True)])
        total = sum([weight * tile[1] for weight, tile in zip(weights, tiles.values(), strict=True)])
    for place, function in span.outputs:
        if function == "count":
            values.append((place, count))
        elif function == "sum":
            values.append((place, total / bank.scale))
        elif function == "mean":
            values.append((place, total / count / bank.scale if count else 0.0))
