"""Seeded events of the wide playbook: drawn as columns, published as CloudEvents.

Times rise evenly; who acts is uniform or zipf (the k-th busiest customer in proportion to k ** -1.1); what
is seen, bought and watched is skewed too, so that families have few large keys and many rare ones.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from events.codec import render_time
from events.envelope import Event
from events.identity import mint
from kairos.bench import wide_world as world

Skew = Literal["uniform", "zipf"]

SKEW: Final = 1.1
START_MS: Final = 1_760_000_000_000
STEP_MS: Final = 100
TYPES: Final = tuple(world.SHARES)

CHUNK: Final = 20_000

_TOPICS: Final = ("web", "shop", "payments", "content", "support")
_MEMBERS: Final = (
    ("app", "app_user", "view"),
    ("app", "app_user", "line"),
    ("card", "card", "payment"),
    ("app", "app_user", "watch"),
    ("phone", "phone", "ticket"),
)
"""For each type: the kind of id that names the customer, the member that holds it, the member with the id."""

Values = NDArray[Any] | tuple[NDArray[Any], tuple[str, ...]]
"""A column: numbers and flags, or indices of texts (-1: missing) with the texts."""


class Columns(NamedTuple):
    """Events as columns, in order of time: of each its type, its customer and its time (ms).

    `rows[t]` are the places of the events of type t, `fields[t]` their fields, aligned with `rows[t]`.
    Amounts are whole ten-thousandths, as everywhere.
    """

    kinds: NDArray[np.int8]
    customers: NDArray[np.int64]
    times: NDArray[np.int64]
    rows: tuple[NDArray[np.int64], ...]
    fields: tuple[Mapping[str, Values], ...]


class Published(NamedTuple):
    """What a domain publishes: the event's bytes, keyed by the customer's foreign id."""

    topic: str
    key: bytes
    value: bytes
    time: int


class WideEvents:
    """Events of `customers` customers, the same for the same seed, in chunks that go on where one ended."""

    def __init__(self, seed: int, customers: int, skew: Skew = "uniform", prefix: str = "w") -> None:
        self._rng = np.random.default_rng(seed)
        self.customers = customers
        self._prefix = prefix
        self._number = 0
        self._busy: tuple[NDArray[np.float64], NDArray[np.int64]] | None = None
        if skew == "zipf":
            self._busy = (_zipf(customers), self._rng.permutation(customers))

    def id_of(self, customer: int, kind: str) -> str:
        """The foreign id of that kind (app, card, phone) by which domains know a customer."""
        return f"{self._prefix}{kind[:1]}{customer:07d}"

    def minted(self, customer: int) -> str:
        """The customer id that all of a customer's foreign ids resolve to."""
        return mint("app", self.id_of(customer, "app"))

    def columns(
        self, count: int, start_ms: int = START_MS, step_ms: float = STEP_MS, whose: Sequence[int] = ()
    ) -> Columns:
        """The next `count` events; `whose` says whose they are instead of drawing it."""
        rng = self._rng
        customers = np.asarray(whose, dtype=np.int64) if len(whose) else self._whose(count)
        times = (start_ms + np.arange(count) * step_ms).astype(np.int64)
        kinds = rng.choice(len(TYPES), count, p=list(world.SHARES.values())).astype(np.int8)
        rows = tuple(np.flatnonzero(kinds == number) for number in range(len(TYPES)))
        return Columns(
            kinds,
            customers,
            times,
            rows,
            tuple(draw(rng, len(places)) for draw, places in zip(_DRAWS, rows, strict=True)),
        )

    def published(self, columns: Columns) -> list[Published]:
        """The events as their domains publish them, in order."""
        found: list[Any] = [None] * len(columns.kinds)
        texts = np.char.add(np.datetime_as_string(columns.times.astype("datetime64[ms]")), "Z").tolist()
        customers, times = columns.customers.tolist(), columns.times.tolist()
        for number, (kind, member, ident) in enumerate(_MEMBERS):
            topic, fields = _TOPICS[number], columns.fields[number]
            head = f'{{"specversion":"1.0","type":"{TYPES[number]}","source":"{topic}","id":"%s","time":"%s",'
            data = f'"data":{{"{ident}":"%s","at":"%s","{member}":"%s"' + "".join("%s" for _ in fields)
            template = head + data + "}}"
            members = [_json(name, values) for name, values in fields.items()]
            for place, *rest in zip(columns.rows[number].tolist(), *members, strict=True):
                event, at = f"{self._prefix}{self._number + place}", texts[place]
                who = self.id_of(customers[place], kind)
                value = (template % (event, at, event, at, who, *rest)).encode()
                found[place] = Published(topic, who.encode(), value, times[place])
        self._number += len(found)
        return found

    def decoded(self, columns: Columns) -> list[Event]:
        """The events as the log of behaviour has them, in order."""
        found: list[Any] = [None] * len(columns.kinds)
        customers, times = columns.customers.tolist(), columns.times.tolist()
        names = {customer: self.minted(customer) for customer in set(customers)}
        for number, fields in enumerate(columns.fields):
            members = [_plain(values) for values in fields.values()]
            for place, *rest in zip(columns.rows[number].tolist(), *members, strict=True):
                found[place] = Event(
                    TYPES[number],
                    f"{self._prefix}{self._number + place}",
                    times[place],
                    names[customers[place]],
                    dict(zip(fields, rest, strict=True)),
                )
        self._number += len(found)
        return found

    def links(self, at: int = START_MS) -> Iterator[Published]:
        """What the desk publishes once for each customer: that app, card and phone are one."""
        time = render_time(at)
        for customer in range(self.customers):
            ids = {kind: self.id_of(customer, kind) for kind in ("app", "card", "phone")}
            event = f"{self._prefix}link{customer}"
            value = (
                f'{{"specversion":"1.0","type":"ids_linked","source":"support","id":"{event}","time":"{time}",'
                f'"data":{{"link":"{event}","at":"{time}","app_user":"{ids["app"]}","card":"{ids["card"]}",'
                f'"phone":"{ids["phone"]}"}}}}'
            )
            yield Published("support", ids["phone"].encode(), value.encode(), at)

    def _whose(self, count: int) -> NDArray[np.int64]:
        if self._busy is None:
            return self._rng.integers(0, self.customers, count)
        cumulative, order = self._busy
        return order[np.searchsorted(cumulative, self._rng.random(count))]


