"""What triggers are given of events before these are folded: parts of conditions that the event alone
decides.

Worked out in columns, the events of one type at a time; of few events one by one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from events.envelope import Event
from features.clauses import Atom
from features.kernel.layout import MISSING
from features.plan_triggers import EVENT, Given

_MIX = np.uint64(0xC2B2AE3D27D4EB4F)

Attributes = Mapping[str, Sequence[Any]]
"""What batch tables know: for each name the value of each event's customer then, None where it is not
known."""


class GivenRows(NamedTuple):
    """Of each event of one type its atoms (true 1, false 0, NaN unknown), its keys, and whether features may
    be needed."""

    atoms: NDArray[np.float64]
    keys: NDArray[np.int64]
    needs: NDArray[np.bool_]


def given_rows(
    given: Given, events: Sequence[Event], known: Mapping[str, Any], hash_key: Callable[[Any], int]
) -> GivenRows:
    """What is given of some events of one type; `known` are attributes, a value for each event."""
    rows = empty_rows(given, len(events))
    for place, event in enumerate(events):
        env = {EVENT + name: value for name, value in event.fields.items()}
        env |= {name: values[place] for name, values in known.items()}
        rows.atoms[place] = [_number(atom.node.one(env)) for atom in given.atoms]
    for column, fields in enumerate(given.keys):
        words = [[_word(event.fields.get(field), hash_key) for event in events] for field in fields]
        rows.keys[:, column] = combined([np.array(each, dtype=np.int64) for each in words])
    return with_needs(given, rows)


def given_columns(
    given: Given,
    count: int,
    column: Callable[[str], Any],
    known: Mapping[str, NDArray[Any]],
    words: Callable[[str], NDArray[np.int64]],
) -> GivenRows:
    """The same of columns: `column` answers those of fields by the names of conditions, `words` their
    words."""
    rows = empty_rows(given, count)
    for place, atom in enumerate(given.atoms):
        rows.atoms[:, place] = _evaluated(atom, count, column, known)
    for place, fields in enumerate(given.keys):
        rows.keys[:, place] = combined([words(field) for field in fields])
    return with_needs(given, rows)


def empty_rows(given: Given, count: int) -> GivenRows:
    """Rows to be filled."""
    atoms = np.empty((count, len(given.atoms)), dtype=np.float64)
    keys = np.empty((count, len(given.keys)), dtype=np.int64)
    return GivenRows(atoms, keys, np.zeros(count, dtype=np.bool_))


def with_needs(given: Given, rows: GivenRows) -> GivenRows:
    """Say of which events features may be needed: where every atom of some gate is true."""
    true = rows.atoms == 1
    for gate in given.gates:
        np.logical_or(rows.needs, true[:, gate].all(axis=1), out=rows.needs)
    return rows


def combined(words: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """One word of several, different for different ones; a single one is itself."""
    if len(words) == 1:
        return words[0]
    mixed = np.zeros(len(words[0]), dtype=np.uint64)
    for each in words:
        mixed = (mixed ^ each.astype(np.uint64)) * _MIX
        mixed ^= mixed >> np.uint64(29)
    return mixed.astype(np.int64)


def _evaluated(
    atom: Atom, count: int, column: Callable[[str], Any], known: Mapping[str, NDArray[Any]]
) -> NDArray[np.float64]:
    if len(atom.names) == 1 and atom.names[0].startswith(EVENT):
        found = column(atom.names[0])
        if found.different is not None:
            few = _floats(atom, {atom.names[0]: found.different}, len(found.different))
            spread: NDArray[np.float64] = few[found.which]
            return spread
    # An attribute that nobody could look up is not known.
    env = {name: column(name).values if name.startswith(EVENT) else known.get(name) for name in atom.names}
    return _floats(atom, env, count)


def _floats(atom: Atom, env: Mapping[str, Any], count: int) -> NDArray[np.float64]:
    value, unknown = atom.node.many(env)
    numbers = np.asarray(value)
    if numbers.dtype.kind not in "bif":
        numbers = np.where(unknown, 0, numbers)
    found: NDArray[np.float64] = np.broadcast_to(numbers.astype(np.float64), count)
    return found if unknown is False else np.where(unknown, np.nan, found)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _word(value: Any, hash_key: Callable[[Any], int]) -> int:
    if value is None:
        return MISSING
    return int(value) if isinstance(value, int) else hash_key(value)
