"""Seeded events of any playbook: what its domains would publish, as their contracts say."""

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from events.contract import Contracts, EventType
from events.identity import mint
from features.declare import Playbook
from kairos.bench.wide_events import CHUNK, SKEW, Published, WideEvents
from kairos.bench.wide_events import Skew as Keys

CATEGORIES: Final = 60
_SPARE: Final = 0.25  # of the optional fields are left out, of the decimals are zero
_NOTE = "as told at the desk"


class Traffic(Protocol):
    """Events of so many customers, the same for the same seed; each is known by one id of every kind.

    With `keys` zipf some customers do much and most do little. Every event's id is new, however often
    `events` is called.
    """

    @property
    def kinds(self) -> Sequence[str]:
        """The kinds of foreign id there are; the first is the one a customer's own id is minted of."""
        ...

    def id_of(self, customer: int, kind: str) -> str:
        """The foreign id of that kind of a customer; its last seven digits are the customer's number."""
        ...

    def minted(self, customer: int) -> str:
        """The customer id that all of a customer's foreign ids resolve to."""
        ...

    def events(
        self, count: int, start_ms: int, step_ms: float, customers: Sequence[int] = ()
    ) -> Iterator[list[Published]]:
        """The next `count` events from `start_ms` on, `step_ms` apart, some thousands at once.

        `customers` says whose they are; else it is drawn.
        """
        ...


class WideTraffic:
    """The traffic of the wide playbook's own world."""

    kinds = ("app", "card", "phone")

    def __init__(self, customers: int, keys: Keys = "uniform", seed: int = 1, prefix: str = "b") -> None:
        self._world = WideEvents(seed, customers, keys, prefix)
        self.id_of = self._world.id_of
        self.minted = self._world.minted

    def events(
        self, count: int, start_ms: int, step_ms: float, customers: Sequence[int] = ()
    ) -> Iterator[list[Published]]:
        """See `Traffic.events`."""
        for at in range(0, count, CHUNK):
            size, begin = min(CHUNK, count - at), int(start_ms + at * step_ms)
            yield self._world.published(self._world.columns(size, begin, step_ms, customers[at : at + size]))


class ContractTraffic:
    """What the contracts of any playbook allow: values of the right kinds, without a world behind them."""

    def __init__(
        self, contracts: Contracts, customers: int, keys: Keys = "uniform", seed: int = 1, prefix: str = "b"
    ) -> None:
        self._rng = np.random.default_rng(seed)
        self._types = [each for each in contracts.types.values() if not each.link]
        weights = 1 / np.arange(1, len(self._types) + 1)
        self._shares = weights / weights.sum()
        self.customers = customers
        self.kinds = sorted({kind for each in contracts.types.values() for kind in each.customer})
        self._prefix = prefix
        self._number = 0
        self._cumulative: NDArray[np.float64] | None = None
        if keys == "zipf":
            self._cumulative = np.cumsum(np.arange(1, customers + 1, dtype=np.float64) ** -SKEW)
            self._cumulative /= self._cumulative[-1]
            self._order = self._rng.permutation(customers)

    def id_of(self, customer: int, kind: str) -> str:
        """The foreign id of that kind by which domains know a customer."""
        return f"{self._prefix}{kind[:1]}{customer:07d}"

    def minted(self, customer: int) -> str:
        """The customer id that all of a customer's foreign ids resolve to."""
        return mint(self.kinds[0], self.id_of(customer, self.kinds[0]))

    def chosen(self, count: int) -> NDArray[np.int64]:
        """Whose the next `count` events are."""
        if self._cumulative is None:
            return self._rng.integers(0, self.customers, count)
        found: NDArray[np.int64] = self._order[np.searchsorted(self._cumulative, self._rng.random(count))]
        return found

    def events(
        self, count: int, start_ms: int, step_ms: float, customers: Sequence[int] = ()
    ) -> Iterator[list[Published]]:
        """See `Traffic.events`."""
        for at in range(0, count, CHUNK):
            size = min(CHUNK, count - at)
            whose = np.asarray(customers[at : at + size]) if len(customers) else self.chosen(size)
            times = (start_ms + (at + np.arange(size)) * step_ms).astype(np.int64)
            yield self._chunk(whose, times)

    def _chunk(self, whose: NDArray[np.int64], times: NDArray[np.int64]) -> list[Published]:
        rng, size = self._rng, len(whose)
        texts = np.char.add(np.datetime_as_string(times.astype("datetime64[ms]")), "Z").tolist()
        kinds = rng.choice(len(self._types), size, p=self._shares)
        published: list[Published | None] = [None] * size
        for number, event in enumerate(self._types):
            places = np.flatnonzero(kinds == number)
            columns = [self._column(kind, len(places)) for kind in event.fields.values()]
            for place, *values in zip(places.tolist(), *columns, strict=True):
                published[place] = self._event(
                    event, int(whose[place]), int(times[place]), texts[place], values
                )
        return [each for each in published if each is not None]

    def _event(
        self, event: EventType, customer: int, time: int, text: str, values: Sequence[object]
    ) -> Published:
        self._number += 1
        ident = f"{self._prefix}{self._number}"
        kind, member = next(iter(event.customer.items()))
        foreign = self.id_of(customer, kind)
        data: dict[str, object] = {
            name: value for name, value in zip(event.fields, values, strict=True) if value is not None
        }
        data[member] = foreign
        if event.id_field is not None:
            data[event.id_field] = ident
        if event.time_field is not None:
            data[event.time_field] = text
        cloudevent = {"specversion": "1.0", "type": event.name, "id": ident, "source": event.topic}
        value = orjson.dumps(cloudevent | {"time": text, "data": data})
        return Published(event.topic, foreign.encode(), value, time)

    def _column(self, kind: str, size: int) -> list[object]:
        rng, optional = self._rng, kind.endswith("?")
        match kind.removesuffix("?"):
            case "decimal":
                amounts = np.round(rng.lognormal(2.0, 1.0, size), 2)
                amounts[rng.random(size) < _SPARE] = 0
                values = amounts.tolist()
            case "integer":
                values = rng.integers(1, 9, size).tolist()
            case "category":
                values = [f"k{k}" for k in np.minimum(rng.zipf(1.5, size), CATEGORIES).tolist()]
            case "boolean":
                values = (rng.random(size) < 0.5).tolist()
            case "time":
                values = [1_700_000_000_000] * size
            case _:
                values = [_NOTE] * size
        if optional:
            missing = rng.random(size) < _SPARE
            values = [None if gone else value for value, gone in zip(values, missing.tolist(), strict=True)]
        return list(values)


def traffic_of(
    playbook: Playbook, customers: int, keys: Keys = "uniform", seed: int = 1, prefix: str = "b"
) -> Traffic:
    """What the domains of this playbook publish: of its own world where it has one, else of its contracts."""
    if playbook.name == "wide":
        return WideTraffic(customers, keys, seed, prefix)
    return ContractTraffic(playbook.contracts, customers, keys, seed, prefix)