def events(seed: int, count: int, customers: int, skew: Skew = "uniform") -> Iterator[Published]:
    """So many events of so many customers, in order of time.

    >>> first = next(events(1, 5, 100))
    >>> first.topic, first.time, first.value[:50]
    ('content', 1760000000000, b'{"specversion":"1.0","type":"content_watched","sou')
    """
    source = WideEvents(seed, customers, skew)
    for at in range(0, count, CHUNK):
        yield from source.published(source.columns(min(CHUNK, count - at), START_MS + at * STEP_MS))


def _zipf(count: int, exponent: float = SKEW) -> NDArray[np.float64]:
    """The cumulative chances of the first, the second, ... of `count`."""
    chances: NDArray[np.float64] = np.cumsum(np.arange(1, count + 1, dtype=np.float64) ** -exponent)
    chances /= chances[-1]
    return chances


_CHANCES: Final = {count: _zipf(count, 0.9) for count in (24, 30, 40, 100, 300, 500)}


def _one(rng: np.random.Generator, size: int, texts: tuple[str, ...]) -> Values:
    """Texts of a long list, the first the likeliest."""
    return np.searchsorted(_CHANCES[len(texts)], rng.random(size)), texts


def _pick(rng: np.random.Generator, size: int, texts: tuple[str, ...], *chances: float) -> Values:
    """Texts with the chances given; the texts behind them share what remains."""
    rest = len(texts) - len(chances)
    every = [*chances, *([(1 - sum(chances)) / rest] * rest if rest else [])]
    return rng.choice(len(texts), size, p=np.array(every) / sum(every)), texts


def _offer(rng: np.random.Generator, size: int, share: float) -> Values:
    """An offer in a `share` of the events, none in the others."""
    drawn = np.searchsorted(_CHANCES[len(world.OFFERS)], rng.random(size))
    return np.where(rng.random(size) < share, drawn, -1), world.OFFERS


