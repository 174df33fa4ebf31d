"""The topics: those Kairos owns, and those the domains publish to."""

from collections.abc import Iterable
from typing import Protocol

BEHAVIOUR = "behaviour"
"""The order of truth: every event of a known customer, partitioned by shard, with the log's clock."""

TRIGGERS = "triggers"
DECISIONS = "decisions"
OUTCOMES = "outcomes"
PUSH_COMMANDS = "push-commands"
DEAD_LETTERS = "dead-letters"

OWN = (BEHAVIOUR, TRIGGERS, DECISIONS, OUTCOMES, PUSH_COMMANDS, DEAD_LETTERS)


class Domains(Protocol):
    """What declares the domains' topics: `events.contract.Contracts`."""

    @property
    def topics(self) -> Iterable[str]:
        """The topics that the playbook's events come on."""


def layout(contracts: Domains, partitions: int) -> dict[str, int]:
    """Every topic with its number of partitions: our own and those that the playbook's events come on.

    Dead letters are few and are read by people: one partition keeps them in one order.

    >>> from events.contract import Contracts, EventType
    >>> purchase = EventType("purchase", "shop", None, None, {"card": "card"}, {})
    >>> topics = layout(Contracts([purchase]), 2)
    >>> topics["shop"], topics["behaviour"], topics["dead-letters"]
    (2, 2, 1)
    """
    topics = dict.fromkeys((*OWN, *contracts.topics), partitions)
    topics[DEAD_LETTERS] = 1
    return topics
