"""What `bench stream` prints, made of what it has measured."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from features.feast_store import FIELDS, feast_key
from kairos.bench.fold_alone import FoldCost
from kairos.bench.measure import per_core, ratio, spread
from kairos.bench.rig import Rig
from kairos.bench.stages import STAGES

PROCESSES: Final = ("intake", "behaviour")
SEEN: Final = 15
LOOKED_AT: Final = 200_000
"""So many customers' bytes are asked for, at most: the server walks each."""

_AT_ONCE: Final = 2_000


def figures(
    whole: Mapping[str, Any], fold: FoldCost, contenders: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Everything by the name it is printed under; speeds are by processor time, higher is better."""
    ours = whole["by_process"]["intake"] + whole["by_process"]["behaviour"]
    rows = whole["watched"]["behaviour"]["rows"]
    told = {
        "fold_events_per_s_per_core": per_core(fold.fold),
        "fold_from_events_per_s_per_core": per_core(fold.columns + fold.fold),
        "events_per_s_per_core": per_core(ours),
        "events_per_s": whole["events_per_s"],
        "cpu_us_per_event": _shares(whole),
        "cpu_us_per_event_by_process": whole["by_process"],
        "seen": {name: _seen(whole, name) for name in PROCESSES},
        **contenders,
        "distinct_rows_per_flush": round(sum(rows) / len(rows)) if rows else None,
        **whole["bytes"],
        "restart_s": whole["restart_s"],
        "dead_letters": whole["dead_letters"],
    }
    for name, each in contenders.items():
        told[f"speedup_vs_{name}"] = ratio(each["cpu_us_per_event"], ours)
        told[f"fold_speedup_vs_{name}"] = ratio(each["cpu_us_by_stage"].get("fold"), fold.columns + fold.fold)
    return told


def _shares(whole: Mapping[str, Any]) -> dict[str, float]:
    """Each process' time an event, shared out by where it was seen."""
    found = dict.fromkeys(STAGES, 0.0)
    for name in PROCESSES:
        seen = whole["watched"][name]["stages"]
        total = sum(seen.values()) or 1.0
        for stage, seconds in seen.items():
            found[stage] += whole["by_process"][name] * seconds / total
    return {stage: round(us, 2) for stage, us in found.items()}


def _seen(whole: Mapping[str, Any], name: str) -> dict[str, float]:
    """Where a process was seen most: microseconds an event by stage, file and function."""
    watched = whole["watched"][name]
    scale = whole["by_process"][name] / (sum(watched["stages"].values()) or 1.0)
    return {place: round(seconds * scale, 2) for place, seconds in list(watched["functions"].items())[:SEEN]}


def bytes_of(rig: Rig, customers: Sequence[str]) -> dict[str, Any]:
    """What customers take in Redis: the state itself, and with all that Redis keeps around it."""
    blobs, whole = [], []
    customers = customers[:: 1 + len(customers) // LOOKED_AT]
    for at in range(0, len(customers), _AT_ONCE):
        pipeline = rig.redis.pipeline(transaction=False)
        for customer in customers[at : at + _AT_ONCE]:
            key = feast_key(rig.settings.project, customer)
            for field in FIELDS:
                pipeline.hstrlen(key, field)
            pipeline.memory_usage(key, samples=0)
        replies = pipeline.execute()
        parts = zip(replies[::3], replies[1::3], strict=True)
        blobs += [recent + settled for recent, settled in parts if recent]
        whole += [size for size in replies[2::3] if size]
    return {
        "bytes_per_customer": spread(whole, 0, largest=True),
        "state_bytes": spread(blobs, 0, largest=True),
    }