def _money(rng: np.random.Generator, size: int, mean: float, spread: float) -> NDArray[np.int64]:
    """Amounts in whole cents, as ten-thousandths."""
    return np.maximum(1, rng.lognormal(np.log(mean), spread, size) * 100).astype(np.int64) * 100


def _pages(rng: np.random.Generator, size: int) -> Mapping[str, Values]:
    return {
        "seconds": rng.lognormal(3.0, 1.3, size).astype(np.int64),
        "kind": _pick(rng, size, world.PAGES, 0.3, 0.3, 0.12, 0.14, 0.08),
        "category": _one(rng, size, world.CATEGORIES),
        "merchant": _one(rng, size, world.MERCHANTS),
        "device": _pick(rng, size, world.DEVICES, 0.65, 0.25),
        "offer": _offer(rng, size, 0.1),
    }


def _items(rng: np.random.Generator, size: int) -> Mapping[str, Values]:
    amounts = _money(rng, size, 12.0, 1.1)
    return {
        "amount": amounts,
        "quantity": rng.geometric(0.35, size),
        "discount": np.where(rng.random(size) < 0.3, amounts // 1_000 * 100, 0),
        "category": _one(rng, size, world.CATEGORIES),
        "merchant": _one(rng, size, world.MERCHANTS),
        "channel": _pick(rng, size, world.CHANNELS, 0.45, 0.4),
        # A customer's basket: some lines share one. Its name is its own only beside the customer's.
        "basket": (rng.integers(0, 500, size), _BASKETS),
        "offer": _offer(rng, size, 0.15),
    }


def _payments(rng: np.random.Generator, size: int) -> Mapping[str, Values]:
    return {
        "amount": _money(rng, size, 25.0, 1.2),
        "fee": np.where(rng.random(size) < 0.1, 5_000, 0),
        "merchant_type": _one(rng, size, world.MERCHANT_TYPES),
        "merchant": _one(rng, size, world.MERCHANTS),
        "method": _pick(rng, size, world.METHODS, 0.55, 0.25, 0.12),
        "country": _pick(rng, size, world.COUNTRIES, 0.85),
        "declined": rng.random(size) < 0.04,
    }


def _shows(rng: np.random.Generator, size: int) -> Mapping[str, Values]:
    return {
        "seconds": rng.lognormal(6.5, 1.3, size).astype(np.int64),
        "topic": _one(rng, size, world.TOPICS),
        "show": _one(rng, size, world.SHOWS),
        "device": _pick(rng, size, world.DEVICES, 0.5, 0.2),
        "finished": rng.random(size) < 0.4,
        "live": rng.random(size) < 0.15,
    }


def _contacts(rng: np.random.Generator, size: int) -> Mapping[str, Values]:
    return {
        "wait_seconds": rng.lognormal(5.0, 1.2, size).astype(np.int64),
        "reason": _pick(rng, size, world.REASONS, 0.3, 0.2),
        "channel": _pick(rng, size, world.ASKED, 0.5, 0.3),
        "solved": rng.random(size) < 0.75,
        "rating": np.where(rng.random(size) < 0.4, rng.integers(1, 6, size), -1),
    }


_BASKETS: Final = tuple(f"b{n}" for n in range(500))
_DRAWS: Final = (_pages, _items, _payments, _shows, _contacts)
_DECIMALS: Final = ("amount", "fee", "discount")


def _json(name: str, values: Values) -> list[str]:
    """The column as members of a JSON object, each with its comma; nothing where it is missing."""
    if isinstance(values, tuple):
        texts = [f',"{name}":"{text}"' for text in values[1]] + [""]
        return [texts[each] for each in values[0].tolist()]
    if values.dtype == np.bool_:
        written = (f',"{name}":false', f',"{name}":true')
        return [written[each] for each in values.tolist()]
    if name in _DECIMALS:
        return [f',"{name}":{each / 10_000:.2f}' for each in values.tolist()]
    return ["" if each < 0 else f',"{name}":{each}' for each in values.tolist()]


def _plain(values: Values) -> list[Any]:
    """The column as fields of the log have it."""
    if isinstance(values, tuple):
        texts: list[str | None] = [*values[1], None]
        return [texts[each] for each in values[0].tolist()]
    if values.dtype == np.bool_:
        return list(values.tolist())
    return [None if each < 0 else each for each in values.tolist()]
