"""What must hold of learning: what the log teaches was learned, each outcome once."""

from collections.abc import Iterator

from events.envelope import DECISION, OUTCOME, Event
from kairos.dst.stall import stall
from kairos.dst.witness import Witness
from kairos.relearn import relearn
from models.online import online_key, unpack


def outcomes_kept(witness: Witness) -> Iterator[str]:
    """Every outcome that was acknowledged is on the log."""
    logged = {
        (item.fields["decision_id"], item.fields["offer"])
        for log in witness.log
        for _, item in log
        if isinstance(item, Event) and item.type == OUTCOME
    }
    for decision, offer in sorted(set(witness.outside.outcomes) - logged):
        yield f"an outcome of {decision} for {offer} was acknowledged and is not on the log"


def taught_once(witness: Witness) -> Iterator[str]:
    """The models are what the log teaches, each outcome once."""
    for name, expected in relearn(witness.bus, stall().catalogue).items():
        packed = witness.text(online_key(name))
        found = b"" if packed is None else unpack(packed).bytes
        if found != expected:
            yield f"{name}: expected a model of {len(expected)} bytes, found another of {len(found)}"


def outcomes_once(witness: Witness) -> Iterator[str]:
    """What was learned is one example for each offer of each decision, however often it came."""
    packed = witness.text(online_key("feed"))
    model = None if packed is None else unpack(packed)
    learned_to = -1 if model is None else model.learned_to
    placement = stall().catalogue.placements["feed"]
    offers: dict[str, dict[str, int | None]] = {}
    spans: dict[str, tuple[int, int]] = {}
    told: list[Event] = []
    for partition, log in enumerate(witness.log):
        end = witness.tick(partition, learned_to)
        for _, item in log[:end]:
            if not isinstance(item, Event):
                continue
            if item.type == DECISION and item.id not in offers and item.fields["placement"] == "feed":
                decided = witness.decisions[item.id]
                offers[item.id] = dict.fromkeys(decided.offers)
                spans[item.id] = item.time, placement.closes(item.time, stall().catalogue.zone)
            elif item.type == OUTCOME:
                told.append(item)
    for item in told:
        decision, offer = item.fields["decision_id"], item.fields["offer"]
        if decision in offers and offer in offers[decision]:
            opens, closes = spans[decision]
            if opens <= item.time < closes:
                before = offers[decision][offer]
                offers[decision][offer] = item.time if before is None else min(before, item.time)
    expected = sum(
        spans[decision][1] <= learned_to or (time is not None and time < learned_to)
        for decision, each in offers.items()
        for time in each.values()
    )
    found = 0 if model is None else model.n
    if found != expected:
        yield f"the log has {expected} examples, the model has learned {found}"
