"""Customers who are known before the clock starts: each has a past of some months, and all foreign ids."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

import numpy as np

from events.codec import parse_cloudevent
from events.contract import Contracts
from events.envelope import Event
from events.identity import id_key
from features.fold import State, fold_batch
from features.hits import Hit
from features.plan import Plan
from features.store import StateStore
from features.triggers import told, wake
from kairos.bench.traffic import Traffic, traffic_of
from kairos.bench.wide_events import Published

PASTS: Final = 1_000
"""So many different pasts are folded; customers share them, as a state does not say whose it is."""

PAST_MS: Final = 90 * 86_400_000
SHAPE: Final = 1.0
"""Of the lognormal numbers of events a past holds: the busiest percent has ten times the median."""

ELSEWHERE: Final = 1_023
"""The partition of the log that pasts were read from: none of the benchmark's own."""

_AT_ONCE: Final = 2_000


class Past:
    """The states of `customers` customers at `now`, some `mean` events each, over the months before.

    `states` are (bytes, time of the newest event), `told` the events of each as its domain published them.
    """

    def __init__(
        self, plan: Plan, customers: int, mean: int, now: int, seed: int = 2, pasts: int = PASTS
    ) -> None:
        rng = np.random.default_rng(seed)
        pasts = min(pasts, customers)
        events = np.maximum(1, rng.lognormal(np.log(max(mean, 1)) - SHAPE**2 / 2, SHAPE, pasts)).astype(int)
        self.states: list[tuple[bytes, int]] = []
        self.told: list[list[bytes]] = []
        if mean:
            whose = rng.permutation(np.repeat(np.arange(pasts), events)).tolist()
            traffic = traffic_of(plan.playbook, pasts, seed=seed, prefix="p")
            self._fold(plan, traffic, whose, now - PAST_MS, PAST_MS / len(whose))

    def store(self, store: StateStore, customers: Sequence[str]) -> None:
        """Give each of these customers one of the pasts."""
        count = len(self.states)
        for at in range(0, len(customers) if count else 0, _AT_ONCE):
            names = customers[at : at + _AT_ONCE]
            store.write_many([(name, *self.states[n % count]) for n, name in enumerate(names, start=at)])

    def _fold(
        self, plan: Plan, traffic: Traffic, whose: Sequence[int], start_ms: int, step_ms: float
    ) -> None:
        states: dict[str, bytes] = {}
        newest: dict[str, int] = {}
        told: dict[str, list[bytes]] = defaultdict(list)
        position = 0
        for chunk in traffic.events(len(whose), start_ms, step_ms, whose):
            events = list(known(plan.playbook.contracts, traffic, chunk))
            owner: dict[str, int] = {}
            owners = [owner.setdefault(event.customer, len(owner)) for event in events]
            positions = range(position, position + len(events))
            blobs = [states.get(customer) for customer in owner]
            folded = fold_batch(plan, blobs, events, owners, [ELSEWHERE] * len(events), positions)
            states.update(zip(owner, folded.blobs, strict=True))
            self._remember(plan, states, folded.hits.every(), events)
            newest.update((event.customer, event.time) for event in events)
            for event, published in zip(events, chunk, strict=True):
                told[event.customer].append(published.value)
            position += len(events)
        for customer, blob in states.items() if plan.triggers.waits else ():
            state = State(blob)
            wake(plan, state, start_ms + PAST_MS, None, customer)
            states[customer] = state.blob
        self.states = [(blob, newest[customer]) for customer, blob in states.items()]
        self.told = [told[customer] for customer in states]

    @staticmethod
    def _remember(plan: Plan, states: dict[str, bytes], hits: Sequence[Hit], events: Sequence[Event]) -> None:
        """Keep what triggers wait with, as the stream does."""
        for customer, mine in groupby(hits, key=lambda hit: events[hit.event].customer):
            state = State(states[customer])
            _, memory = told(plan, state.memory, list(mine), events.__getitem__, {})
            if memory is not None:
                state.remember(memory)
                states[customer] = state.blob


def introduce(redis: Any, traffic: Traffic, customers: Sequence[str]) -> None:
    """Let Redis know every foreign id of every customer, as links would have."""
    for at in range(0, len(customers), _AT_ONCE):
        pipeline = redis.pipeline(transaction=False)
        for number, customer in enumerate(customers[at : at + _AT_ONCE], start=at):
            for kind in traffic.kinds:
                pipeline.set(id_key(kind, traffic.id_of(number, kind)), customer)
        pipeline.execute()


def known(contracts: Contracts, traffic: Traffic, published: Sequence[Published]) -> Iterator[Event]:
    """The events as the log holds them: validated, their customers resolved."""
    owners: dict[str, str] = {}
    for each in published:
        raw = contracts.validate(parse_cloudevent(each.value), None)
        foreign = raw.ids[0][1]
        customer = owners.get(foreign)
        if customer is None:
            customer = owners[foreign] = traffic.minted(int(foreign[-7:]))
        yield Event(raw.type, raw.id, raw.time, customer, raw.fields)
