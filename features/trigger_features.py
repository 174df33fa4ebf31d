"""What triggers add to the row: how often each fired and how long ago; and who must be judged before whom."""

from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush

from features.declare_trigger import speaks_of
from features.feature import Aggregate, Feature
from features.grammar import without_prefix
from features.table import Table
from features.trigger import FIRED_COUNT, FIRED_SINCE, Trigger, fired_names

NTH_KEYS = 64
"""Values of `each` that are counted apart for one customer."""

OWN_KEY = ""
"""The `match` of a family that no offer picks from: triggers read it at the event's own key."""


def fired_features(triggers: Iterable[Trigger], freshness_ms: int) -> list[Feature]:
    """The two features of every trigger, in order."""
    features = []
    for trigger in triggers:
        count, since = fired_names(trigger.name)
        words = f"trigger {trigger.name} fired"
        shape = (None, None)
        features += [
            Feature(
                count,
                "times",
                f"how often {words}",
                trigger.name,
                FIRED_COUNT,
                *shape,
                0.0,
                freshness_ms,
                None,
            ),
            Feature(
                *(since, "days", f"how long ago {words} last", trigger.name, FIRED_SINCE),
                *(*shape, float("nan"), freshness_ms, None),
            ),
        ]
    return features


def counted_for(trigger: Trigger, freshness_ms: int) -> list[Aggregate]:
    """The aggregate that counts the events of which an n-th one is asked; hidden, as only its trigger reads
    it."""
    if trigger.nth is None or len(trigger.on) != 1:
        return []
    return [
        Aggregate(
            name=f"{trigger.name}_nth",
            event=trigger.on[0],
            value=None,
            where=None if trigger.when is None else without_prefix(trigger.when, "event"),
            functions=("count",),
            by=trigger.each,
            match=None if trigger.each is None else OWN_KEY,
            windows=(),
            half_lives=(),
            ever=True,
            unit="times",
            meaning=f"what trigger {trigger.name} counts",
            default={},
            freshness_ms=freshness_ms,
            declared=(),
            keys=1 if trigger.each is None else NTH_KEYS,
        )
    ]


def reads(trigger: Trigger) -> frozenset[str]:
    """The names that its conditions speak of, up to their first dot."""
    texts = [trigger.when, trigger.audience, *(text for _, text in trigger.payload or ())]
    return frozenset().union(*map(speaks_of, texts))


def in_order(triggers: Sequence[Trigger]) -> list[int]:
    """The numbers of the triggers, each behind those whose features it reads, else as declared.

    Errors: `Circle` when there is no such order.
    """
    owners = {name: n for n, trigger in enumerate(triggers) for name in fired_names(trigger.name)}
    ahead = [{owners[name] for name in reads(trigger) if name in owners} for trigger in triggers]
    sorter = TopologicalSorter(dict(enumerate(ahead)))
    try:
        sorter.prepare()
    except CycleError as error:
        raise Circle([triggers[n].name for n in reversed(error.args[1])]) from None
    order: list[int] = []
    ready: list[int] = []
    while sorter:
        for number in sorter.get_ready():
            heappush(ready, number)
        order.append(heappop(ready))
        sorter.done(order[-1])
    return order


class Circle(Exception):
    """Triggers read each other's features, so that none can be judged first: their names, around."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        super().__init__(" -> ".join(names))


def check_order(tables: Sequence[Table], triggers: Sequence[Trigger]) -> None:
    """Note circles, and features of triggers that are decided by the log's clock, which no event can ask."""
    by_name = {name: trigger for trigger in triggers for name in fired_names(trigger.name)}
    for table, trigger in zip(tables, triggers, strict=True):
        for name in sorted(reads(trigger)):
            other = by_name.get(name)
            if other is not None and other.waits:
                key = next(
                    (k for k in ("when", "audience") if name in speaks_of(getattr(trigger, k))), "payload"
                )
                expected = "triggers that are decided at events"
                found = f"{name}: {other.name} waits for the clock"
                table.fault(key, expected, found, "read it in offers.toml, or in a rule")
    try:
        in_order(triggers)
    except Circle as circle:
        table = next(
            t for t, trigger in zip(tables, triggers, strict=True) if trigger.name == circle.names[0]
        )
        found = " -> ".join(circle.names)
        table.fault(
            "when", "no circle of triggers that read each other's features", found, "let one read less"
        )
