"""Which events of a piece of the log a trigger has to look at: of most their columns say that none has."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.fold import FoldedParts
from features.kernel.folding import FOLDED
from features.log import Piece, TypeColumns
from features.plan import Plan
from features.plan_triggers import CompiledTrigger

_PREFIX = "event."


class TriggerRows:
    """Finds them for one plan. An event that is passed over would change nothing that a trigger remembers."""

    def __init__(self, plan: Plan) -> None:
        self._starts = plan.triggers.starts
        self._ends = plan.triggers.ends
        self._numbers = {program.number: kind for kind, program in plan.programs.items()}
        # In the packed memory of a state: this trigger's condition was true when it was last looked at.
        self._true = {
            each.trigger.name: msgspec.msgpack.encode(each.trigger.name) + b"\x94\xc3"
            for each in plan.triggers.triggers
        }

    def find(self, piece: Piece, folded: FoldedParts) -> NDArray[np.bool_]:
        """Which events of the piece; only such as were folded."""
        wanted = np.zeros(len(piece), dtype=bool)
        for columns, places, within in piece.columns:
            kind = self._numbers[columns.program.number]
            starts, ends = self._starts.get(kind, ()), self._ends.get(kind, ())
            if not starts and not ends:
                continue
            here = folded.fates[places] == FOLDED
            places, within = places[here], within[here]
            if ends or not columns.plain:
                wanted[places] = True
                continue
            for each in starts:
                wanted[places] |= self._started(each, piece, folded, columns, places, within)
        return wanted

    def _started(
        self,
        each: CompiledTrigger,
        piece: Piece,
        folded: FoldedParts,
        columns: TypeColumns,
        places: NDArray[np.int64],
        within: NDArray[np.int64],
    ) -> NDArray[np.bool_]:
        if each.condition is None:
            return np.ones(len(places), dtype=bool)
        if not each.features:
            found: NDArray[np.bool_] = columns.truths(each.condition, _PREFIX)[within]
            return found
        probes = folded.probes[folded.probe_rows[places]]
        read = {name: probes[:, place] for name, place in each.features.items()}
        found = np.array(columns.truths(each.condition, _PREFIX, within, read))
        # It must also be told when the condition has ceased to be true.
        owners = piece.owners[places]
        was = np.zeros(len(piece.customers), dtype=bool)
        was[owners[found]] = True
        true = self._true[each.trigger.name]
        for owner in np.unique(owners[~found]).tolist():
            was[owner] |= true in folded.recents[owner]
        result: NDArray[np.bool_] = found | was[owners]
        return result
