"""The online models learned once more, from the log alone: what the learner must have come to."""

from collections.abc import Mapping

from events.bus import Bus
from events.codec import decode
from events.envelope import DECISION, OUTCOME, Tick
from events.topics import BEHAVIOUR
from kairos.history import everything
from models.catalogue import Catalogue
from stream.outcomes import Learner
from stream.rounds import Rounds


def relearn(bus: Bus, catalogue: Catalogue) -> Mapping[str, bytes]:
    """Each online model's bytes after the log's newest tick, by name, learned in one go from nothing.

    Of the learner's way it leaves out what a crash could touch: batches, saved states, going on from them.
    """
    rounds, learner = Rounds(bus.partitions(BEHAVIOUR)), Learner(catalogue)
    for record in everything(bus, BEHAVIOUR):
        item = decode(record.value)
        if isinstance(item, Tick):
            rounds.tick(record.partition, record.position, item.time)
        elif item.type in (DECISION, OUTCOME):
            rounds.event(record.partition, item)
    for one in rounds.complete():
        learner.learn(one)
    return {name: model.bytes for name, model in learner.published().items()}
