"""The monoid: bringing a state into canonical form, and adding two states of one customer."""

import copy
from collections.abc import Callable
from typing import Any

from features.bank import Bank
from features.plan import Plan
from features.state import Cell, State, UnknownPlan
from features.tiles import HALF_LIVES_KEPT, bounds, coarsened, new_cell, total


def settle(plan: Plan, state: State) -> None:
    """Bring the state into canonical form: tiles coarsened, what is past forgotten, everything in order.

    Changes no value that `features.row` reads: reading treats a tile as if it had been coarsened already.
    """
    newest, ordered = state.newest, state.ordered
    for bank, cells in zip(plan.banks, state.banks, strict=True):
        if not cells:
            continue
        limits = bounds(bank, newest) if bank.tiles >= 0 else []
        horizons = [newest // length - HALF_LIVES_KEPT for length in bank.aggregate.half_lives]
        for cell in cells.values():
            # Of tiles in order the first is the oldest: when it may stay, so may all.
            if limits and (tiles := cell[bank.tiles]) and (not ordered or next(iter(tiles)) < limits[0]):
                cell[bank.tiles] = coarsened(bank, tiles, limits)
            if bank.halves >= 0:
                for slot, horizon in enumerate(horizons, start=bank.halves):
                    if (kept := cell[slot]) and (not ordered or next(iter(kept)) < horizon):
                        cell[slot] = {i: kept[i] for i in sorted(kept) if i >= horizon}
        if max(bank.ever, bank.first, bank.last, bank.newest) < 0:
            cells = {key: cell for key, cell in cells.items() if any(cell)}
        keys = sorted(cells)
        state.banks[bank.number] = cells if keys == list(cells) else {key: cells[key] for key in keys}
    oldest = newest - plan.lateness_ms
    state.recent = {mark: time for mark, time in state.recent.items() if time >= oldest}
    state.applied = dict(sorted(state.applied.items()))
    state.memory = {name: state.memory[name] for name in sorted(state.memory)}
    state.ordered = True


def merge(plan: Plan, a: State, b: State) -> State:
    """The state of the events of both, which must have none in common; both are left as they are.

    What triggers remember is no part of the law: of each trigger's memory the greater is kept.
    Errors: `UnknownPlan` when either was folded under another plan.
    """
    for state in (a, b):
        if state.digest != plan.digest:
            raise UnknownPlan(state.digest, plan.digest)
    both = State(plan.digest, len(plan.banks))
    both.newest = max(a.newest, b.newest)
    both.ordered = False
    both.applied = _joined(a.applied, b.applied, max)
    both.recent = _joined(a.recent, b.recent, max)
    both.memory = copy.deepcopy(_joined(a.memory, b.memory, max))
    for bank in plan.banks:
        one, other = copy.deepcopy((a.banks[bank.number], b.banks[bank.number]))
        both.banks[bank.number] = {
            key: _merged(bank, one.get(key, new_cell(bank)), other.get(key, new_cell(bank)))
            for key in one.keys() | other.keys()
        }
    settle(plan, both)
    return both


def _merged(bank: Bank, a: Cell, b: Cell) -> Cell:
    cell = new_cell(bank)
    for slot in range(len(cell)):
        if slot == bank.first:
            cell[slot] = min((time for time in (a[slot], b[slot]) if time >= 0), default=-1)
        elif slot in (bank.last, bank.newest):
            cell[slot] = max(a[slot], b[slot])
        else:
            cell[slot] = _joined(a[slot], b[slot], total)
    return cell


def _joined(a: dict[Any, Any], b: dict[Any, Any], join: Callable[[Any, Any], Any]) -> dict[Any, Any]:
    both = a | b
    for key in a.keys() & b.keys():
        both[key] = join(a[key], b[key])
    return both
